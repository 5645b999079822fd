"""The verb diagnose: where a training stands, against which bounds, and what to do."""

from __future__ import annotations

import argparse
import logging
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lightning_landscape import records
from lightning_landscape.errors import require, require_whole

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["main"]

_EPILOG = """\
Of a run of ours:     diagnose --checkpoint logs/digits/langevin/version_0
Of your own module:   diagnose --module my_project.model:Net --data my_project.data:loader \\
                               --checkpoint epoch_9.ckpt

The training goes on from the checkpoint for --steps steps in memory; nothing of it is saved.
Without a checkpoint it starts from the initial weights. In the records t counts from there.

What --module and --data name is imported and run: name only code that you trust. Checkpoints are
read as numbers, and run nothing.
"""


def main(args: list[str]) -> int:
    """Train on in memory, measure, print the table, and write the records."""
    options = _parser().parse_args(args[1:])
    require_whole("steps", options.steps, least=2)
    given = options.module is not None or options.checkpoint is not None
    remedy = "give --checkpoint of a run of ours, or --module and --data"
    require(given, "module", options.module, "names nothing to diagnose", remedy)

    from lightning_landscape.callbacks.diagnosis.diagnosis import left_out, records_of
    from lightning_landscape.callbacks.diagnosis.parts import parts_of_run, parts_of_start
    from lightning_landscape.cli.diagnose.continued import continued
    from lightning_landscape.cli.fit import quiet
    from lightning_landscape.results.diagnosis import page, verdicts

    quiet()
    make, loader, saved, folder = _system(options)
    start = parts_of_start()
    data: Any = loader if options.all_data else None
    parts = parts_of_run(math.inf, data=data, start=False)
    with _silent():  # the page says it all
        continued(make(), loader, {}, 1, start)
        module = make()
        if saved:
            module.load_state_dict(saved["state_dict"])
        continued(module, loader, saved, options.steps, parts)
    found = [records_of(start), records_of(parts)]
    text = page([v for one in found for v in verdicts(one)], left_out([*start, *parts]))
    print(f"\n{text}\n")
    _write({folder / "initial": found[0], folder: found[1]}, folder, text)
    return 0


@contextmanager
def _silent() -> Iterator[None]:
    """Let the probes say nothing while they measure."""
    logger = logging.getLogger("lightning_landscape")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _parser() -> argparse.ArgumentParser:
    from lightning_landscape.cli.fit import add_allow

    parser = argparse.ArgumentParser(
        prog="python -m lightning_landscape diagnose",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--checkpoint", type=Path, help="a run folder of ours, or a checkpoint")
    add("--module", help="path:Class of a LightningModule, or of what makes one")
    add("--init", type=yaml.safe_load, default={}, help="its arguments, as {name: value, …}")
    add("--data", help="path:name of the training data of --module, or of what makes them")
    add("--steps", type=int, default=200, help="how long the training goes on")
    add("--all_data", action="store_true", help="curvature of all data, not of one batch")
    add("--save", type=Path, help="a folder for the records and the page")
    add("--yes", action="store_true", help="use the configuration of a folder from elsewhere")
    add_allow(parser)
    return parser


def _system(
    options: argparse.Namespace,
) -> tuple[Callable[[], Any], Any, dict[str, Any], Path]:
    """Return what makes the initial module, its data, the checkpoint, and where results go."""
    from functools import partial

    from lightning_landscape.cli.spectrum import rebuild
    from lightning_landscape.cli.surface.systems import load, loader_of, module_of, trusted_run

    if options.module is None:
        run, file = trusted_run(options, options.checkpoint)
        ours = rebuild(run)
        initial = {name: value.clone() for name, value in ours.state_dict().items()}
        saved = load(ours, file)
        ours.load_state_dict(initial)
        return lambda: ours, None, saved, options.save or run / "diagnosis"
    saved = {}
    module = module_of(options)
    if options.checkpoint is not None:
        right = options.checkpoint.is_file()
        require(right, "checkpoint", options.checkpoint, "is not a file")
        saved = load(module, options.checkpoint)
        saved.setdefault("state_dict", module.state_dict())
    folder = options.save or Path("diagnosis")
    return partial(module_of, options), loader_of(options), saved, folder


def _write(found: dict[Path, dict[str, Dataset]], folder: Path, text: str) -> None:
    """Write the page, and records by their kind into folders as runs have them."""
    for run, of_kinds in found.items():
        for kind, dataset in of_kinds.items():
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", kind).lower()
            records.write(dataset, run / "probes" / f"{name}.nc")
    page = folder / "diagnosis.md"
    records.write_atomically(page, lambda p: p.write_text(f"{text}\n", encoding="utf-8"))
    print(f"page     {page}\nrecords  {folder / 'probes'}, {folder / 'initial' / 'probes'}")
    print(f"figures  python -m lightning_landscape report {folder}")
