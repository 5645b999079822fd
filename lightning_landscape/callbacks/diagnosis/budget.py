"""The seconds that the probes of a diagnosis may take, of a run whose length is known in steps."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from lightning_landscape import parallel

if TYPE_CHECKING:
    from lightning_landscape.callbacks.diagnosis.part import Part

__all__ = ["Budget"]

_FIXED = 0.4  # seconds: the records, what a run loads to write them, the table, and hooks
_LEAST = 0.3  # seconds of measurements in any run, however short


class Budget:
    """A share of a run's time, for all probes of a diagnosis together.

    The time of a step is that of the run so far without the probes. What a probe leaves over is
    for the others, in proportion to their weights. In a run of seconds a third of one is allowed.

    Args:
        share: time of all measurements over that of the run.
        parts: the probes.
        step: at which the run starts.
        end: at which it ends; inf where that is not known, and what has been run counts.
    """

    def __init__(self, share: float, parts: Sequence[Part], step: int, end: float) -> None:
        self.share, self.parts, self.end = share, list(parts), end
        self.looks: Counter[str] = Counter()
        self._first, self._start = step, time.perf_counter()

    def affords(self, part: Part, step: int) -> float:
        """Return how many more looks of ``part`` there is time for, on all ranks alike.

        Before the first step, when no time is known, inf. A look costs what those before it did on
        average, and the first what the part says, in steps.
        """
        done = step - self._first
        if done <= 0 or math.isinf(self.share):
            return math.inf
        spent = sum(one.seconds for one in self.parts)
        each = (time.perf_counter() - self._start - spent) / done
        looks = self.looks[part.name]
        price = part.seconds / looks if looks else part.price * each
        most = (self._allowance(part, step, each) - part.seconds) / price
        return -int(parallel.max(torch.tensor(-int(max(most, 0)))))

    def _allowance(self, part: Part, step: int, each: float) -> float:
        """Return the seconds of one part: by its weight among those that still measure."""
        steps = (step if math.isinf(self.end) else self.end) - self._first
        measuring = [p for p in self.parts if p is part or p.next_event(step) is not None]
        over = sum(p.seconds for p in self.parts if p not in measuring)
        left = max(self.share * steps * each - _FIXED, _LEAST) - over
        return left * part.weight / sum(p.weight for p in measuring)
