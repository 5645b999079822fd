"""The verb spectrum: the Hessian of a finished or interrupted run at its last checkpoint."""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml

from lightning_landscape import records
from lightning_landscape.cli.configurations import read
from lightning_landscape.cli.refusals import as_usage_error
from lightning_landscape.cli.runs import CHECKPOINT, CONFIG
from lightning_landscape.errors import require

if TYPE_CHECKING:
    from xarray import Dataset

    from lightning_landscape.modules.landscape import LandscapeModule

__all__ = ["main", "measure", "report"]


def main(args: list[str]) -> int:
    """Measure, print the table, and write the record and the figure to <run>/spectrum/."""
    from lightning_landscape.cli.checkpoints import step_of
    from lightning_landscape.cli.fit import add_allow, quiet
    from lightning_landscape.cli.trusted import check_names, confirm

    parser = argparse.ArgumentParser(
        prog="python -m lightning_landscape spectrum", description=__doc__
    )
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="a run folder, or a checkpoint in one"
    )
    parser.add_argument("--top", dest="k", type=int, default=10, help="eigenvalues at each end")
    parser.add_argument("--random_vectors", type=int, default=10, help="how many for the density")
    parser.add_argument("--steps", type=int, default=50, help="Lanczos steps for each of them")
    parser.add_argument(
        "--max_products", type=int, default=300, help="most products for the extremal eigenvalues"
    )
    parser.add_argument(
        "--dense_up_to", type=int, default=1000, help="size up to which all are computed"
    )
    parser.add_argument(
        "--eigenvectors", action="store_true", help="also record the extremal eigenvectors"
    )
    parser.add_argument("--backend", default="landscape", help="landscape or pyhessian")
    parser.add_argument(
        "--yes", action="store_true", help="use the configuration of a folder from elsewhere"
    )
    add_allow(parser)
    options = vars(parser.parse_args(args[1:]))
    allow, yes = options.pop("allow"), options.pop("yes")
    run, checkpoint = locate(options.pop("checkpoint"))
    quiet()
    config = read(run / CONFIG)
    require(isinstance(config, dict), "checkpoint", run, f"its {CONFIG} is no mapping")
    # the folder may come from anywhere: its configuration is data, and runs nothing of its own
    check_names({"model": config.get("model")}, allow, foreign=str(run / CONFIG))
    step_of(checkpoint)
    confirm(run, {"model": config.get("model")}, yes)
    try:
        dataset = measure(run, checkpoint, **options)
    except (KeyError, RuntimeError) as error:  # a state of other shapes than the configuration's
        raise as_usage_error(error, config, "checkpoint") from error
    step = round(float(dataset["t"][0]) / dataset.attrs["time_step"])
    report(dataset, run / "spectrum" / f"step_{step}")
    return 0


def locate(path: Path) -> tuple[Path, Path]:
    """Return the run folder and the checkpoint, given the path of either.

    Raises:
        UsageError: there is no checkpoint, or no configuration in its run folder.
    """
    checkpoint = path / CHECKPOINT if path.is_dir() else path
    remedy = "give a run folder, logs/<experiment>/version_k, or a checkpoint in one"
    require(checkpoint.is_file(), "checkpoint", path, "has no checkpoint", remedy)
    run = checkpoint.parents[1]
    require((run / CONFIG).is_file(), "checkpoint", path, f"has no {CONFIG} in its run", remedy)
    return run, checkpoint


def measure(run: Path, checkpoint: Path, **budget: Any) -> Dataset:
    """Return the record of one measurement at a checkpoint.

    Args:
        run: the run folder, with its config.yaml.
        checkpoint: a checkpoint of that run.
        budget: arguments of `HessianSpectrum`.
    """
    from lightning_landscape.callbacks.probes.hessian import HessianSpectrum
    from lightning_landscape.callbacks.view import View

    probe = HessianSpectrum(**budget)  # before anything is allocated
    # checkpoints of LandscapeCLI hold only tensors and numbers
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    module = rebuild(run)
    module.load_state_dict(saved["state_dict"])
    module.dynamics.load_state_dict(saved["optimizer_states"][0])
    view = View(module, None, saved["global_step"])
    return probe.record(view).assign_attrs(config=(run / CONFIG).read_text())


def rebuild(run: Path) -> LandscapeModule:
    """Return the module that the configuration of a run describes, in its initial state."""
    from lightning_landscape.cli.fit import LandscapeCLI

    config = yaml.safe_load((run / CONFIG).read_text())
    kept = {name: config[name] for name in ("seed_everything", "model") if name in config}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(kept, file)
        file.flush()
        arguments = ["--config", file.name, "--trainer.logger=false"]
        return LandscapeCLI([*arguments, "--trainer.accelerator=cpu"], run=False).model


def report(dataset: Dataset, name: Path) -> None:
    """Write a record and its figure, ``name`` with the suffixes .nc and .png; print its table."""
    from lightning_landscape.results.figures import draw
    from lightning_landscape.results.summary import rows
    from lightning_landscape.results.table import markdown

    record, picture = name.with_suffix(".nc"), name.with_suffix(".png")
    records.write(dataset, record)
    figure = draw(dataset)
    assert figure is not None
    records.write_atomically(picture, partial(figure.savefig, format="png", dpi=150))
    print(f"\n{markdown(list(rows(dataset)))}\n\nrecord  {record}\nfigure  {picture}")
