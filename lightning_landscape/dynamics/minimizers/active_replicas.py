"""The replicas that a descent still moves, cut down to fewer and fewer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import UsageError

__all__ = ["ActiveReplicas", "Factory"]

Factory = Callable[[Iterable[Tensor]], Optimizer]


class ActiveReplicas:
    """The replicas that still move: their energy, samples and optimizer, and which they are."""

    def __init__(self, energy: Energy, optimizer: Factory, batch: Tensor | None) -> None:
        self.rows = torch.arange(energy.replicas)
        self.energy, self.batch = energy.only(self.rows), batch
        self.optimizer = optimizer(self.energy.parameters())

    def gradients(self, step: int) -> Tensor:
        """Compute the gradients; return the energies on the CPU, where it is decided on them."""
        self.optimizer.zero_grad()
        values = self.energy(self.batch)
        values.sum().backward()
        return self.checked(values.detach(), step)

    def checked(self, values: Tensor, step: int) -> Tensor:
        """Return the energies on the CPU; raise a `UsageError` if one of them is not finite."""
        seen = values.cpu()
        if not seen.isfinite().all():
            replica = self.rows[~seen.isfinite()][0].item()
            raise UsageError(
                f"the energy of replica {replica} is not finite at step {step}; "
                f"lower the optimizer's lr = {self.optimizer.param_groups[0]['lr']}"
            )
        return seen

    @torch.no_grad()
    def write(self, energy: Energy, which: Tensor) -> None:
        """Put the configurations of some of them into the energy of all."""
        for whole, part in zip(energy.parameters(), self.energy.parameters(), strict=True):
            whole[self.rows[which].to(whole.device)] = part[which.to(part.device)]

    def cut(self, kept: Tensor, optimizer: Factory) -> ActiveReplicas:
        """Return those of them that are ``kept``, with the gradients and the optimizer's state."""
        index = kept.nonzero().squeeze(1)
        some = object.__new__(ActiveReplicas)
        some.rows, some.energy = self.rows[index], self.energy.only(index)
        shared = self.batch is None or self.batch.dim() == 1
        some.batch = self.batch if shared else _of(self.batch, index)
        some.optimizer = optimizer(some.energy.parameters())
        _cut_state(self.optimizer, some.optimizer, index)
        for new, old in zip(some.energy.parameters(), self.energy.parameters(), strict=True):
            new.grad = None if old.grad is None else old.grad[index.to(old.device)]
        return some


def _cut_state(old: Optimizer, new: Optimizer, index: Tensor) -> None:
    """Give ``new`` the settings and, of some replicas, the state of ``old``."""
    for theirs, ours in zip(old.param_groups, new.param_groups, strict=True):
        for p, q in zip(theirs["params"], ours["params"], strict=True):
            state = old.state.get(p, {})
            new.state[q] = {name: _of(value, index) for name, value in state.items()}
        ours.update({k: _of(v, index) for k, v in theirs.items() if k != "params"})


def _of(value: Any, index: Tensor) -> Any:
    """Return the rows of a tensor with a replica axis; a number is that of all."""
    if isinstance(value, Tensor) and value.dim():
        return value[index.to(value.device)]
    return value
