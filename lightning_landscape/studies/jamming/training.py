"""Training of R networks on patterns of their own, and what is recorded of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
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
from lightning_landscape.studies.jamming.checkpoint import RoundCheckpoint
from lightning_landscape.studies.jamming.perturbation import (
    DataPerturbation,
    gaps_of,
    unsatisfied_patterns,
)
from lightning_landscape.studies.jamming.studies import Round

__all__ = ["Protocol", "train"]


class Protocol(NamedTuple):
    """How a network is trained, and what is asked of it afterwards.

    Attributes:
        optimizer: makes the optimizer from the parameters.
        steps: the most steps.
        margin: kappa of the quadratic hinge.
        test_error: whether the test error is measured, at the end and on the way.
        changes: of the data afterwards, if any.
        device: where the networks are.

    Raises:
        UsageError: by `check`, for numbers out of range.
    """

    optimizer: Callable[[Iterable[Tensor]], Optimizer]
    steps: int
    margin: float = 1.0
    test_error: bool = False
    changes: DataPerturbation | None = None
    device: str = "cpu"

    def check(self) -> None:
        """Raise a `UsageError` if it cannot be followed."""
        require(self.steps >= 1, "steps", self.steps, "must be at least 1")
        loss_named("quadratic_hinge", self.margin)


def train(
    each: Round,
    replicas: int,
    protocol: Protocol,
    record: Path | None = None,
    part: Tensor | None = None,
) -> list[dict[str, Any]]:
    """Train the networks of a round, or those whose indices are in ``part``; return their records.

    ``loss`` is the loss at the end, ``unsatisfied`` the number N_Delta of gaps above 1e-6, and 0
    where the network ``fits``: where its loss is below 1e-10. It is ``jammed`` if N_Delta > 0.1 N,
    as in the source: a small ReLU network may lose a pattern or two for good, when no neuron of a
    layer responds to it, far below the transition. ``test_error`` is the share of wrong answers on
    the held-out data at the end, and ``early_test_error`` the smallest on the way. What follows
    `DataPerturbation` of the data comes after.

    What is trained together changes a network by rounding only. Once a minute the state is written
    beside ``record``, if that is given, from which a round that was killed is continued.

    Source: Geiger et al. 2019, arXiv:1809.09349.
    """
    part = torch.arange(replicas) if part is None else part
    point, changes, P = each.point, protocol.changes, each.samples
    all_of_them = point.family.networks(point.width, replicas, each.seed, protocol.margin)
    energy = cast(NetworkEnergy, all_of_them.only(part)).to(protocol.device)
    longest = changes.patterns(P) if changes else P
    orders = point.family.patterns(longest, replicas, each.seed)[part].to(protocol.device)
    key = (point.index, point.width, P, each.seed, part.tolist())
    path = None if record is None else record.with_suffix(f".{int(part[0])}.round")
    checkpoint = RoundCheckpoint(path, key)
    columns = _trained(energy, orders[:, :P], protocol, JAMMED_ABOVE * point.N, checkpoint)
    if changes is not None:
        columns |= changes.follow(energy, orders, P, JAMMED_ABOVE * point.N, checkpoint)
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
        for k, r in enumerate(part.tolist())
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
        _TrainingCheckpoint(checkpoint, watch),
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
    checkpoint.end("trained", {"configuration": energy.configuration(), "columns": columns})
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


class _TrainingCheckpoint:
    """The checkpoint of the descent, with the smallest test errors so far."""

    def __init__(self, round_: RoundCheckpoint, watch: _EarlyStopping | None) -> None:
        self._round, self._watch = round_, watch

    def load(self) -> dict[str, Any] | None:
        state: dict[str, Any] | None = self._round.load("training")
        if state is not None and self._watch is not None:
            self._watch.best = state["best"]
        return state

    def save(self, state: Callable[[], dict[str, Any]]) -> None:
        best = None if self._watch is None else self._watch.best
        self._round.save("training", lambda: state() | {"best": best})
