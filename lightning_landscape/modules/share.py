"""The replicas that one rank moves, of a system that every rank holds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_landscape import parallel
from lightning_landscape.dynamics.samplers.overdamped import Overdamped
from lightning_landscape.dynamics.samplers.thermal import Thermal
from lightning_landscape.dynamics.sphere import constrain
from lightning_landscape.energies.copies import Copies
from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import require
from lightning_landscape.modules.data_part import DataPart, can_share_data

__all__ = ["Share"]


class Share:
    """The replicas of this rank, with a dynamics of their own.

    Between two blocks of steps every rank holds the whole system, so probes, checkpoints and the
    table of results know nothing of ranks, and a run may go on with another number of them. In a
    block each rank moves its own replicas without a word to the others: `begin` copies them, with
    the state of their dynamics, out of the whole system, and `end` brings all together.

    Replica r draws the noise and sees the mini-batches of replica r, so the result is that of one
    process: bit for bit, but for glasses whose replicas share their disorder and are fewer than
    four a rank, where matrix products round otherwise. What belongs together stays together: the
    copies of a replica, and the rungs of a ladder whose configurations change places.

    Where the replicas are fewer than the ranks, and the energy is a mean over data, successive
    ranks move the same replicas, each with its part of the samples, and average energies and
    gradients at every step. The result is then that of one process but for the order of sums.

    Cost: a block ends with one gathering of the configurations, R x N numbers, and of what the
    optimizer remembers of them. Couplings that are shared by the replicas are held once; those of
    independent samples are held for all replicas, and a second time for those of this rank.

    Args:
        energy: of the whole system.
        dynamics: that of the whole system.
        make: the factory that has made it.

    Attributes:
        energy: that of this rank's replicas.
        dynamics: that of this rank's replicas.
        replicas: their indices in the whole system, int64.
        part: the samples that this rank evaluates; None for all.

    Raises:
        UsageError: there are fewer replicas, or groups that belong together, than ranks, and data
            cannot be shared out instead.
    """

    def __init__(
        self, energy: Energy, dynamics: Optimizer, make: Callable[[Iterable[Tensor]], Optimizer]
    ) -> None:
        self._whole, self._dynamics = energy, dynamics
        blocks, unit = _together(energy, dynamics)
        units = energy.replicas // blocks
        team = _team(energy, units, unit)
        self.part = None if team == 1 else DataPart(energy, parallel.rank() % team, team)
        self._team = parallel.teams(team)
        own = torch.tensor(parallel.share(units, team))
        self.replicas = torch.cat([own + block * units for block in range(blocks)])
        self._order = self._gathered(self.replicas).argsort()
        self.energy = energy.only(self.replicas)
        self.dynamics = _made_for(self.energy, energy, dynamics, make)
        pairs = zip(_parameters(dynamics), _parameters(self.dynamics), strict=True)
        self._pairs: list[tuple[Tensor, Tensor]] = list(pairs)

    @torch.no_grad()
    def average(self, energies: Tensor) -> Tensor:
        """Average energies and gradients over the ranks that move the same replicas."""
        if self.part is None:
            return energies
        moving = [p for p in self.energy.parameters() if p.grad is not None]
        gradients = [p.grad for p in moving if p.grad is not None]
        flat = torch.cat([energies, *(g.flatten() for g in gradients)])
        sizes = [len(energies), *(g.numel() for g in gradients)]
        mean, *parts = (parallel.sum(flat, self._team) / self.part.parts).split(sizes)
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return mean

    def _gathered(self, value: Tensor) -> Tensor:
        """Return the rows of all ranks; of those that have the same replicas, of the first."""
        first = self.part is None or self.part.index == 0
        return parallel.gather(value if first else value[:0])

    @torch.no_grad()
    def begin(self) -> None:
        """Take this rank's part of the configurations, and of what their dynamics remembers."""
        for whole, own in self._pairs:
            own.copy_(self._cut(whole))
            self.dynamics.state[own] = {
                key: self._cut(value) for key, value in self._dynamics.state[whole].items()
            }
        groups = zip(self._dynamics.param_groups, self.dynamics.param_groups, strict=True)
        for whole_group, group in groups:
            group |= {k: self._cut(v) for k, v in whole_group.items() if k != "params"}
        if isinstance(self.dynamics, Thermal) and isinstance(self._dynamics, Thermal):
            self.dynamics.take(self._dynamics, self.replicas.tolist())
        if isinstance(self.dynamics, Overdamped) and isinstance(self._dynamics, Overdamped):
            scores = self._dynamics.scores
            for whole, own in self._pairs:
                if whole in scores:
                    self.dynamics.scores[own] = self._cut(scores[whole])

    @torch.no_grad()
    def end(self, energies: Tensor) -> Tensor:
        """Bring the replicas of all ranks together; return their energies.

        Args:
            energies: those of this rank's replicas, shape (steps, R').

        Returns:
            those of all replicas, shape (steps, R).
        """
        if isinstance(self.dynamics, Thermal):
            self.dynamics.settle()
        for whole, own in self._pairs:
            whole.copy_(self._join(own))
            kept = self._dynamics.state[whole]
            for key, value in self.dynamics.state[own].items():
                kept[key] = self._join(value)
        if isinstance(self.dynamics, Overdamped) and isinstance(self._dynamics, Overdamped):
            scores = self._dynamics.scores
            for whole, own in self._pairs:
                if whole in scores:
                    scores[whole].copy_(self._join(self.dynamics.scores[own]))
        return self._join(energies.t()).t()

    def _cut(self, value: Any) -> Any:
        """Return this rank's part of what has one entry for each replica, else a copy."""
        R = self._whole.replicas
        if isinstance(value, Tensor):
            by_replica = value.dim() > 0 and len(value) == R
            return value[self.replicas.to(value.device)] if by_replica else value.clone()
        if isinstance(value, list) and len(value) == R:
            return [value[r] for r in self.replicas.tolist()]
        return copy.copy(value)

    def _join(self, value: Any) -> Any:
        """Return for all replicas what is known of this rank's, in their order."""
        R = len(self.replicas)
        if isinstance(value, Tensor) and value.dim() > 0 and len(value) == R:
            return self._gathered(value)[self._order.to(value.device)]
        if isinstance(value, list) and len(value) == R:
            return self._join(torch.tensor(value)).tolist()
        return value


