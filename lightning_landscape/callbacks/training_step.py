"""What the training step of a foreign module says its loss is, without its logging."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import Tensor

from lightning_landscape.callbacks._lightning import DummyLogger
from lightning_landscape.errors import UsageError

__all__ = ["NotMeasured", "energy_method", "energy_of_batch"]


class NotMeasured(Exception):
    """There is no energy at this step, which is no mistake: the step has skipped its batch."""


def energy_of_batch(module: Any, batch: Any, batch_idx: int, loss_fn: Any = None) -> Tensor:
    """Return what is the energy of a foreign module on a batch, in the precision of its trainer.

    Args:
        module: the module.
        batch: the batch.
        batch_idx: which one it is.
        loss_fn: ``loss_fn(module, batch)``, or ``"energy"`` for the method of the module. Otherwise
            it is the loss of the training step, but of a module that optimizes by hand the method.

    Raises:
        NotMeasured: there is no loss.
        UsageError: the module optimizes by hand and has no method, or lacks the one asked for.
    """
    with _default_precision(module):
        if callable(loss_fn):
            return loss_fn(module, batch)
        by_hand = not module.automatic_optimization
        if loss_fn == "energy" or (by_hand and callable(energy_method(module))):
            return energy_method(module)(batch)
        if by_hand:
            raise UsageError(
                f"{type(module).__name__} optimizes by hand, so its training_step cannot be "
                "used as an energy; give the module a method energy(batch), or the probe a loss_fn"
            )
        return _loss_of_step(module, batch, batch_idx)


def _default_precision(module: Any) -> AbstractContextManager[None]:
    """Return the context that makes new tensors of the trainer's precision, where that is pure."""
    trainer: Any = vars(module).get("_trainer")
    plugin: Any = getattr(trainer, "precision_plugin", None)
    pure = str(getattr(plugin, "precision", "")) in ("64-true", "bf16-true", "16-true")
    return plugin.forward_context() if pure else nullcontext()


def _loss_of_step(module: Any, batch: Any, batch_idx: int) -> Tensor:
    """Return the loss of a training step, called as Lightning does, with its logging discarded."""
    with _logging_off(module), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs = module.training_step(*_arguments(module, batch, batch_idx))
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    if loss is None:
        raise NotMeasured(f"training_step returned no loss for batch {batch_idx}")
    return loss


def _arguments(module: Any, batch: Any, batch_idx: int) -> tuple[Any, ...]:
    """Return what ``training_step`` takes: the batch, with its index or without, or an iterator.

    Raises:
        NotMeasured: it takes its batch from an iterator, which has not been asked yet.
    """
    named = inspect.signature(module.training_step).parameters
    if "dataloader_iter" in named:
        if batch is None:
            raise NotMeasured("training_step takes its batch itself, so there is none before it")
        return (iter([(batch, batch_idx, 0)]),)
    parameters = named.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return (batch, batch_idx) if takes_any or len(positional) > 1 else (batch,)


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
