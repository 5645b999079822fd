"""Physical time, counted in integrator steps: logarithmic grids and the next event on them."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from lightning_landscape.errors import require

__all__ = ["HasEvents", "log_times", "next_event", "to_steps"]

_MOST_TIMES = 10**6


def log_times(first: float, last: float, per_decade: int = 10) -> list[float]:
    """Return logarithmically spaced times from ``first`` to ``last``, both included.

    Args:
        first: the earliest time, > 0.
        last: the latest time, >= first.
        per_decade: points per factor of ten.

    Raises:
        UsageError: the times are none, or more than a million.

    >>> [round(t, 3) for t in log_times(0.1, 10, per_decade=2)]
    [0.1, 0.316, 1.0, 3.162, 10.0]
    """
    require(first > 0, "first", first, "must be positive: a logarithmic grid does not contain 0")
    require(first <= last < math.inf, "last", last, f"must be at least first = {first}, and finite")
    require(per_decade >= 1, "per_decade", per_decade, "must be at least 1")
    require(last <= first * 1e300, "last", last, f"is too far from first = {first}")
    decades = math.log10(last / first)
    require(
        per_decade * max(decades, 1) <= _MOST_TIMES,
        "per_decade",
        per_decade,
        f"makes more than {_MOST_TIMES} times",
    )
    intervals = max(1, math.ceil(per_decade * decades - 1e-9))
    if last == first:
        return [float(first)]
    ratio = (last / first) ** (1 / intervals)
    return [first * ratio**k for k in range(intervals)] + [float(last)]


def to_steps(times: Iterable[float], time_step: float) -> list[int]:
    """Return the integrator steps nearest to ``times``, sorted, without duplicates.

    >>> to_steps([0, 0.1, 0.11, 1.0], time_step=0.1)
    [0, 1, 10]
    """
    return sorted({round(t / time_step) for t in times})


def next_event(steps: Sequence[int], step: int) -> int | None:
    """Return the first of the sorted ``steps`` that is later than ``step``, or None.

    >>> next_event([0, 4, 9], 4)
    9
    """
    k = bisect.bisect_right(steps, step)
    return steps[k] if k < len(steps) else None


@runtime_checkable
class HasEvents(Protocol):
    """A callback that acts at certain steps, where a block of integrator steps therefore ends."""

    def next_event(self, step: int) -> int | None:
        """Return the first step after ``step`` at which it acts, or None."""
