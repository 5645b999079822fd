"""Training of R networks on patterns of their own, and what is recorded of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.clock import log_times
from lightning_landscape.dynamics.minimize import minimize
from lightning_landscape.energies.energy import Energy
from lightning_landscape.energies.network import NetworkEnergy
from lightning_landscape.errors import require
from lightning_landscape.jamming.changes import Changes, gaps_of, unsatisfied_patterns
from lightning_landscape.jamming.studies import Round
from lightning_landscape.observables.gaps import JAMMED_ABOVE, SATISFIED_BELOW

__all__ = ["Protocol", "train"]


class Protocol(NamedTuple):
    """How a network is trained, and what is asked of it afterwards.

    Attributes:
        optimizer: makes the optimizer from the parameters.
        steps: the most steps.
        margin: kappa of the quadratic hinge.
        test_error: whether the test error is measured, at the end and on the way.
        changes: of the data afterwards, if any.

    Raises:
        UsageError: by `check`, for numbers out of range.
    """

    optimizer: Callable[[Iterable[Tensor]], Optimizer]
    steps: int
    margin: float = 1.0
    test_error: bool = False
    changes: Changes | None = None

    def check(self) -> None:
        """Raise a `UsageError` if it cannot be followed."""
        require(self.steps >= 1, "steps", self.steps, "must be at least 1")


def train(
    each: Round, replicas: int, protocol: Protocol, part: Tensor | None = None
) -> list[dict[str, Any]]:
    """Train the networks of a round, or those whose indices are in ``part``; return their records.

    ``loss`` is the loss at the end, ``unsatisfied`` the number N_Delta of gaps above 1e-6, and 0
    where the network ``fits``: where its loss is below 1e-10. It is ``jammed`` if N_Delta > 0.1 N,
    as in the source: a small ReLU network may lose a pattern or two for good, when no neuron of a
    layer responds to it, far below the transition. ``test_error`` is the share of wrong answers on
    the held-out data at the end, and ``early_test_error`` the smallest on the way. What follows
    `Changes` of the data comes after.

    What is trained together changes a network by rounding only.

    Source: Geiger et al. 2019, arXiv:1809.09349.
    """
    part = torch.arange(replicas) if part is None else part
    point = each.point
    all_of_them = point.family.networks(point.width, replicas, each.seed, protocol.margin)
    energy = cast(NetworkEnergy, all_of_them.only(part))
    changes, P = protocol.changes, each.samples
    longest = changes.patterns(P) if changes else P
    orders = point.family.patterns(longest, replicas, each.seed)[part]
    batch = orders[:, :P]
    watch = _EarlyStopping(len(part), protocol.steps) if protocol.test_error else None
    end = minimize(energy, protocol.optimizer, protocol.steps, SATISFIED_BELOW, batch, watch)
    count = unsatisfied_patterns(gaps_of(energy, batch)).sum(1)
    columns = {
        "loss": end.energies,
        "steps": end.steps,
        "fits": end.done,
        "unsatisfied": count,
        "jammed": count > JAMMED_ABOVE * point.N,
    }
    if watch is not None:
        last = 1 - energy.evaluate("test")["accuracy"]
        columns |= {"test_error": last, "early_test_error": torch.minimum(watch.best, last)}
    if changes is not None:
        columns |= changes.follow(energy, orders, P, JAMMED_ABOVE * point.N)
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
