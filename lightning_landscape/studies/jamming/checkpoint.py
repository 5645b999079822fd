"""What the networks of a round have done so far, so that a kill loses a minute at most."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import torch

from lightning_landscape.records import write_atomically

__all__ = ["RoundCheckpoint"]

_SECONDS_BETWEEN_WRITES = 60.0


class RoundCheckpoint:
    """A file with the states of the stages of a round, written once a minute at most.

    Args:
        path: the file; it need not exist, and one of another round is as none. Without a path
            nothing is kept.
        of_round: what tells the round, and the networks in it, from all others.
    """

    def __init__(self, path: Path | None, of_round: Hashable) -> None:
        self._path, self._round = path, repr(of_round)
        self._stages: dict[str, Any] = {}
        self._written_at = time.monotonic()
        if path is not None and path.is_file():
            found = torch.load(path, weights_only=True)
            if found["round"] == self._round:
                self._stages = found["stages"]

    def load(self, stage: str) -> Any:
        """Return the state of a stage, or None."""
        return self._stages.get(stage)

    def save(self, stage: str, state: Callable[[], dict[str, Any]]) -> None:
        """Write what ``state`` returns, if the last time was a minute ago."""
        due = time.monotonic() - self._written_at >= _SECONDS_BETWEEN_WRITES
        if self._path is None or not due:
            return
        self._stages[stage] = state()
        content = {"round": self._round, "stages": self._stages}
        write_atomically(self._path, lambda path: torch.save(content, path))
        self._written_at = time.monotonic()

    def end(self, stage: str, result: dict[str, Any]) -> None:
        """Put a result in the place of all states so far; it is written with the next one."""
        self._stages = {stage: result}
