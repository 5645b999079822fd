"""Atomic checkpoints, frequent enough that little is computed twice after a kill."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint

from lightning_landscape.cli.runs import CHECKPOINT
from lightning_landscape.errors import require
from lightning_landscape.records import write_atomically

__all__ = ["AtomicCheckpointIO", "RunCheckpoint"]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file and renames it when it is complete."""

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path``; a kill leaves the previous file intact."""
        write_atomically(Path(path), lambda temporary: torch.save(checkpoint, temporary))


class RunCheckpoint(Checkpoint):
    """Update ``checkpoints/last.ckpt`` regularly, and once more at the end of the run.

    Args:
        seconds: wall-clock time between two checkpoints.
        every_n_train_steps: integrator steps between two checkpoints, instead of ``seconds``.
    """

    def __init__(self, seconds: float = 30.0, every_n_train_steps: int | None = None) -> None:
        super().__init__()
        require(seconds > 0, "checkpoint.seconds", seconds, "must be positive")
        require(
            every_n_train_steps is None or every_n_train_steps > 0,
            "checkpoint.every_n_train_steps",
            every_n_train_steps,
            "must be positive",
        )
        self.seconds, self.every_n_train_steps = seconds, every_n_train_steps
        self._saved_at = time.monotonic()

    def next_event(self, step: int) -> int | None:
        """Return the next step at which a checkpoint is due, if they are counted in steps."""
        n = self.every_n_train_steps
        return None if n is None else (step // n + 1) * n

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock."""
        self._saved_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time."""
        if self.every_n_train_steps is not None:
            due = trainer.global_step % self.every_n_train_steps == 0
        else:
            due = time.monotonic() - self._saved_at > self.seconds
        if trainer.strategy.broadcast(due):  # ranks have their own clocks
            self._save(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Save the final configuration."""
        self._save(trainer)

    def _save(self, trainer: Any) -> None:
        trainer.save_checkpoint(Path(trainer.log_dir) / CHECKPOINT)
        self._saved_at = time.monotonic()
