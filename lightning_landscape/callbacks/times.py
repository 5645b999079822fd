"""When a probe measures: physical times, counted in steps when the run starts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_landscape.clock import log_times, to_steps
from lightning_landscape.errors import require

if TYPE_CHECKING:
    from lightning_landscape.callbacks.probe import Probe

__all__ = ["UNITS", "Times", "affordable", "axis", "thinned"]

UNITS = "step size x steps"


@dataclass(frozen=True)
class Times:
    """Times at which to measure: the step size times the number of steps.

    In a foreign project, whose step size is not known, times are numbers of steps.

    Args:
        values: the times.
    """

    values: tuple[float, ...]

    @classmethod
    def log(cls, first: float, last: float, per_decade: int, zero: bool = True) -> Times:
        """Return a logarithmic grid from ``first`` to ``last``, and time 0 before it if ``zero``.

        >>> Times.log(1, 100, per_decade=1).values
        (0.0, 1.0, 10.0, 100.0)
        """
        start = [0.0] if zero else []
        return cls((*start, *log_times(first, last, per_decade)))

    @classmethod
    def every(cls, interval: float, last: float, first: float = 0.0) -> Times:
        """Return ``first`` and each ``interval`` after it until ``last``.

        Raises:
            UsageError: the times are none, or more than a million.

        >>> Times.every(0.1, last=0.3).steps(0.05)
        [0, 2, 4, 6]
        """
        require(0 < interval < math.inf, "interval", interval, "must be positive, and finite")
        require(0 <= first < math.inf, "first", first, "must be at least 0, and finite")
        required = f"must be at least first = {first}, and finite"
        require(first <= last < math.inf, "last", last, required)
        few = last - first <= 1e6 * interval
        require(few, "interval", interval, "makes more than a million times")
        # a last time that is a multiple up to rounding belongs to the grid
        count = int((last - first) / interval * (1 + 1e-9)) + 1
        return cls(tuple(first + k * interval for k in range(count)))

    @classmethod
    def at(cls, times: Iterable[float], argument: str = "times") -> Times:
        """Return the times of a list.

        Args:
            times: at least one, none before 0.
            argument: what the list is called where it is given, for the error.

        Raises:
            UsageError: there is no time, a negative one, or one that is not finite.
        """
        values = tuple(float(t) for t in times)
        right = len(values) > 0 and all(0 <= t < math.inf for t in values)
        required = "needs at least one time, all 0 or later, and finite"
        require(right, argument, list(values), required)
        return cls(values)

    def steps(self, time_step: float) -> list[int]:
        """Return the steps nearest to the times, sorted, each once."""
        return to_steps(self.values, time_step)


def axis(name: str, steps: Any, time_step: float) -> dict[str, tuple[str, Any, dict[str, str]]]:
    """Return the coordinate ``name`` of a record: the physical times of ``steps``, with units."""
    return {name: (name, steps * time_step, {"units": UNITS})}


def affordable(probe: Probe, times: int, max_share: float, run: float, each: float) -> int:
    """Return how many measurements are within a share of a run; warn where there is none.

    Args:
        probe: who measures.
        times: how many there would be.
        max_share: cost of all of them over that of the run.
        run: how many steps the run has until the last of them.
        each: what one costs, in steps.
    """
    most = min(times, max_share * run / each)
    if most < 1 and times:
        probe.warn(
            f"nothing is measured: one measurement costs {each:.3g} steps, more than max_share = "
            f"{max_share:g} of the {run:.0f} steps of the run; raise max_share, or lower what it "
            "may cost"
        )
    return int(most)


def thinned(steps: Sequence[int], most: int) -> list[int]:
    """Return ``most`` of the steps, spread evenly, the last one included.

    >>> thinned([0, 1, 10, 100, 1000], 3)
    [1, 10, 1000]
    """
    size = len(steps)
    return [steps[k] for k in sorted({size - 1 - round(k * size / most) for k in range(most)})]
