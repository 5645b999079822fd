"""Atomic checkpoints, frequent enough that little is computed twice after a kill."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint

from lightning_landscape import parallel
from lightning_landscape.cli.interrupts import Interrupted, Interrupts
from lightning_landscape.cli.runs import CHECKPOINT, PREVIOUS
from lightning_landscape.errors import UsageError, require
from lightning_landscape.modules.folders import INDEX, REST
from lightning_landscape.modules.strategies import BEFORE
from lightning_landscape.records import write_atomically

__all__ = ["AtomicCheckpointIO", "RunCheckpoint", "step_of", "to_resume_from"]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file and renames it when it is complete."""

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path``; a kill leaves the previous file intact."""
        write_atomically(Path(path), lambda temporary: torch.save(checkpoint, temporary))

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read a file; `ShardedStrategy` alone reads folders."""
        required = "is that of a network cut among devices"
        remedy = "give --trainer.strategy sharded"
        require(not Path(path).is_dir(), "ckpt_path", path, required, remedy)
        return super().load_checkpoint(path, *args, **kwargs)


class RunCheckpoint(Checkpoint):
    """Update ``checkpoints/last.ckpt`` regularly, and once more at the end of the run.

    The one before is kept as ``checkpoints/previous.ckpt``. A signal that asks the process to end
    is answered here, after the present step, when the checkpoint is written.

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
        self.has_trained = self.has_ended = False
        self._saved_at = time.monotonic()
        self._stopped = False  # whether the run ended before max_steps, by a callback
        self._interrupts = Interrupts()

    @property
    def asked_to_end(self) -> bool:
        """Whether a signal has come to this process: the block of steps then ends early."""
        return self._interrupts.received != 0

    def next_event(self, step: int) -> int | None:
        """Return the next step at which a checkpoint is due, if they are counted in steps."""
        n = self.every_n_train_steps
        return None if n is None else (step // n + 1) * n

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Do no more steps in a run that a callback had ended."""
        trainer.should_stop = trainer.should_stop or self._stopped

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock; let signals wait for the end of a block.

        Raises:
            UsageError: the ranks would start from different steps.
        """
        step = torch.tensor([trainer.global_step, -trainer.global_step])
        last, first = parallel.max(step).tolist()
        require(
            last == -first,
            "ckpt_path",
            f"step {trainer.global_step} on rank {parallel.rank()}",
            f"the ranks would start from steps {-first} to {last}",
            "they need one folder, on a file system that all of them see",
        )
        self._saved_at = time.monotonic()
        self._interrupts.start()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time, or if a signal has come; then end.

        Raises:
            Interrupted: after a signal to any rank.
        """
        self.has_trained = True
        # rank zero says when, since ranks have their own clocks; a signal may reach any of them
        due = trainer.is_global_zero and self._is_due(trainer)
        asked = torch.tensor([int(due), self._interrupts.received])
        save, signum = parallel.max(asked).tolist()
        if save or signum:
            self._save(trainer)
        if signum:
            raise Interrupted(signum, trainer.global_step)
        # what comes at the end is complete at any moment: a signal need not wait for it
        self._interrupts.wait = not (
            trainer.should_stop or trainer.global_step == trainer.max_steps
        )

    def _is_due(self, trainer: Any) -> bool:
        if self.every_n_train_steps is not None:
            return bool(trainer.global_step % self.every_n_train_steps == 0)
        return time.monotonic() - self._saved_at > self.seconds

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Save the final configuration."""
        self.has_ended = True
        self._save(trainer)
        self._interrupts.wait = False

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Give the signals back."""
        self._interrupts.stop()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Give the signals back."""
        self._interrupts.stop()

    def state_dict(self) -> dict[str, Any]:
        """Return whether a callback has ended the run."""
        return {"stopped": self._stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from ``state_dict``."""
        self._stopped = state_dict["stopped"]

    def _save(self, trainer: Any) -> None:
        path = Path(trainer.log_dir) / CHECKPOINT
        if trainer.is_global_zero:
            _keep(path, path.with_name(PREVIOUS))
        self._stopped = bool(trainer.should_stop)
        trainer.save_checkpoint(path)
        self._saved_at = time.monotonic()


def _keep(path: Path, previous: Path) -> None:
    """Let ``previous`` be the present file too; at any moment both are complete."""
    if path.is_dir():  # of `ShardedStrategy`, which takes care of it
        return
    with suppress(OSError):  # no file yet, or a file system without hard links
        temporary = previous.with_suffix(".link")
        temporary.unlink(missing_ok=True)
        os.link(path, temporary)
        os.replace(temporary, previous)
        temporary.unlink(missing_ok=True)  # replace leaves it where both are one file


def step_of(checkpoint: Path) -> int:
    """Return the step of a checkpoint; what it says is not executed, nor is its content loaded.

    Args:
        checkpoint: a file, or the folder of a network that was cut among devices.

    Raises:
        UsageError: the file is missing, damaged, or no checkpoint of a run.
    """
    in_parts = checkpoint.is_dir() and (checkpoint / INDEX).is_file()
    file = checkpoint / REST if in_parts else checkpoint
    known = file.is_file()
    require(known, "ckpt_path", checkpoint, "there is no such file", "give <run>/" + CHECKPOINT)
    try:
        saved = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        for part in ("optimizer_states", "loops", *(() if in_parts else ("state_dict",))):
            saved[part]
        if saved.get("hyper_parameters"):  # Lightning would put them in place of the configuration
            raise ValueError("hyper_parameters")
        return int(saved["global_step"])
    except Exception as error:  # whatever a file of arbitrary content can raise
        raise UsageError(
            f"ckpt_path = {checkpoint}: is damaged, or no checkpoint of this package "
            f"({type(error).__name__}); give another one, as <run>/checkpoints/{PREVIOUS}"
        ) from error


def to_resume_from(run: Path) -> tuple[Path, int] | None:
    """Return the newest good checkpoint of a run, and its step; None if it never had any.

    Raises:
        UsageError: it has checkpoints, and none can be read.
    """
    last = run / CHECKPOINT
    # the second is there while `ShardedStrategy` renames a folder
    names = (last.name, last.name + BEFORE, PREVIOUS)
    found = [path for path in map(last.with_name, names) if path.exists()]
    for path in found:
        try:
            step = step_of(path)
        except UsageError:
            continue
        return path, step
    if found:
        raise UsageError(
            f"{last}: no checkpoint there can be read; remove the folder {last.parent} to start "
            "this run again at step 0, or give --new to start another one"
        )
    return None
