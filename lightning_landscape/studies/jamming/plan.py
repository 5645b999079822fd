"""Which networks to train next, and over a grid."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_landscape.errors import require
from lightning_landscape.studies.jamming.family import Family

__all__ = ["NetworkRound", "Plan", "Point", "Scan"]


@dataclass(frozen=True)
class Point:
    """The networks of one family and width.

    Attributes:
        index: the place of the point among all those of the study.
        family: its family.
        width: h.
    """

    index: int
    family: Family
    width: float

    @property
    def N(self) -> int:
        """The number of weights."""
        return self.family.size(self.width)


@dataclass(frozen=True)
class NetworkRound:
    """R networks to train together.

    Attributes:
        point: what they are.
        samples: P.
        seed: of initial weights and patterns; network r is the r-th of this seed.
    """

    point: Point
    samples: int
    seed: int

    @property
    def key(self) -> tuple[int, float, int, int]:
        """What distinguishes it from the other rounds of a study."""
        return self.point.index, self.point.width, self.samples, self.seed


class Plan(ABC):
    """Which networks to train next, as a function of those that have been trained.

    Args:
        families: the networks; each width of each family is a point.
        seeds: R, the number of networks that are trained together.
    """

    def __init__(self, families: list[Family], seeds: int) -> None:
        require(len(families) > 0, "families", families, "must hold at least one")
        require(seeds >= 1, "seeds", seeds, "must be at least 1")
        pairs = [(family, width) for family in families for width in family.widths]
        self.points = [Point(k, family, width) for k, (family, width) in enumerate(pairs)]
        self.seeds = seeds

    limited_by = "samples"  # what to lower where the data have not enough patterns

    @abstractmethod
    def largest(self) -> Iterator[tuple[Family, int]]:
        """Yield families with the numbers of patterns that they may be asked for."""

    @abstractmethod
    def next(self, runs: Sequence[dict[str, Any]]) -> NetworkRound | None:
        """Return what to train after ``runs``, or None if they suffice.

        Args:
            runs: one for each network trained so far; see `training.train`.
        """


class Scan(Plan):
    """All families and widths at all numbers of patterns.

    Network r has the same order of patterns and, at one width, the same initial weights at every
    P: the first P patterns of one order.

    Args:
        families: the networks.
        samples: the numbers P of patterns; with ``per_weight`` the ratios P / N.
        seeds: R, the number of networks at each.
        per_weight: whether ``samples`` are ratios.
        seed: of initial weights and patterns.

    Raises:
        UsageError: no P, or one below 2.
    """

    def __init__(
        self,
        families: list[Family],
        samples: list[float],
        seeds: int = 16,
        per_weight: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(families, seeds)
        valid = len(samples) > 0 and all(map(math.isfinite, samples))
        require(valid, "samples", samples, "must hold at least one number, and finite ones")
        self.rounds = [
            NetworkRound(point, round(P * point.N if per_weight else P), seed)
            for point in self.points
            for P in samples
        ]
        fewest = min(each.samples for each in self.rounds)
        require(fewest >= 2, "samples", samples, "must be at least 2 patterns")

    def largest(self) -> Iterator[tuple[Family, int]]:
        """Yield the family and P of every round."""
        return ((each.point.family, each.samples) for each in self.rounds)

    def next(self, runs: Sequence[dict[str, Any]]) -> NetworkRound | None:
        """Return the first round of the grid that is missing."""
        done = len(runs) // self.seeds
        return self.rounds[done] if done < len(self.rounds) else None
