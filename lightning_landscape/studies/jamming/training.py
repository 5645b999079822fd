"""Training of R networks on patterns of their own, and what is recorded of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.clock import log_times
from lightning_landscape.dynamics.minimizers.minimize import minimize
from lightning_landscape.energies.energy import Energy
from lightning_landscape.energies.networks.losses import loss_named
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.errors import UsageError, require
from lightning_landscape.observables.gaps import JAMMED_ABOVE, SATISFIED_BELOW
from lightning_landscape.studies.checkpoint import RoundCheckpoint, Stage
from lightning_landscape.studies.jamming.perturbation import (
    DataPerturbation,
    gaps_of,
    unsatisfied_patterns,
)
from lightning_landscape.studies.jamming.plan import NetworkRound
from lightning_landscape.studies.study import Result

__all__ = ["Protocol", "train"]


class Protocol(NamedTuple):
    """How a network is trained, and what is measured afterwards.

    Attributes:
        optimizer: makes the optimizer from the parameters.
        steps: the most steps.
        margin: kappa of the quadratic hinge.
        test_error: whether the test error is measured, at the end and on the way.
        perturbation: of the data afterwards, if any.
        device: where the networks are.

    Raises:
        UsageError: by `check`, for numbers out of range.
    """

    optimizer: Callable[[Iterable[Tensor]], Optimizer]
    steps: int
    margin: float = 1.0
    test_error: bool = False
    perturbation: DataPerturbation | None = None
    device: str = "cpu"

    def check(self) -> None:
        """Raise a `UsageError` if a number is out of range."""
        require(self.steps >= 1, "steps", self.steps, "must be at least 1")
        loss_named("quadratic_hinge", self.margin)


def train(
    protocol: Protocol,
    seeds: int,
    each: NetworkRound,
    share: list[int] | None = None,
    checkpoint: RoundCheckpoint | None = None,
) -> list[Result]:
    """Train networks of a round together, and return what is recorded of each.

    ``loss`` is the loss at the end. ``unsatisfied`` is N_Delta, the number of gaps above 1e-6, and
    0 where the network ``fits``, that is where its loss is below 1e-10. It is ``jammed`` if N_Delta
    > 0.1 N, as in the source: far below the transition a small ReLU network may fail on a pattern
    or two, when no neuron of a layer responds to them any more. ``test_error`` is the fraction of
    wrong answers on the held-out data at the end, and ``early_test_error`` the smallest during
    training. The columns of a `DataPerturbation` follow.

    Networks that are trained together influence each other by rounding only.

    Args:
        protocol: how they are trained.
        seeds: R, the number of networks of a round.
        each: the round.
        share: the indices of those to train, 0 … R - 1; None trains all.
        checkpoint: from which training is continued, and in which it is kept.

    Source: Geiger et al. 2019, arXiv:1809.09349.
    """
    share = list(range(seeds)) if share is None else share
    checkpoint = RoundCheckpoint(None, ()) if checkpoint is None else checkpoint
    part, point, perturbation, P = (
        torch.tensor(share),
        each.point,
        protocol.perturbation,
        each.samples,
    )
    all_of_them = point.family.networks(point.width, seeds, each.seed, protocol.margin)
    energy = cast(NetworkEnergy, all_of_them.only(part)).to(protocol.device)
    longest = perturbation.patterns(P) if perturbation else P
    orders = point.family.patterns(longest, seeds, each.seed)[part].to(protocol.device)
    most = JAMMED_ABOVE * point.N
    columns = _trained(energy, orders[:, :P], protocol, most, checkpoint)
    if perturbation is not None:
        columns |= perturbation.follow(energy, orders, P, most, checkpoint)
    place = {
        "point": point.index,
        "depth": point.family.depth,
        "width": point.width,
        "N": point.N,
        "P": P,
        "seed": each.seed,
    }
    table = {name: values.tolist() for name, values in columns.items()}
    return [
        place | {"replica": r} | {name: table[name][k] for name in table}
        for k, r in enumerate(share)
    ]


def _trained(
    energy: NetworkEnergy,
    batch: Tensor,
    protocol: Protocol,
    most: float,
    checkpoint: RoundCheckpoint,
) -> dict[str, Tensor]:
    """Train the networks, or take them as they were trained; return what is recorded of them."""
    if (trained := checkpoint.load("trained")) is not None:
        energy.load_configuration(trained["configuration"])
        columns: dict[str, Tensor] = trained["columns"]
        return columns
    watch = _EarlyStopping(len(batch), protocol.steps) if protocol.test_error else None
    with torch.no_grad():
        start = energy(batch).cpu()
    end = minimize(
        energy,
        protocol.optimizer,
        protocol.steps,
        SATISFIED_BELOW,
        batch,
        watch,
        _TrainingStage(checkpoint.stage("training"), watch),
    )
    rose = end.energies > start
    if rose.any():
        raise UsageError(
            f"the loss rose from {start[rose][0]:.3g} to {end.energies[rose][0]:.3g} in training; "
            "lower the optimizer's lr"
        )
    count = unsatisfied_patterns(gaps_of(energy, batch)).sum(1)
    columns = {
        "loss": end.energies,
        "steps": end.steps,
        "fits": end.done,
        "unsatisfied": count,
        "jammed": count > most,
    }
    if watch is not None:
        last = 1 - energy.evaluate("test")["accuracy"].cpu()
        columns |= {"test_error": last, "early_test_error": torch.minimum(watch.best, last)}
    result = {"configuration": energy.configuration().clone(), "columns": columns}
    checkpoint.end("trained", result, supersedes="training")
    return columns


class _EarlyStopping:
    """Keeps the smallest test error of each network on the way, at log-spaced steps."""

    def __init__(self, replicas: int, steps: int) -> None:
        self.best = torch.ones(replicas, dtype=torch.float64)
        self._due = {round(t) for t in log_times(1, steps, per_decade=10)}

    def __call__(self, step: int, energy: Energy, rows: Tensor) -> None:
        if step in self._due:
            assert isinstance(energy, NetworkEnergy)
            error = 1 - energy.evaluate("test")["accuracy"].cpu()
            self.best[rows] = torch.minimum(self.best[rows], error)


class _TrainingStage:
    """The state of the training, with the smallest test errors so far."""

    def __init__(self, stage: Stage, watch: _EarlyStopping | None) -> None:
        self._stage, self._watch = stage, watch

    def load(self) -> dict[str, Any] | None:
        state = self._stage.load()
        if state is not None and self._watch is not None:
            self._watch.best = state["best"]
        return state

    def save(self, state: Callable[[], dict[str, Any]]) -> None:
        best = None if self._watch is None else self._watch.best
        self._stage.save(lambda: state() | {"best": best})
