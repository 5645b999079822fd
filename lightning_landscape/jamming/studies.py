"""Which networks to train next: towards the transition, or over a grid."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lightning_landscape.errors import require
from lightning_landscape.jamming.family import Family
from lightning_landscape.observables.threshold import Threshold

__all__ = ["Point", "Round", "Scan", "Study", "Transition", "TransitionInWidth"]


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
class Round:
    """R networks to train together.

    Attributes:
        point: what they are.
        samples: P.
        seed: of initial weights and patterns; network r is the r-th of this seed.
    """

    point: Point
    samples: int
    seed: int


class Study(ABC):
    """Which rounds to do, as a function of the rounds that have been done: so it can be resumed.

    Args:
        families: the networks; each width of each family is a point.
        seeds: R, how many networks are trained together.
    """

    def __init__(self, families: list[Family], seeds: int) -> None:
        require(len(families) > 0, "families", families, "must hold at least one")
        require(seeds >= 1, "seeds", seeds, "must be at least 1")
        pairs = [(family, width) for family in families for width in family.widths]
        self.points = [Point(k, family, width) for k, (family, width) in enumerate(pairs)]
        self.seeds = seeds

    asks_by = "samples"  # what to lower where the data have not enough patterns

    @abstractmethod
    def most(self) -> Iterator[tuple[Family, int]]:
        """Yield families with the numbers of patterns that they may be asked for."""

    @abstractmethod
    def next(self, runs: Sequence[dict[str, Any]]) -> Round | None:
        """Return what to train after ``runs``, or None if they suffice.

        Args:
            runs: one for each network trained so far; see `training.train`.
        """


class Scan(Study):
    """All families and widths at all numbers of patterns.

    Network r has the same order of patterns and, at one width, the same initial weights at every
    P: the first P patterns of one order.

    Args:
        families: the networks.
        samples: the numbers P of patterns; with ``per_weight`` the ratios P / N.
        seeds: R, how many networks at each.
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
            Round(point, round(P * point.N if per_weight else P), seed)
            for point in self.points
            for P in samples
        ]
        fewest = min(each.samples for each in self.rounds)
        require(fewest >= 2, "samples", samples, "must be at least 2 patterns")

    def most(self) -> Iterator[tuple[Family, int]]:
        """Yield the family and P of every round."""
        return ((each.point.family, each.samples) for each in self.rounds)

    def next(self, runs: Sequence[dict[str, Any]]) -> Round | None:
        """Return the first round of the grid that is missing."""
        done = len(runs) // self.seeds
        return self.rounds[done] if done < len(self.rounds) else None


