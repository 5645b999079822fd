"""What the surfaces share: value, gradient and Hessian of one function, written out."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd import Function

from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import require, require_whole
from lightning_landscape.memory import require_memory_of_replicas
from lightning_landscape.rng import Stream

__all__ = ["Surface"]


class Surface(Energy):
    """E(x) for x in R^N, of which the first two derivatives are written out.

    A subclass gives `value`, `slope` and `curvature` as functions of rows of configurations. The
    gradient comes with the energy and costs about as much; derivatives of the gradient are taken
    by autograd from `value`.

    Args:
        N: the number of degrees of freedom.
        replicas: R.
        start: the standard deviation of the normal start, >= 0.
        seed: of the start; row r depends on the seed and r only.
        dtype: ``float32`` or ``float64``.

    Raises:
        UsageError: an argument is out of range.
    """

    extensive: ClassVar[bool] = True

    def __init__(self, N: int, replicas: int, start: float, seed: int, dtype: str) -> None:
        super().__init__()
        require(dtype in ("float32", "float64"), "dtype", dtype, "must be float32 or float64")
        require_whole("replicas", replicas)
        require(start >= 0, "start", start, "is a standard deviation")
        require_memory_of_replicas(replicas, N)
        self.replicas = replicas
        stream, x = Stream(seed, "start"), torch.empty(replicas, N, dtype=torch.float64)
        for r, row in enumerate(x):
            stream.normal_(row, step=r)
        self.x = nn.Parameter((start * x).to(getattr(torch, dtype)))

    def value(self, x: Tensor) -> Tensor:
        """Return E at each row of ``x`` (B, N), shape (B,), in plain operations."""
        raise NotImplementedError

    def slope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return E, shape (B,), and its gradient, shape (B, N), at each row of ``x``."""
        raise NotImplementedError

    def curvature(self, x: Tensor) -> Tensor:
        """Return the second derivatives at each row of ``x``, shape (B, N, N)."""
        raise NotImplementedError

    def forward(self, batch: Tensor | None = None) -> Tensor:
        """Return the energies, shape (R,). There are no data: ``batch`` makes no difference."""
        return _Value.apply(self.x, self)

    @torch.no_grad()
    def hessian(self) -> Tensor:
        """Return the second derivatives of each replica, shape (R, N, N)."""
        return self.curvature(self.x)

    @torch.no_grad()
    def value_and_gradient(self, x: Tensor, batch: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the energies (B,) and gradients (B, N) of any number of rows."""
        return self.slope(x)


class _Value(Function):
    """E(x), with its gradient kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, surface: Surface) -> Tensor:
        E, gradient = surface.slope(x)
        ctx.surface = surface
        ctx.save_for_backward(x, gradient)
        return E

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, None]:
        x, gradient = ctx.saved_tensors
        if torch.is_grad_enabled():  # someone will differentiate the gradient
            return torch.autograd.grad(ctx.surface.value(x), x, scale, create_graph=True)[0], None
        return scale.unsqueeze(1) * gradient, None
