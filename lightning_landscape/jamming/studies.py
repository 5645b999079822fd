"""Which networks to train next: towards the transition, or over a grid."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightning_landscape.errors import require
from lightning_landscape.jamming.family import Family
from lightning_landscape.observables.threshold import Threshold

__all__ = ["Point", "Round", "Scan", "Study", "Transition"]


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


class Study:
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
        require(len(samples) > 0, "samples", samples, "must hold at least one number")
        self.rounds = [
            Round(point, round(P * point.N if per_weight else P), seed)
            for point in self.points
            for P in samples
        ]
        fewest = min(each.samples for each in self.rounds)
        require(fewest >= 2, "samples", samples, "must be at least 2 patterns")

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
        self.ratios, self.error, self.rounds, self.seed = ratios, error, rounds, seed

    def threshold(self, point: Point, runs: Sequence[dict[str, Any]]) -> Threshold:
        """Return what ``runs`` say of P* at ``point``."""
        low, high = self.ratios
        threshold = Threshold(low * point.N, high * point.N)
        here = [run for run in runs if run["point"] == point.index]
        jammed = Counter(run["P"] for run in here if run["jammed"])
        for P, trials in sorted(Counter(run["P"] for run in here).items()):
            threshold.add(P, jammed[P], trials)
        return threshold

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
        P = self.threshold(point, runs).next_place(self.seeds)
        # the next even number, so that the labels are balanced
        samples = max(2, 2 * math.floor(P / 2 + 0.5))
        return Round(point, samples, self.seed + done[worst] // self.seeds)
