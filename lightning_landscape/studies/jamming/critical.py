"""Which networks to train next to find the transition, in P or in width."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from lightning_landscape.errors import require
from lightning_landscape.observables.threshold import Threshold
from lightning_landscape.studies.jamming.family import Family
from lightning_landscape.studies.jamming.plan import NetworkRound, Plan, Point

__all__ = ["CriticalLoad", "CriticalWidth"]


class CriticalLoad(Plan):
    """The transition P* of each family and width: the P at which half of the networks jam.

    Every round trains new networks on new patterns, at the P that is expected to reduce the
    variance of P* most; P* and its error bar follow from all rounds, see `Threshold`. A round goes
    to the point whose error is largest, until all are below ``error`` or had ``rounds`` rounds.

    Args:
        families: the networks.
        seeds: R, the number of networks in a round.
        ratios: the range in which P*/N is looked for.
        error: the standard error of log P* that is enough.
        rounds: the most rounds of a point.
        seed: of initial weights and patterns.

    Raises:
        UsageError: a number is out of range.
    """

    varied, limited_by = "P", "ratios"

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
        """Return the posterior of P/N at the transition of ``point``, given ``runs``."""
        threshold = Threshold(*self.ratios[point.index])
        here = [run for run in runs if run["point"] == point.index]
        jammed = Counter((run["P"], run["N"]) for run in here if run["jammed"])
        for (P, N), trials in sorted(Counter((run["P"], run["N"]) for run in here).items()):
            threshold.add(P / N, jammed[P, N], trials)
        return threshold

    def place(self, point: Point, ratio: float) -> tuple[float, float]:
        """Return the N and the P that a point has where P/N is ``ratio``."""
        return point.N, ratio * point.N

    def largest(self) -> Iterator[tuple[Family, int]]:
        """Yield the family and the largest P of each point."""
        for point, (_, high) in zip(self.points, self.ratios, strict=True):
            yield point.family, self._round(point, high, self.seed).samples

    def next(self, runs: Sequence[dict[str, Any]]) -> NetworkRound | None:
        """Return a round at the point with the largest error."""
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

    def _round(self, point: Point, ratio: float, seed: int) -> NetworkRound:
        # the next even number, so that the labels are balanced
        return NetworkRound(point, max(2, 2 * math.floor(ratio * point.N / 2 + 0.5)), seed)


class CriticalWidth(CriticalLoad):
    """The transition N* at given P: the size below which half of the networks jam.

    As `CriticalLoad`, but with the width h varied, in steps of one neuron in one layer, between the
    smallest and the largest width of each family. Every family with each P is a point. P stays the
    same, which suits small data sets; the source does this too.

    Args:
        families: the networks, each with at least one hidden layer and two widths.
        samples: the numbers P of patterns.
        seeds: R, the number of networks in a round.
        error: the standard error of log N* that is enough.
        rounds: the most rounds of a point.
        seed: of initial weights and patterns.

    Raises:
        UsageError: a number is out of range, or a family has no width to vary.

    Source: Geiger et al. 2019, arXiv:1809.09349.
    """

    varied, limited_by = "h", "samples"

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

    def _round(self, point: Point, ratio: float, seed: int) -> NetworkRound:
        N, P = self.place(point, ratio)
        return NetworkRound(replace(point, width=point.family.width_of(N)), round(P), seed)
