"""Temperatures as functions of physical time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor

from lightning_landscape.arguments import Checked
from lightning_landscape.errors import require

__all__ = ["Anneal", "Constant", "Cycle", "Quench", "Schedule"]

# A clock that multiplies a step size meets the moment of a change only up to rounding.
_ROUNDING = 1e-9


class Schedule(Checked, ABC):
    """A temperature T(t) >= 0 for t >= 0; any function of t can take its place.

    Attributes:
        constant: whether T never changes, so that aging can be measured without a warning.
    """

    constant: bool = False

    @abstractmethod
    def __call__(self, t: float) -> float | Tensor:
        """Return the temperature at physical time ``t``: one, or one for each replica, (R,)."""

    def check(self, replicas: int) -> None:
        """Raise a `UsageError` if the schedule is not for so many replicas; most are for any."""


class Constant(Schedule):
    """T(t) = ``temperature``.

    >>> Constant(0.5)(3.0)
    0.5
    """

    constant = True

    def __init__(self, temperature: float) -> None:
        self.temperature = _at_least_0("temperature", temperature)

    def __call__(self, t: float) -> float:
        """Return the temperature."""
        return self.temperature


class Quench(Schedule):
    """T(t) = ``initial`` before the time ``at``, ``final`` from then on.

    >>> quench = Quench(initial=1.0, final=0.2, at=10)
    >>> quench(9.99), quench(10)
    (1.0, 0.2)
    """

    def __init__(self, initial: float, final: float, at: float) -> None:
        self.initial, self.final = _at_least_0("initial", initial), _at_least_0("final", final)
        self.at = _at_least_0("at", at)

    def __call__(self, t: float) -> float:
        """Return the temperature at time ``t``."""
        return self.initial if t < self.at * (1 - _ROUNDING) else self.final


class Anneal(Schedule):
    """T(t) from ``initial`` at t = 0 to ``final`` at t = ``duration``, and ``final`` after.

    linear: T = initial + (final - initial) s; exponential: T = initial (final / initial)^s, with
    s = t / duration. The exponential needs both temperatures > 0.

    >>> Anneal(1.0, 0.01, duration=10, shape="exponential")(5)
    0.1
    """

    def __init__(
        self,
        initial: float,
        final: float,
        duration: float,
        shape: Literal["linear", "exponential"] = "linear",
    ) -> None:
        self.initial, self.final = _at_least_0("initial", initial), _at_least_0("final", final)
        require(duration > 0, "duration", duration, "must be > 0")
        require(shape in ("linear", "exponential"), "shape", shape, "is linear or exponential")
        positive = min(self.initial, self.final) > 0
        require(
            shape == "linear" or positive,
            "shape",
            shape,
            f"an exponential cannot join {initial} and {final}",
            "take a linear one, or temperatures > 0",
        )
        self.duration, self.shape = float(duration), shape

    def __call__(self, t: float) -> float:
        """Return the temperature at time ``t``."""
        s = min(t / self.duration, 1.0)
        if self.shape == "linear":
            return self.initial + (self.final - self.initial) * s
        return self.initial * (self.final / self.initial) ** s


class Cycle(Schedule):
    """T(t) = ``first`` for half a ``period``, then ``second`` for half a period, and again.

    >>> cycle = Cycle(first=0.5, second=0.3, period=20)
    >>> [cycle(t) for t in (0, 10, 20)]
    [0.5, 0.3, 0.5]
    """

    def __init__(self, first: float, second: float, period: float) -> None:
        self.first, self.second = _at_least_0("first", first), _at_least_0("second", second)
        require(period > 0, "period", period, "must be > 0")
        self.period = float(period)

    def __call__(self, t: float) -> float:
        """Return the temperature at time ``t``."""
        half_periods = 2 * t / self.period
        return self.second if int(half_periods * (1 + _ROUNDING)) % 2 else self.first


def _at_least_0(argument: str, value: float) -> float:
    require(0 <= value < float("inf"), argument, value, "must be at least 0")
    return float(value)
