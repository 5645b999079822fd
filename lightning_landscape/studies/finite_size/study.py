"""FiniteSize: one configuration at several sizes, and its limit of infinite size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.dynamics.dynamics import dynamics_of
from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import require
from lightning_landscape.studies.checkpoint import RoundCheckpoint
from lightning_landscape.studies.finite_size.law import Law
from lightning_landscape.studies.finite_size.limits import limits
from lightning_landscape.studies.finite_size.trajectory import TimeGrid, measure
from lightning_landscape.studies.study import Compute, Result, Study
from lightning_landscape.studies.table import columns

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["FiniteSize", "SizeRound"]

EnergyFactory = Callable[[int], Energy]
OptimizerFactory = Callable[[Iterable[Tensor]], Optimizer]

_SEEDS_OF_A_POINT = 1_000_000
_TIME = {"units": "step size x steps"}


@dataclass(frozen=True)
class _Point:
    """A size and a step; ``refinement`` steps of it last as long as one of the coarse runs."""

    index: int
    N: int
    time_step: float
    refinement: int = 1


@dataclass(frozen=True)
class SizeRound:
    """Samples of the disorder, one after the other, at one size and step.

    Attributes:
        point: the size and the step.
        first: the number of samples of this point before.
    """

    point: _Point
    first: int

    @property
    def key(self) -> tuple[int, int, float, int]:
        """What distinguishes it from the other rounds of a study."""
        return self.point.index, self.point.N, self.point.time_step, self.first


class FiniteSize(Study):
    """Runs one configuration at several N with independent disorder, and extrapolates to N = inf.

    Each seed is one sample of the disorder, in which R replicas move on the replica axis; their
    mean is one result, so that all error bars are those over samples. Measured are E(t), C(tw+t,
    tw), Delta and, where the dynamics is `Langevin` at T > 0, chi(tw+t, tw), each with its variance
    between the replicas of a sample. They are extrapolated by

        X(N, dt) = X + sum_k b_k N^-w_k + c dt,

    see `law`. The effect of the step is subtracted where theory knows it for this dynamics (see
    `exact.step_effect`); otherwise runs of ``half_step_sizes`` at half the step give c. T_eff
    follows from the limits of Delta and chi. Exact limits are recorded too, where they are known.

    Cost: for each sample of size N, ``last`` / lr steps of an energy of R replicas; a share of a
    round keeps one sample in memory.

    A round goes to the point whose error of E at the last time is largest, until all are below
    ``error`` or have had ``rounds`` rounds.

    Args:
        energy: makes the energy from N; it also has to take ``replicas``, and ``seed`` for the
            disorder and the start. The replicas of one energy are one sample.
        optimizer: makes the dynamics from the parameters, with an ``lr``; it also has to take
            another ``lr``, and ``seed``.
        sizes: the N.
        last: the length of a run.
        waiting_times: tw.
        first: the shortest time, and shortest t of the two-time functions.
        per_decade: times in a factor of ten.
        replicas: R, in each sample.
        half_step_sizes: those of ``sizes`` that are also run with lr / 2, to measure the effect of
            the step; without any it is taken from theory where that knows it, else it remains.
        exponents: the w_k, one list for each quantity E, C, MSD, chi that differs from [1, 2], the
            expansion at fixed times.
        seeds: samples in a round.
        error: the standard error of E at the last time at which a point is finished.
        rounds: the largest number of rounds of a point.
        seed: of the samples: sample k of point j has the seed 1 000 000 j + k + seed.

    Raises:
        UsageError: a number is out of range, or sizes and steps do not determine the law.

    >>> from lightning_landscape.dynamics import Langevin
    >>> from lightning_landscape.energies import SphericalPSpin
    >>> quench = partial(Langevin, lr=0.1, temperature=0.3)
    >>> study = FiniteSize(SphericalPSpin, quench, [8, 16, 24], last=1.0, first=0.5)
    >>> study.next([]).key
    (0, 8, 0.1, 0)
    """

    name: ClassVar[str] = "finite_size"
    dims: Mapping[str, tuple[str, ...]] = {
        **dict.fromkeys(("E", "E_variance"), ("t",)),
        **{
            f"{name}{suffix}": ("tw", "t")
            for name in ("C", "MSD", "chi")
            for suffix in ("", "_variance")
        },
    }

    def __init__(
        self,
        energy: EnergyFactory,
        optimizer: OptimizerFactory,
        sizes: list[int],
        last: float,
        waiting_times: Sequence[float] = (),
        first: float = 1.0,
        per_decade: int = 8,
        replicas: int = 32,
        half_step_sizes: Sequence[int] = (),
        exponents: Mapping[str, list[float]] | None = None,
        seeds: int = 8,
        error: float = 0.002,
        rounds: int = 20,
        seed: int = 0,
    ) -> None:
        for name, number in (("replicas", replicas), ("seeds", seeds), ("rounds", rounds)):
            require(number >= 1, name, number, "must be at least 1")
        require(seeds >= 2 or rounds >= 2, "seeds", seeds, "must be 2, or rounds 2, for an error")
        require(error > 0, "error", error, "must be positive")
        unknown = sorted({*half_step_sizes} - {*sizes})
        require(not unknown, "half_step_sizes", unknown, "must be among the sizes")
        self.laws = _laws(exponents or {}, sizes)
        self.replicas, self.seeds, self.error, self.rounds = replicas, seeds, error, rounds
        self.reference = _reference(energy(min(sizes)), optimizer)
        self.time_step = time_step = self.reference["time_step"]
        self.points = _points(sizes, half_step_sizes, time_step)
        self.grid = TimeGrid.of(first, last, per_decade, waiting_times, time_step)
        self._sample = _Sample(energy, optimizer, self.grid, replicas, seed)

    @property
    def compute(self) -> Compute:
        """Runs the samples of a share, one after the other."""
        return partial(_compute, self._sample, self.seeds)

    def next(self, recorded: Sequence[Result]) -> SizeRound | None:
        """Return a round at the point with the largest error of E at the last time."""
        last = defaultdict[int, list[float]](list)
        for result in recorded:
            last[result["point"]].append(result["E"][-1])
        errors = {
            point.index: _error(last[point.index])
            for point in self.points
            if len(last[point.index]) < self.rounds * self.seeds
        }
        worst = max(errors, key=lambda k: errors[k], default=None)
        if worst is None or errors[worst] <= self.error:
            return None
        return SizeRound(self.points[worst], len(last[worst]))

    def dataset(self, recorded: Sequence[Result]) -> Dataset:
        """Return all samples along ``run``, and the limits once all points have two samples."""
        from xarray import Dataset

        coordinates = {
            "t": ("t", [step * self.time_step for step in self.grid.times], _TIME),
            "tw": ("tw", [step * self.time_step for step in self.grid.waiting_times], _TIME),
        }
        attributes = {
            "probe": "FiniteSize",
            "N": ", ".join(map(str, sorted({point.N for point in self.points}))),
            "replicas": self.replicas,
            **self.reference,
        }
        samples = Dataset(columns(recorded, self.dims), coordinates, attributes)
        return limits(samples, self.laws)

    def line(self, each: SizeRound, new: Sequence[Result]) -> str:
        """Return the energy at the last time."""
        last = [result["E"][-1] for result in new]
        t = self.grid.times[-1] * self.time_step
        return (
            f"N = {each.point.N}, step {each.point.time_step:g}, samples {each.first} to "
            f"{each.first + len(new) - 1}: E({t:g}) = {np.mean(last):.4f}"
        )


@dataclass(frozen=True)
class _Sample:
    """Everything that a worker needs to run a sample; picklable."""

    energy: EnergyFactory
    optimizer: OptimizerFactory
    grid: TimeGrid
    replicas: int
    seed: int

    def run(self, point: _Point, k: int) -> dict[str, Any]:
        """Return what is measured of sample ``k`` of a point, as lists."""
        seed = self.seed + _SEEDS_OF_A_POINT * point.index + k
        energy = self.energy(point.N, replicas=self.replicas, seed=seed)  # type: ignore[call-arg]
        factory: Callable[..., Optimizer] = self.optimizer
        dynamics = partial(factory, lr=point.time_step, seed=seed)
        found = measure(energy, dynamics, self.grid.finer(point.refinement))
        return {name: values.tolist() for name, values in found.items()}


def _compute(
    sample: _Sample, seeds: int, each: SizeRound, share: list[int], checkpoint: RoundCheckpoint
) -> list[Result]:
    """Run the samples of a share; those that were run before a kill are not run again."""
    done: list[Result] = (checkpoint.load("samples") or {"done": []})["done"]
    for k in share[len(done) :]:
        place = {"point": each.point.index, "N": each.point.N, "time_step": each.point.time_step}
        number = each.first + k
        done = [*done, place | {"sample": number} | sample.run(each.point, number)]
        checkpoint.end("samples", {"done": done}, supersedes="samples")
    return done


def _reference(energy: Energy, optimizer: OptimizerFactory) -> dict[str, Any]:
    """Return what a record says of energy and dynamics."""
    dynamics = optimizer(energy.parameters())
    told = dynamics_of(dynamics)
    return {
        **{name: value for name, value in energy.reference().items() if name != "N"},
        "energy": type(energy).__name__,
        "dynamics": type(dynamics).__name__,
        "temperature": float(told.current_temperature),
        "time_step": told.time_step,
    }


def _points(sizes: Sequence[int], halved: Sequence[int], time_step: float) -> list[_Point]:
    coarse = [_Point(k, N, time_step) for k, N in enumerate(sizes)]
    fine = [_Point(len(sizes) + k, N, time_step / 2, 2) for k, N in enumerate(halved)]
    return coarse + fine


def _laws(exponents: Mapping[str, list[float]], sizes: Sequence[int]) -> dict[str, Law]:
    known = ("E", "C", "MSD", "chi")
    unknown = sorted({*exponents} - {*known})
    require(not unknown, "exponents", unknown, f"must be of {', '.join(known)}")
    laws = {name: Law(tuple(exponents.get(name, [1.0, 2.0]))) for name in known}
    for law in laws.values():
        law.check(sizes, [])
    return laws


def _error(values: list[float]) -> float:
    """Return the standard error of the mean; infinite where it is not known."""
    array: NDArray[np.float64] = np.array(values)
    return float(array.std(ddof=1) / len(array) ** 0.5) if len(array) > 1 else float("inf")
