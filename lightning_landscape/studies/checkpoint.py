"""Checkpoints of a share of a round, so that a kill loses at most a minute."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import torch

from lightning_landscape.records import write_atomically

__all__ = ["RoundCheckpoint", "Stage"]

_SECONDS_BETWEEN_WRITES = 60.0

logger = logging.getLogger(__name__)


class RoundCheckpoint:
    """A file with the states of the stages of a computation, by name.

    An unfinished stage is written at most once a minute, a finished one immediately. A file that is
    damaged or belongs to another round is ignored with a warning, and its stages are computed
    again.

    Args:
        path: the file, which need not exist; with None, states are kept in memory only.
        of_round: identifies the round and the seeds in it, by its ``repr``.
    """

    def __init__(self, path: Path | None, of_round: Hashable) -> None:
        self._path, self._round = path, repr(of_round)
        self._stages: dict[str, Any] = {}
        self._written_at = time.monotonic()
        if path is not None and path.is_file():
            self._stages = self._read(path)

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            found = torch.load(path, weights_only=True)
            of_round, stages = found["round"], found["stages"]
        except Exception as error:  # whatever a file of arbitrary content can raise
            reason = f"it cannot be read ({type(error).__name__})"
            logger.warning("%s: ignored, because %s; its round starts anew", path, reason)
            return {}
        if of_round != self._round:
            logger.warning("%s: ignored, because it is of another round", path)
            return {}
        return dict(stages)

    def load(self, stage: str) -> Any:
        """Return the last state of a stage, or None."""
        return self._stages.get(stage)

    def save(self, stage: str, state: Callable[[], dict[str, Any]]) -> None:
        """Write what ``state`` returns, if the last write was at least a minute ago."""
        if time.monotonic() - self._written_at >= _SECONDS_BETWEEN_WRITES:
            self._stages[stage] = state()
            self._write()

    def end(self, stage: str, result: dict[str, Any], supersedes: str) -> None:
        """Write the result of a stage immediately, and drop the stage that it supersedes."""
        self._stages.pop(supersedes, None)
        self._stages[stage] = result
        self._write()

    def stage(self, name: str) -> Stage:
        """Return the checkpoint of one stage, as `dynamics.minimize` takes it."""
        return Stage(self, name)

    def _write(self) -> None:
        if self._path is None:
            return
        content = {"round": self._round, "stages": self._stages}
        write_atomically(self._path, lambda path: torch.save(content, path))
        self._written_at = time.monotonic()


class Stage:
    """One stage of a `RoundCheckpoint`: the `Checkpoint` that a descent takes."""

    def __init__(self, checkpoint: RoundCheckpoint, name: str) -> None:
        self._checkpoint, self._name = checkpoint, name

    def load(self) -> dict[str, Any] | None:
        """Return the last state, or None."""
        state: dict[str, Any] | None = self._checkpoint.load(self._name)
        return state

    def save(self, state: Callable[[], dict[str, Any]]) -> None:
        """Write what ``state`` returns, if the last write was at least a minute ago."""
        self._checkpoint.save(self._name, state)