def _together(energy: Energy, dynamics: Optimizer) -> tuple[int, str]:
    """Return into how many blocks the replicas fall, and what a rank owns the same part of each.

    The blocks are the copies of all replicas, or the rungs of the ladders that exchange.
    """
    blocks, unit = 1, "replicas"
    if isinstance(energy, Copies):
        blocks, unit = energy.copies, "replicas with all their copies"
    exchange = dynamics.exchange if isinstance(dynamics, Thermal) else None
    if exchange is not None:
        alone = blocks == 1
        remedy = "run it on one device"
        require(alone, "trainer.strategy", "replicas", "cannot exchange copies", remedy)
        blocks, unit = energy.replicas // exchange.chains, "ladders of temperatures"
    return blocks, unit


def _team(energy: Energy, units: int, unit: str) -> int:
    """Return how many ranks share the data of the same replicas; 1 where each has its own."""
    ranks = parallel.count()
    if units < ranks and ranks % units == 0 and can_share_data(energy, ranks // units):
        return ranks // units
    multiple = ", or a multiple of them" if energy.samples else ""
    remedy = f"use at most {units} devices{multiple}"
    required = f"must be at most the {units} {unit}"
    require(units >= ranks, "trainer.devices", ranks, required, remedy)
    return 1


def _made_for(
    own: Energy, whole: Energy, dynamics: Optimizer, make: Callable[[Iterable[Tensor]], Optimizer]
) -> Optimizer:
    """Return the dynamics of this rank's replicas.

    It is made for as many replicas as the whole system has, since only for so many its arguments
    have to be right, and gets those of this rank afterwards.
    """
    stand_ins = [nn.Parameter(p.detach().clone(), p.requires_grad) for p in whole.parameters()]
    made = make(stand_ins)
    place = {id(p): new for p, new in zip(stand_ins, own.parameters(), strict=True)}
    if isinstance(made, Thermal) and isinstance(dynamics, Thermal):
        made.exchange = None  # `take` brings that of the part
    for group in made.param_groups:
        group["params"][:] = [place[id(p)] for p in group["params"]]
    return constrain(made, own.constraint)


def _parameters(dynamics: Optimizer) -> list[Tensor]:
    return [p for group in dynamics.param_groups for p in group["params"]]
