"""Whether a run has been asked to end: all ranks learn of it at the same step."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import torch

from lightning_landscape import parallel

__all__ = ["Interruption", "MayBeAsked"]

_SECONDS_BETWEEN_QUESTIONS = 0.5


@runtime_checkable
class MayBeAsked(Protocol):
    """A callback that may be asked to end the run, as by a signal, and then does so."""

    asked_to_end: bool


class Interruption:
    """Asks, after each step, whether the run should end; of several ranks, twice a second.

    The number of steps until the ranks compare their answers again is agreed on by all of them, so
    that they end a block at the same step.

    Args:
        callbacks: those of the Trainer.
    """

    def __init__(self, callbacks: Iterable[Any]) -> None:
        self._callbacks = [c for c in callbacks if isinstance(c, MayBeAsked)]
        self._asked_at, self._steps, self._since = time.monotonic(), 1, 0

    def has_come(self) -> bool:
        """Return whether to end after the step that is done; call it after each one."""
        if parallel.count() == 1:
            return self._here()
        self._since += 1
        if self._since < self._steps:
            return False
        now = time.monotonic()
        per_step = (now - self._asked_at) / self._since
        answers = torch.tensor([float(self._here()), per_step], dtype=torch.float64)
        asked, slowest = parallel.max(answers).tolist()
        self._steps = max(1, int(_SECONDS_BETWEEN_QUESTIONS / max(slowest, 1e-9)))
        self._asked_at, self._since = now, 0
        return asked > 0

    def _here(self) -> bool:
        return any(callback.asked_to_end for callback in self._callbacks)
