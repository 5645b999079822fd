"""What the training step of a foreign module says its loss is, without its logging."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from lightning_landscape.callbacks._lightning import DummyLogger
from lightning_landscape.errors import UsageError

__all__ = ["NotMeasured", "energy_method", "loss_of_step"]


class NotMeasured(Exception):
    """There is no energy at this step, which is no mistake: the step has skipped its batch."""


def loss_of_step(module: Any, batch: Any, batch_idx: int) -> Tensor:
    """Return the loss of a training step, called as Lightning does, with its logging discarded.

    Raises:
        NotMeasured: it returned None.
    """
    with _logging_off(module), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs = module.training_step(batch, *_index(module, batch_idx))
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    if loss is None:
        raise NotMeasured(f"training_step returned no loss for batch {batch_idx}")
    return loss


def _index(module: Any, batch_idx: int) -> tuple[int, ...]:
    """Return the index as a tuple, which is empty where ``training_step`` takes the batch only."""
    parameters = inspect.signature(module.training_step).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return (batch_idx,) if takes_any or len(positional) > 1 else ()


def energy_method(module: Any) -> Any:
    """Return the method ``energy`` of a foreign module.

    Raises:
        UsageError: it has none.
    """
    method = getattr(module, "energy", None)
    if not callable(method) and module.automatic_optimization:
        raise UsageError(
            f'loss_fn = "energy": {type(module).__name__} has no method energy(batch); add it, or '
            "give a loss_fn(pl_module, batch)"
        )
    return method


@contextmanager
def _logging_off(module: Any) -> Iterator[None]:
    """Discard what is logged or printed inside, by the module and by its loggers."""
    silent = ("log", "log_dict", "print")
    own = {name: vars(module)[name] for name in silent if name in vars(module)}
    trainer = vars(module).get("_trainer")
    loggers = [] if trainer is None else list(trainer.loggers)
    for name in silent:
        object.__setattr__(module, name, lambda *args, **kwargs: None)
    if loggers:
        trainer.loggers = [DummyLogger() for _ in loggers]
    try:
        yield
    finally:
        if loggers:
            trainer.loggers = loggers
        for name in silent:
            object.__delattr__(module, name)
        for name, value in own.items():
            object.__setattr__(module, name, value)
