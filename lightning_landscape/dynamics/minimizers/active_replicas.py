"""The replicas that a descent still moves: converged ones leave, and cost nothing from then on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_landscape.energies.energy import Energy
from lightning_landscape.replicas import flatten

__all__ = ["ActiveReplicas", "rows_of"]


class ActiveReplicas:
    """Some replicas of an energy, with parameters of their own.

    Args:
        energy: all replicas; it is left as it is.
        batch: which samples the energy is of, (B,) or (R, B).

    Attributes:
        rows: which of the replicas of ``energy`` they are, shape (R',), int64, on the CPU.
        energy: an energy of them.
        batch: their samples.
    """

    def __init__(self, energy: Energy, batch: Tensor | None) -> None:
        self.rows = torch.arange(energy.replicas)
        self.energy, self.batch = energy.only(self.rows), batch

    def values(self) -> Tensor:
        """Return the energies, shape (R',), with the gradients in ``.grad`` of the parameters."""
        self.energy.zero_grad()
        values = self.energy(self.batch)
        values.sum().backward()
        return values.detach()

    def gradient(self) -> Tensor:
        """Return the gradients that `values` has left, shape (R', N)."""
        parameters = self.energy.parameters()
        return flatten(torch.zeros_like(p) if p.grad is None else p.grad for p in parameters)

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Go to ``x``, (R', N); return energies and gradients there, tangent on a sphere."""
        self.energy.place(x)
        E, g, sphere = self.values(), self.gradient(), self.energy.constraint
        return E, g if sphere is None else sphere.project_(g, x)

    @torch.no_grad()
    def write(self, energy: Energy, which: Tensor) -> None:
        """Copy the configurations of those of them that ``which`` selects into all replicas."""
        for whole, part in zip(energy.parameters(), self.energy.parameters(), strict=True):
            whole[self.rows[which].to(whole.device)] = part[which.to(part.device)]

    def cut(self, index: Tensor) -> ActiveReplicas:
        """Return those of them with these indices, shape (R'',), with their gradients."""
        some = object.__new__(ActiveReplicas)
        some.rows, some.energy = self.rows[index], self.energy.only(index)
        shared = self.batch is None or self.batch.dim() == 1
        some.batch = self.batch if shared else rows_of(self.batch, index)
        for new, old in zip(some.energy.parameters(), self.energy.parameters(), strict=True):
            new.grad = None if old.grad is None else rows_of(old.grad, index)
        return some


def rows_of(value: Any, index: Tensor) -> Any:
    """Return the rows of a tensor with the replica axis first; a number is that of all."""
    if isinstance(value, Tensor) and value.dim():
        return value[index.to(value.device)]
    return value
