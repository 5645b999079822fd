"""Restored: optimizers that go on from a checkpoint, in a Trainer that starts at step 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_landscape.callbacks._lightning import Callback

__all__ = ["Restored"]


class Restored(Callback):
    """Give optimizers and learning-rate schedulers the states that a checkpoint has of them.

    The weights are not touched, and the Trainer counts from step 0.

    Args:
        saved: a checkpoint of Lightning; what it does not hold is left as it is.
    """

    def __init__(self, saved: Mapping[str, Any]) -> None:
        super().__init__()
        self._saved = saved

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Load the states."""
        states = self._saved.get("optimizer_states", [])
        for optimizer, state in zip(trainer.optimizers, states, strict=False):
            optimizer.load_state_dict(state)
        schedules = self._saved.get("lr_schedulers", [])
        for config, state in zip(trainer.lr_scheduler_configs, schedules, strict=False):
            config.scheduler.load_state_dict(state)
