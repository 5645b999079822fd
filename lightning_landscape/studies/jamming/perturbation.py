"""Small changes of the data of trained networks: the avalanches that follow, and decompression."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.dynamics.minimizers.minimize import minimize
from lightning_landscape.energies.networks import losses
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.errors import require
from lightning_landscape.observables.gaps import SATISFIED_BELOW, hinge_loss, satisfied
from lightning_landscape.studies.checkpoint import RoundCheckpoint

__all__ = ["DataPerturbation", "gaps_of", "unsatisfied_patterns"]

# N_Delta counts gaps above this: one that goes to zero does so geometrically, and stays positive.
_RESOLUTION = 1e-6
# The gaps of minima of a smaller loss are not resolved by the last steps of a descent.
_RESOLVED = 1e-5


class DataPerturbation:
    """Changes the data of trained networks a little, many times, with a descent after each change.

    The patterns of a network are consecutive entries of its own random order of the data; a change
    drops the first ``removed`` of them and appends the next ``added``. Equal numbers keep P/N and
    give the distribution of avalanche sizes: an avalanche is the set of patterns, among those that
    stay, that change between satisfied and unsatisfied. With more ``removed`` than ``added`` a
    jammed network is decompressed through its transition: the loss goes to zero, and the gaps and
    N_Delta in the last jammed minimum are those at the transition.

    Before the first change there is a descent without one, the control: what changes then is due
    to a descent that had not converged, or to the restart of the optimizer. The steps of the
    optimizer should be small, so that a network stays in its minimum as long as that exists.

    Args:
        optimizer: makes the dynamics of the descents from the parameters.
        steps: the most steps after a change; a network stops when it fits.
        times: K, the number of changes.
        removed: patterns that a change drops; even, so that labels stay balanced.
        added: patterns that a change takes in; even.

    Raises:
        UsageError: a number is out of range.
    """

    def __init__(
        self,
        optimizer: Callable[[Iterable[Tensor]], Optimizer],
        steps: int = 4000,
        times: int = 20,
        removed: int = 2,
        added: int = 2,
    ) -> None:
        require(steps >= 1, "steps", steps, "must be at least 1")
        require(times >= 1, "times", times, "must be at least 1")
        for name, k in (("removed", removed), ("added", added)):
            require(k >= 0 and k % 2 == 0, name, k, "must be even, so that labels stay balanced")
        require(removed + added > 0, "removed, added", (removed, added), "must not both be 0")
        self.optimizer, self.steps, self.times = optimizer, steps, times
        self.removed, self.added = removed, added

    def patterns(self, samples: int) -> int:
        """Return the number of patterns that a network needs in all, P and those added.

        Raises:
            UsageError: the changes remove all patterns.
        """
        last = samples - self.times * (self.removed - self.added)
        required = f"must leave 2 patterns of {samples} after {self.times} changes"
        require(last >= 2, "removed", self.removed, required)
        return samples + self.times * self.added

    def follow(
        self,
        energy: NetworkEnergy,
        orders: Tensor,
        samples: int,
        most: float,
        checkpoint: RoundCheckpoint,
    ) -> dict[str, Tensor]:
        """Change the data of R networks K times; return what was measured after each change.

        Args:
            energy: R trained networks, which are changed.
            orders: patterns of each, shape (R, `patterns`).
            samples: P, how many of them it was trained on.
            most: the N_Delta above which it is jammed.
            checkpoint: in which the networks are kept, in a descent and after each.

        Returns:
            Of shape (R, K + 1), the control first: ``change_P``, ``change_loss``,
            ``change_unsatisfied`` and ``avalanche``; and, of the last minimum in which the network
            was jammed, ``gap``, shape (R, P), nan beyond its patterns and where it never jammed.
        """
        seen = _Seen.of(energy, orders, samples)
        if (state := checkpoint.load("perturbation")) is not None:
            energy.load_configuration(state["configuration"])
            seen = _Seen(**state["seen"])
        while (k := len(seen.rows)) <= self.times:
            removed, added = (self.removed, self.added) if k else (0, 0)
            seen.first, seen.end = seen.first + removed, seen.end + added
            batch = orders[:, seen.first : seen.end]
            descent = checkpoint.stage("descent")
            minimize(energy, self.optimizer, self.steps, SATISFIED_BELOW, batch, checkpoint=descent)
            seen.look(gaps_of(energy, batch), removed, added, most)
            state = {"configuration": energy.configuration().clone(), "seen": dict(vars(seen))}
            checkpoint.end("perturbation", state, supersedes="descent")
        table = {name: torch.stack([row[name] for row in seen.rows], 1) for name in seen.rows[0]}
        return table | {"gap": seen.last}


@dataclass
class _Seen:
    """What was measured of R networks, now on patterns ``first`` to ``end`` of their orders.

    Attributes:
        before: which of these patterns are unsatisfied.
        last: the gaps in the last jammed minimum of each network.
        rows: what is recorded, one row per change.
    """

    first: int
    end: int
    before: Tensor
    last: Tensor
    rows: list[dict[str, Tensor]]

    @classmethod
    def of(cls, energy: NetworkEnergy, orders: Tensor, samples: int) -> _Seen:
        """Return the state before the first descent."""
        before = unsatisfied_patterns(gaps_of(energy, orders[:, :samples]))
        last = torch.full(orders.shape, torch.nan, dtype=torch.float64)
        return cls(0, samples, before, last, [])

    def look(self, gaps: Tensor, removed: int, added: int, most: float) -> None:
        """Add a row from the gaps after a change."""
        now, loss, P = unsatisfied_patterns(gaps), hinge_loss(gaps), gaps.shape[1]
        stayed = now[:, : P - added]
        self.rows.append(
            {
                "change_P": torch.full_like(loss, P, dtype=torch.int64),
                "change_loss": loss,
                "change_unsatisfied": now.sum(1),
                "avalanche": (stayed != self.before[:, removed:]).sum(1),
            }
        )
        jammed = (loss > _RESOLVED) & (now.sum(1) > most)
        self.last[jammed] = torch.nan
        self.last[jammed, :P] = gaps[jammed]
        self.before = now


def gaps_of(energy: NetworkEnergy, batch: Tensor) -> Tensor:
    """Return the gaps of the patterns of each network, shape (R, P), one network at a time."""
    parameters = list(energy.architecture.parameters())
    found = []
    with torch.no_grad():
        for r, rows in enumerate(batch):
            x, y = energy.inputs[rows].unsqueeze(0), energy.targets[rows].unsqueeze(0)
            f = energy.architecture.outputs([p[r : r + 1] for p in parameters], x)
            found.append(losses.gaps(f, y, energy.margin).double().cpu())
    return torch.cat(found)


def unsatisfied_patterns(gaps: Tensor) -> Tensor:
    """Return which patterns are unsatisfied, shape (R, P); none where a network fits."""
    return (gaps > _RESOLUTION) & ~satisfied(gaps).unsqueeze(1)
