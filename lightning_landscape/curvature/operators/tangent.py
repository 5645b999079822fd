"""Curvature of an energy on the sphere |x|^2 = N."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.curvature.operators.base import (
    ComposedOperator,
    CurvatureOperator,
    per_replica,
)
from lightning_landscape.errors import require

__all__ = ["TangentOperator"]

_ON_SPHERE = 1e-3


class TangentOperator(ComposedOperator):
    r"""The Hessian on the sphere |x|^2 = N, in N - 1 coordinates of the tangent space at x.

    P (H + mu) P with mu = -x.g / N, restricted to what is orthogonal to x: the eigenvalue 0 that
    the projection P would add along x is not there, so edges, densities and indices are those of
    the landscape. A Householder reflection Q that takes x to the first axis makes the coordinates,
    v = Q (0, y), at a cost of order N. `lift` returns eigenvectors to R^N.

    At a stationary point of the pure p-spin glass mu = -p E / N, and the spectrum is the semicircle
    of radius sqrt(2 p (p - 1)) around it.

    Args:
        A: the Hessian H in R^N.
        x: the configurations, shape (R, N).
        gradient: the gradients g in R^N, shape (R, N), for example `HessianOperator.gradient`.

    Attributes:
        multiplier: mu, shape (R,).

    Raises:
        UsageError: x is not on the sphere, or a shape is wrong.

    >>> from lightning_landscape.curvature import DenseOperator
    >>> H, x = torch.diag(torch.tensor([1.0, 3.0])), torch.tensor([[0.0, 2.0**0.5]])
    >>> TangentOperator(DenseOperator(H), x, x @ H).dense().round(decimals=5)
    tensor([[[-2.]]])
    """

    def __init__(self, A: CurvatureOperator, x: Tensor, gradient: Tensor) -> None:
        R, N = A.replicas, A.N
        for name, value in (("x", x), ("gradient", gradient)):
            right = tuple(value.shape) == (R, N)
            require(right, f"{name}.shape", tuple(value.shape), f"must be (R, N) = ({R}, {N})")
        require(N >= 2, "N", N, "must be at least 2 for a sphere with a tangent space")
        x, gradient = x.detach().to(A.dtype), gradient.detach().to(A.dtype)
        off = (x.square().sum(-1) / N - 1).abs().max().item()
        remedy = "retract it with Sphere(N).retract_(x)"
        require(off < _ON_SPHERE, "x", f"|x|^2 off by {off:.2g} N", "must have |x|^2 = N", remedy)
        super().__init__(A, N - 1)
        self.multiplier = -torch.linalg.vecdot(x, gradient) / N
        self._mirror = _mirror(x)[:, None]  # (R, 1, N)

    def _reflect(self, V: Tensor) -> Tensor:
        along = torch.linalg.vecdot(V, self._mirror).unsqueeze(-1)
        return torch.addcmul(V, along, self._mirror, value=-2)

    def lift(self, V: Tensor) -> Tensor:
        """Return tangent vectors (R, k, N - 1) in the coordinates of the configuration."""
        return self.A.lift(self._embed(V))

    def _embed(self, V: Tensor) -> Tensor:
        return self._reflect(torch.nn.functional.pad(V, (1, 0)))

    def multiply(self, V: Tensor) -> Tensor:
        """Return the tangent components of (A + mu) V."""
        products = self._reflect(self.A.matmat(self._embed(V)))[..., 1:]
        return torch.addcmul(products, per_replica(self.multiplier, self, "multiplier"), V)


def _mirror(x: Tensor) -> Tensor:
    """Return unit vectors w, shape (R, N), so that 1 - 2 w w^T takes x to the first axis."""
    w = x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    # the sign without cancellation
    w[:, 0] += torch.where(w[:, 0] < 0, -1.0, 1.0)
    return w / torch.linalg.vector_norm(w, dim=-1, keepdim=True)