class Transition(Study):
    """The transition P* of each family and width: the P at which half of the networks jam.

    Every round trains fresh networks on fresh patterns where they tell most about P*, and P* with
    its error bar follows from all of them; see `Threshold`. A round goes to the point whose error
    is largest, until all are below ``error`` or have had ``rounds`` rounds.

    Args:
        families: the networks.
        seeds: R, how many networks a round.
        ratios: the range in which P*/N is looked for.
        error: the standard error of log P* that is enough.
        rounds: the most rounds of a point.
        seed: of initial weights and patterns.

    Raises:
        UsageError: a number is out of range.
    """

    varied, asks_by = "P", "ratios"

    def __init__(
        self,
        families: list[Family],
        seeds: int = 16,
        ratios: tuple[float, float] = (0.5, 8.0),
        error: float = 0.02,
        rounds: int = 12,
        seed: int = 0,
    ) -> None:
        super().__init__(families, seeds)
        low, high = ratios
        require(0 < low < high, "ratios", ratios, "must satisfy 0 < low < high")
        require(error > 0, "error", error, "must be > 0")
        require(rounds >= 1, "rounds", rounds, "must be at least 1")
        self.error, self.rounds, self.seed = error, rounds, seed
        self.ratios = [(low, high)] * len(self.points)  # of each point

    def threshold(self, point: Point, runs: Sequence[dict[str, Any]]) -> Threshold:
        """Return what ``runs`` say of P/N at the transition of ``point``."""
        threshold = Threshold(*self.ratios[point.index])
        here = [run for run in runs if run["point"] == point.index]
        jammed = Counter((run["P"], run["N"]) for run in here if run["jammed"])
        for (P, N), trials in sorted(Counter((run["P"], run["N"]) for run in here).items()):
            threshold.add(P / N, jammed[P, N], trials)
        return threshold

    def place(self, point: Point, ratio: float) -> tuple[float, float]:
        """Return the N and the P that a point has where P/N is ``ratio``."""
        return point.N, ratio * point.N

    def most(self) -> Iterator[tuple[Family, int]]:
        """Yield the families with the largest P of each point."""
        for point, (_, high) in zip(self.points, self.ratios, strict=True):
            yield point.family, self._round(point, high, self.seed).samples

    def next(self, runs: Sequence[dict[str, Any]]) -> Round | None:
        """Return a round at the point that is known least."""
        done = Counter(run["point"] for run in runs)
        errors = {
            point.index: self.threshold(point, runs).estimate().error
            for point in self.points
            if done[point.index] < self.rounds * self.seeds
        }
        worst = max(errors, key=lambda k: errors[k], default=None)
        if worst is None or errors[worst] <= self.error:
            return None
        point = self.points[worst]
        ratio = self.threshold(point, runs).next_place(self.seeds)
        return self._round(point, ratio, self.seed + done[worst] // self.seeds)

    def _round(self, point: Point, ratio: float, seed: int) -> Round:
        # the next even number, so that the labels are balanced
        return Round(point, max(2, 2 * math.floor(ratio * point.N / 2 + 0.5)), seed)


class TransitionInWidth(Transition):
    """The transition N* at given P: the size below which half of the networks jam.

    As `Transition`, but what varies is the width h, in steps of one neuron of one layer, between
    the smallest and the largest width of each family. Every family with each P is a point. It is
    the way where data are few, as P stays the same, and that of the source.

    Args:
        families: the networks, each with at least one hidden layer and two widths.
        samples: the numbers P of patterns.
        seeds: R, how many networks a round.
        error: the standard error of log N* that is enough.
        rounds: the most rounds of a point.
        seed: of initial weights and patterns.

    Raises:
        UsageError: a number is out of range, or a family has no width to vary.

    Source: Geiger et al. 2019, arXiv:1809.09349.
    """

    varied, asks_by = "h", "samples"

    def __init__(
        self,
        families: list[Family],
        samples: list[int],
        seeds: int = 16,
        error: float = 0.02,
        rounds: int = 12,
        seed: int = 0,
    ) -> None:
        super().__init__(families, seeds, error=error, rounds=rounds, seed=seed)
        fewest, required = min(samples, default=0), "must hold at least one number, each at least 2"
        require(fewest >= 2, "samples", samples, required)
        for family in families:
            required = "must be at least 1, as its width is varied"
            require(family.depth >= 1, "depth", family.depth, required)
            required = "must hold the ends of the range of widths that is searched"
            require(len(set(family.widths)) >= 2, "widths", family.widths, required)
        pairs = [(family, P) for family in families for P in samples]
        self.points = [Point(k, each, max(each.widths)) for k, (each, _) in enumerate(pairs)]
        self.samples = [P for _, P in pairs]
        self.ratios = [
            (P / each.size(max(each.widths)), P / each.size(min(each.widths))) for each, P in pairs
        ]

    def place(self, point: Point, ratio: float) -> tuple[float, float]:
        """Return the N and the P that a point has where P/N is ``ratio``."""
        P = self.samples[point.index]
        return P / ratio, P

    def _round(self, point: Point, ratio: float, seed: int) -> Round:
        N, P = self.place(point, ratio)
        return Round(replace(point, width=point.family.width_of(N)), round(P), seed)
