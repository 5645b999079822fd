"""What a share of a round has done so far, so that a kill loses a minute at most."""

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

    A stage on its way is written once a minute at most, one that has ended at once. A file that
    is damaged, or of another round, is ignored with a sentence: what it held is computed again.

    Args:
        path: the file, which need not exist; None keeps nothing.
        of_round: what tells the round, and the seeds in it, from all others, by its ``repr``.
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
        """Write what ``state`` returns, if the last time was a minute ago."""
        if time.monotonic() - self._written_at >= _SECONDS_BETWEEN_WRITES:
            self._stages[stage] = state()
            self._write()

    def end(self, stage: str, result: dict[str, Any], supersedes: str) -> None:
        """Write the result of a stage at once, and drop the states that it supersedes."""
        self._stages.pop(supersedes, None)
        self._stages[stage] = result
        self._write()

    def stage(self, name: str) -> Stage:
        """Return the part of it that belongs to one stage; see `dynamics.minimize`."""
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
        """Write what ``state`` returns, if the last time was a minute ago."""
        self._checkpoint.save(self._name, state)
