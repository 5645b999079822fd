"""What a training step may change in the trainer: settings of optimizers, schedulers, counters."""

from __future__ import annotations

from typing import Any

from torch import nn

from lightning_landscape.callbacks.isolation._guard import Guard
from lightning_landscape.callbacks.isolation.copies import has_state

__all__ = ["protect_trainer"]


def protect_trainer(guard: Guard, module: nn.Module) -> None:
    """Let the trainer of a module, its optimizers, schedulers and data be as before.

    Of the trainer the attributes themselves, not what they hold; of the data module also the
    contents of its lists and tables.
    """
    trainer: Any = vars(module).get("_trainer")
    if trainer is None:
        return
    guard.shallow(trainer)
    for optimizer in getattr(trainer, "optimizers", ()):
        guard.settings(optimizer)
    for scheduler in _schedulers(trainer):
        guard.visit(scheduler, "scheduler")
    data = getattr(trainer, "datamodule", None)
    if data is not None:
        guard.collection(data, "datamodule")
    for callback in getattr(trainer, "callbacks", ()):
        if has_state(callback):  # one of the user's
            guard.visit(callback, type(callback).__name__)


def _schedulers(trainer: Any) -> list[Any]:
    return [config.scheduler for config in getattr(trainer, "lr_scheduler_configs", ())]
