"""The contract of an energy: R replicas in, R energies out."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_landscape.errors import require
from lightning_landscape.sphere import Sphere

__all__ = ["Energy"]


class Energy(nn.Module):
    """An energy landscape with R replicas of a configuration of N degrees of freedom.

    Every parameter carries the replica axis first, so the gradient of ``energy().sum()`` holds the
    gradient of each replica with respect to its own configuration, and R = 1 is no special case.

    Attributes:
        replicas: R.
        constraint: the manifold on which the configurations live, or None for flat space.
        extensive: whether ``forward`` returns a quantity of order N (a glass) rather than a mean
            over data (a network). Reports divide an extensive energy by N; the temperature has
            the unit of what ``forward`` returns.
        twins: how many successive blocks of replicas share mini-batches and noise; 1 is none.
    """

    replicas: int
    twins: int = 1
    constraint: Sphere | None = None
    extensive: ClassVar[bool]

    def forward(self, batch: Tensor | None = None) -> Tensor:
        """Return the energies, shape (R,), twice differentiable.

        Args:
            batch: indices of samples, shape (B,) or (R, B), for an energy that is a mean over
                data; None means the whole energy.
        """
        raise NotImplementedError

    def at(self, step: int, time_step: float) -> None:
        """Be told, before each step of length ``time_step``, how many have been done.

        An energy that depends on time follows it; others have nothing to do.
        """

    @property
    def N(self) -> int:
        """The number of degrees of freedom of one replica."""
        return sum(p[0].numel() for p in self.parameters())

    @torch.no_grad()
    def configuration(self) -> Tensor:
        """Return a copy of the configurations, shape (R, N)."""
        return torch.cat([p.flatten(1) for p in self.parameters()], dim=1)

    @torch.no_grad()
    def load_configuration(self, x: Tensor) -> None:
        """Set the configurations to ``x``, shape (R, N)."""
        shape = (self.replicas, self.N)
        require(tuple(x.shape) == shape, "x.shape", tuple(x.shape), f"must be {shape}")
        parts = x.split([p[0].numel() for p in self.parameters()], dim=1)
        for p, part in zip(self.parameters(), parts, strict=True):
            p.copy_(part.view_as(p))

    def only(self, replicas: Tensor) -> Energy:
        """Return an energy of some of the replicas: their configurations copied, all else shared.

        For energies that are the same function for every replica; others give their own.

        Args:
            replicas: their indices, shape (R',), int64.
        """
        kept: dict[int, Any] = {id(b): b for b in self.buffers()}
        kept |= {
            id(p): nn.Parameter(p.detach()[replicas], p.requires_grad) for p in self.parameters()
        }
        some = copy.deepcopy(self, kept)
        layers: list[Any] = [m for m in some.modules() if hasattr(m, "replicas")]
        for layer in layers:
            layer.replicas = len(replicas)
        return some

    def reference(self) -> dict[str, Any]:
        """Return what the exact theory needs to know, as plain attributes; empty if there is none.

        They are stored with every record, so that figures and reports can draw the exact curve
        without the energy.
        """
        return {}
