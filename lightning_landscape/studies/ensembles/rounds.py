"""What the studies of ensembles share: their rounds, and how networks are trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.data.batches import Batches
from lightning_landscape.dynamics.layer_rates import LayerRates
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.errors import UsageError
from lightning_landscape.studies.checkpoint import RoundCheckpoint
from lightning_landscape.studies.study import Compute, Result

__all__ = ["EnsembleRound", "OptimizerFactory", "one_by_one", "recorded_points", "train"]

OptimizerFactory = Callable[[Iterable[Tensor]], Optimizer] | LayerRates

_STEPS_BETWEEN_LOOKS = 50


@dataclass(frozen=True)
class EnsembleRound:
    """All seeds of one point of a study.

    Attributes:
        point: what tells the point from the others.
    """

    point: tuple[int | str, ...]

    @property
    def key(self) -> tuple[int | str, ...]:
        """The point."""
        return self.point


def one_by_one(run: Callable[[Any, int], Result]) -> Compute:
    """Return what computes the seeds of a share one after the other, and keeps those that are done.

    Args:
        run: the result of a round and a seed; it can be pickled.
    """
    return _OneByOne(run)


@dataclass(frozen=True)
class _OneByOne:
    run: Callable[[Any, int], Result]

    def __call__(self, each: Any, share: list[int], checkpoint: RoundCheckpoint) -> list[Result]:
        done: list[Result] = (checkpoint.load("seeds") or {"done": []})["done"]
        for seed in share[len(done) :]:
            done = [*done, self.run(each, seed)]
            checkpoint.end("seeds", {"done": done}, supersedes="seeds")
        return done


def train(
    energy: NetworkEnergy,
    optimizer: OptimizerFactory,
    steps: int,
    batches: Batches | None = None,
    until: float = 0.0,
) -> int:
    """Train networks, and return the number of steps.

    Args:
        energy: R networks.
        optimizer: makes the dynamics.
        steps: the most of them.
        batches: mini-batches; None takes all data at each step.
        until: the training loss, of the network with the largest, that is enough; it is looked at
            every 50 steps.

    Raises:
        UsageError: the loss is not finite at the end.
    """
    dynamics = optimizer(energy.parameters())
    move: Any = dynamics.step  # typed by torch for one number
    for step in range(steps):
        move(partial(_total_energy, energy, dynamics, batches, step))
        if until > 0 and (step + 1) % _STEPS_BETWEEN_LOOKS == 0 and _largest_loss(energy) < until:
            return step + 1
    if not _largest_loss(energy) < float("inf"):
        raise UsageError("the loss is not finite: the step is too long; lower the optimizer's lr")
    return steps


def _total_energy(
    energy: NetworkEnergy, dynamics: Optimizer, batches: Batches | None, step: int
) -> float:
    """Set the gradients of a step; return the sum of the energies."""
    dynamics.zero_grad()
    indices = None if batches is None else batches(step, energy.samples, energy.replicas)
    total = energy(indices).sum()
    total.backward()
    return total.item()


def _largest_loss(energy: NetworkEnergy) -> float:
    return energy.evaluate("train")["energy"].max().item()


def recorded_points(recorded: Sequence[Result], names: Sequence[str]) -> set[tuple[Any, ...]]:
    """Return the points, by the values of these names, that have results."""
    return {tuple(result[name] for name in names) for result in recorded}
