"""Line searches of many replicas at once, each with a bracket of its own."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["RULES", "LineSearch", "Rules"]


class Rules(NamedTuple):
    """The numbers of a line search.

    Attributes:
        decrease: of what the slope promises, and
        slope: what may be left of the slope: Nocedal, Wright 2006.
        flat: of the slope at the end, where
        rounding: units of precision of E are more than the decrease: Hager, Zhang 2005, eq. (4.1).
        faster: the factor from trial to trial while all are too short.
        margin: of the interval, at both sides.
        most: the largest number of trials.
    """

    decrease: float
    slope: float
    flat: float
    rounding: float
    faster: float
    margin: float
    most: int


RULES = Rules(decrease=1e-4, slope=0.9, flat=0.8, rounding=100.0, faster=4.0, margin=0.1, most=30)


@dataclass
class LineSearch:
    """The search of each replica for a step a along its direction d, all shape (R,).

    A step is accepted under the weak Wolfe conditions

        E(a) <= E(0) + 1e-4 a E'(0),    E'(a) >= 0.9 E'(0),

    the first of which is replaced by |E'(a)| <= 0.8 |E'(0)| where E(a) - E(0) is of the order of
    rounding. A step that is too short becomes a lower bound, one that is too long an upper one;
    the next trial is the zero of the slope by linear interpolation, or the middle.

    Attributes:
        E: the energies at a = 0.
        slope: E'(0) < 0.
        longest: the largest a that is admissible.
        a: the next trial.
        low: the largest a that is too short.
        high: the smallest a that is too long.
        slope_low: the slope at ``low``.
        trials: how many there were.

    Source: Lewis, Overton 2013, Math. Program. 141, 135, algorithm 2.6.
    """

    E: Tensor
    slope: Tensor
    longest: Tensor
    a: Tensor
    low: Tensor
    high: Tensor
    slope_low: Tensor
    trials: Tensor

    @classmethod
    def begin(cls, E: Tensor, slope: Tensor, longest: Tensor) -> LineSearch:
        """Begin at a = 1, or at the largest that is admissible."""
        a, high = longest.clamp_max(1.0), torch.full_like(E, torch.inf)
        low, trials = torch.zeros_like(E), torch.zeros_like(E)
        return cls(E.clone(), slope, longest, a, low, high, slope.clone(), trials)

    def only(self, index: Tensor) -> LineSearch:
        """Return the searches of some replicas."""
        return LineSearch(*(getattr(self, field.name)[index] for field in fields(self)))

    def merge(self, other: LineSearch, which: Tensor) -> LineSearch:
        """Return the searches of ``other`` for the replicas of ``which``, these for all others."""
        names = [field.name for field in fields(self)]
        pairs = ((getattr(other, name), getattr(self, name)) for name in names)
        return LineSearch(*(torch.where(which, theirs, ours) for theirs, ours in pairs))

    def judge(self, E: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        """Take in the energies and slopes at a; choose the next trials of those that go on.

        Returns:
            which steps are accepted, and which searches have failed, bool.
        """
        rounding = RULES.rounding * torch.finfo(E.dtype).eps * self.E.abs()
        decreases = E <= self.E + RULES.decrease * self.a * self.slope
        flat = (E <= self.E + rounding) & (slope <= -RULES.flat * self.slope)
        long = ~((decreases | flat) & slope.isfinite())  # nan and inf too
        short = ~long & (slope < RULES.slope * self.slope) & (self.a < self.longest)
        self.trials = self.trials + 1
        failed = (long | short) & (self.trials >= RULES.most)
        self._narrow(slope, long, short)
        return ~(long | short), failed

    def _narrow(self, slope: Tensor, long: Tensor, short: Tensor) -> None:
        a, before = self.a, self.low
        self.high = torch.where(long, a, self.high)
        self.low = torch.where(short, a, self.low)
        width = self.high - self.low
        zero = before + (a - before) * self.slope_low / (self.slope_low - slope)
        inside = self.low + zero.sub(self.low).clamp(
            RULES.margin * width, (1 - RULES.margin) * width
        )
        middle = self.low + width / 2
        trial = torch.where(long & (slope > 0), inside, middle)
        unbounded = self.high.isinf()
        trial = torch.where(unbounded, torch.minimum(RULES.faster * a, self.longest), trial)
        self.slope_low = torch.where(short, slope, self.slope_low)
        self.a = torch.where(long | short, trial, a)
