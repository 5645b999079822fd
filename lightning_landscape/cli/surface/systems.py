"""What a surface is drawn of: a checkpoint of a run of ours, or of anyone's module."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_landscape.callbacks.all_data import AllData, all_data
from lightning_landscape.callbacks.view import View
from lightning_landscape.cli.refusals import as_usage_error
from lightning_landscape.cli.runs import CONFIG
from lightning_landscape.cli.spectrum import locate, rebuild
from lightning_landscape.cli.trusted import check_names, confirm, import_named
from lightning_landscape.errors import UsageError, require

__all__ = ["System", "load", "loader_of", "module_of", "system_of", "trusted_run", "weights"]


class System(NamedTuple):
    """A module at a checkpoint.

    Attributes:
        view: the module, as a probe sees it.
        loader: the data of a foreign module; None for a run of ours, which has its own.
        folder: where results go.
        text: the configuration of a run of ours, for the record.
    """

    view: View
    loader: DataLoader[Any] | None
    folder: Path
    text: str = ""

    @property
    def data(self) -> AllData | None:
        """All data of a foreign module."""
        return None if self.loader is None else all_data(self.loader, self.view)


def system_of(options: argparse.Namespace, checkpoint: Path) -> System:
    """Return the system at a checkpoint.

    Args:
        options: module, init, data, allow, yes and save.
        checkpoint: a run folder of ours, or a checkpoint in one; with ``module``, a file.

    Raises:
        UsageError: what the options name is not there, or the checkpoint does not fit it.
    """
    return _ours(options, checkpoint) if options.module is None else _foreign(options, checkpoint)


def _ours(options: argparse.Namespace, checkpoint: Path) -> System:
    run, file = trusted_run(options, checkpoint)
    module = rebuild(run)
    step = load(module, file).get("global_step", 0)
    folder = options.save or run / "surface"
    return System(View(module, None, step), None, folder, (run / CONFIG).read_text())


def trusted_run(options: argparse.Namespace, checkpoint: Path) -> tuple[Path, Path]:
    """Return a run folder of ours and a checkpoint in it, once its configuration is trusted.

    Args:
        options: allow and yes.
        checkpoint: the run folder, or a checkpoint in it.

    Raises:
        UsageError: there is no such run, or its configuration names what is not trusted.
    """
    from lightning_landscape.cli.configurations import read

    run, file = locate(checkpoint)
    config = read(run / CONFIG)
    require(isinstance(config, dict), "checkpoint", run, f"its {CONFIG} is no mapping")
    check_names({"model": config.get("model")}, options.allow, foreign=str(run / CONFIG))
    confirm(run, {"model": config.get("model")}, options.yes)
    return run, file


def _foreign(options: argparse.Namespace, checkpoint: Path) -> System:
    module = module_of(options)
    require(checkpoint.is_file(), "checkpoint", checkpoint, "is not a file")
    step = load(module, checkpoint).get("global_step", 0)
    return System(View(module, None, step), loader_of(options), options.save or Path("surface"))


def module_of(options: argparse.Namespace) -> Any:
    """Return the LightningModule that ``module`` and ``init`` make.

    Raises:
        UsageError: they make none.
    """
    require(isinstance(options.init, dict), "init", options.init, "must be {name: value, …}")
    make = partial(import_named("module", options.module), **options.init)
    try:
        module = make()
    except TypeError as error:
        raise as_usage_error(error, {}, "init") from error
    steps = callable(getattr(module, "training_step", None))
    required = "must make a LightningModule, with a training_step"
    require(steps, "module", type(module).__name__, required)
    return module


def load(module: nn.Module, file: Path) -> dict[str, Any]:
    """Load the weights of a checkpoint, and nothing that could run; return the rest of it."""
    try:
        saved = torch.load(file, map_location="cpu", weights_only=True)
        module.load_state_dict(saved.get("state_dict", saved))
    except Exception as error:  # of a file of arbitrary content
        raise as_usage_error(error, {}, f"checkpoint = {file}") from error
    return saved if "state_dict" in saved else {}


def loader_of(options: argparse.Namespace) -> DataLoader[Any]:
    """Return the training data that ``data`` names.

    Raises:
        UsageError: it names none.
    """
    remedy = "give path:name of a DataLoader, of a LightningDataModule, or of what makes one"
    require(options.data is not None, "data", options.data, "is needed with --module", remedy)
    data = import_named("data", options.data)
    try:
        if callable(data):
            data = data()
        if hasattr(data, "train_dataloader"):
            data.prepare_data()
            data.setup("fit")
            data = data.train_dataloader()
    except Exception as error:  # of code that is not ours
        raise as_usage_error(error, {}, f"data = {options.data}") from error
    if not isinstance(data, DataLoader):
        raise UsageError(f"data = {options.data}: is a {type(data).__name__}; {remedy}")
    return data


def weights(system: System, replica: int) -> Tensor:
    """Return the weights of one replica, shape (N,)."""
    R = system.view.shape[0]
    require(0 <= replica < R, "replica", replica, f"must be 0 … {R - 1}")
    return system.view.configuration()[replica]
