"""A training that goes on in memory from a checkpoint, to be measured."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any

from lightning_landscape.callbacks.diagnosis.part import Part
from lightning_landscape.callbacks.steering.restored import Restored

__all__ = ["continued"]

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")


def continued(
    module: Any, loader: Any, saved: dict[str, Any], steps: int, parts: Sequence[Part]
) -> None:
    """Train a module for some steps with probes, and write nothing.

    The optimizers and their schedulers go on from the states in the checkpoint, if it has any.

    Args:
        module: with the weights to start from.
        loader: its data; None for a module that has its own.
        saved: a checkpoint of Lightning, or an empty dictionary.
        steps: of the optimizer.
        parts: the probes.
    """
    bases = [base.__module__ for base in type(module).__mro__]
    package = next(p for p in _PACKAGES if any(base.startswith(p) for base in bases))
    with warnings.catch_warnings(), TemporaryDirectory() as nowhere:
        warnings.simplefilter("ignore")  # what a Trainer advises about loaders and logging
        trainer = import_module(package).Trainer(
            max_steps=steps,
            max_epochs=-1,
            accelerator="cpu",
            devices=1,
            default_root_dir=nowhere,
            logger=False,
            callbacks=[Restored(saved), *parts],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            num_sanity_val_steps=0,
        )
        trainer.fit(module, loader)
