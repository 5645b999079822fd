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
from lightning_landscape.energies.losses import gaps
from lightning_landscape.energies.network import NetworkEnergy
from lightning_landscape.errors import require
from lightning_landscape.jamming.studies import Round

__all__ = ["Protocol", "train"]

# N_Delta counts gaps above this: one that goes to zero does so geometrically, and stays positive.
_RESOLUTION = 1e-6
# The loss below which a network fits, and the share of N above which it jams (that of the source).
_FITS, _JAMS = 1e-10, 0.1


class Protocol(NamedTuple):
    """How a network is trained, and what is asked of it afterwards.

    Attributes:
        optimizer: makes the optimizer from the parameters.
        steps: the most steps.
        margin: kappa of the quadratic hinge.
        test_error: whether the test error is measured, at the end and on the way.
        replaced: how many patterns are replaced by new ones for the avalanche; even.

    Raises:
        UsageError: by `check`, for numbers out of range.
    """

    optimizer: Callable[[Iterable[Tensor]], Optimizer]
    steps: int
    margin: float = 1.0
    test_error: bool = False
    replaced: int = 0

    def check(self) -> None:
        """Raise a `UsageError` if it cannot be followed."""
        require(self.steps >= 1, "steps", self.steps, "must be at least 1")
        k = self.replaced
        require(k >= 0 and k % 2 == 0, "replaced", k, "must be even, so that labels stay balanced")


def train(
    each: Round, replicas: int, protocol: Protocol, part: Tensor | None = None
) -> list[dict[str, Any]]:
    """Train the networks of a round, or those whose indices are in ``part``; return their records.

    ``loss`` is the loss at the end, ``unsatisfied`` the number N_Delta of gaps above 1e-6, and 0
    where the network ``fits``: where its loss is below 1e-10. It is ``jammed`` if N_Delta > 0.1 N,
    as in the source: a small ReLU network may lose a pattern or two for good, when no neuron of a
    layer responds to it, far below the transition. ``test_error`` is the share of wrong answers on
    the held-out data at the end, and ``early_test_error`` the smallest on the way. ``avalanche``
    is how many of the patterns that stay change between satisfied and not when a few are replaced
    and the network goes on from where it is, and ``avalanche_control`` how many do when none is
    replaced: a descent that is not at its end, or an optimizer that starts anew, changes some too.

    What is trained together changes a network by rounding only.

    Source: Geiger et al. 2019, arXiv:1809.09349.
    """
    part = torch.arange(replicas) if part is None else part
    point = each.point
    all_of_them = point.family.networks(point.width, replicas, each.seed, protocol.margin)
    energy = cast(NetworkEnergy, all_of_them.only(part))
    rows = point.family.patterns(each.samples + protocol.replaced, replicas, each.seed)[part]
    batch = rows[:, : each.samples]
    watch = _EarlyStopping(len(part), protocol.steps) if protocol.test_error else None
    end = minimize(energy, protocol.optimizer, protocol.steps, _FITS, batch, watch)
    unsatisfied = _unsatisfied(energy, batch) & ~end.done.unsqueeze(1)
    count = unsatisfied.sum(1)
    columns = {
        "loss": end.energies,
        "steps": end.steps,
        "fits": end.done,
        "unsatisfied": count,
        "jammed": count > _JAMS * point.N,
    }
    if watch is not None:
        last = 1 - energy.evaluate("test")["accuracy"]
        columns |= {"test_error": last, "early_test_error": torch.minimum(watch.best, last)}
    if protocol.replaced:
        k = protocol.replaced
        stayed = unsatisfied[:, k:]
        replaced = _gone_on(energy, rows[:, k:], protocol)[:, :-k]
        control = _gone_on(energy, batch, protocol)[:, k:]
        columns["avalanche"] = (replaced != stayed).sum(1)
        columns["avalanche_control"] = (control != stayed).sum(1)
    place = {
        "point": point.index,
        "depth": point.family.depth,
        "width": point.width,
        "N": point.N,
        "P": each.samples,
        "seed": each.seed,
    }
    table = {name: values.tolist() for name, values in columns.items()}
    return [
        place | {"replica": r} | {name: table[name][k] for name in table}
        for k, r in enumerate(part.tolist())
    ]


def _unsatisfied(energy: NetworkEnergy, batch: Tensor) -> Tensor:
    """Return which patterns are unsatisfied, shape (R, P), one network at a time."""
    parameters = list(energy.architecture.parameters())
    found = []
    with torch.no_grad():
        for r, rows in enumerate(batch):
            x, y = energy.inputs[rows].unsqueeze(0), energy.targets[rows].unsqueeze(0)
            f = energy.architecture.outputs([p[r : r + 1] for p in parameters], x)
            found.append(gaps(f, y, energy.margin) > _RESOLUTION)
    return torch.cat(found)


def _gone_on(energy: NetworkEnergy, batch: Tensor, protocol: Protocol) -> Tensor:
    """Go on from where the networks are, which stay there; return who is unsatisfied then."""
    copies = energy.only(torch.arange(energy.replicas))
    assert isinstance(copies, NetworkEnergy)
    end = minimize(copies, protocol.optimizer, protocol.steps, _FITS, batch)
    return _unsatisfied(copies, batch) & ~end.done.unsqueeze(1)


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
