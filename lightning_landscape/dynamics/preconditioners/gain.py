"""How many steps a preconditioner saves, from the curvature that the gradient sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.curvature.operators.base import ComposedOperator, CurvatureOperator
from lightning_landscape.errors import require

__all__ = ["BothSidesOperator", "QuadraticDescent", "quadratic_descent"]

_DOUBLINGS = 60


class BothSidesOperator(ComposedOperator):
    """D A D with a symmetric D that is known by its products.

    Args:
        A: an operator.
        apply: D V for vectors V (R, k, N).
    """

    def __init__(self, A: CurvatureOperator, apply: Callable[[Tensor], Tensor]) -> None:
        super().__init__(A)
        self._apply = apply

    def multiply(self, V: Tensor) -> Tensor:
        """Return D A D V."""
        return self._apply(self.A.matmat(self._apply(V)))


@dataclass(frozen=True)
class QuadraticDescent:
    r"""Gradient descent in the quadratic valley of a gradient g and a Hessian A.

    With the spectral measure of g, g . f(A) g = sum_i w_i f(lambda_i), n steps of length eta lower
    the energy by

        E_0 - E_n = sum_i w_i [1 - (1 - eta lambda_i)^(2 n)] / (2 lambda_i).

    Attributes:
        nodes: lambda_i, shape (R, m), float64.
        weights: w_i, shape (R, m), float64; their sum is |g|^2.
    """

    nodes: Tensor
    weights: Tensor

    @property
    def rate(self) -> Tensor:
        """The length of a step, 1 / lambda_max, (R,): half of the largest stable one."""
        return 1 / self._seen.amax(1)

    @property
    def spread(self) -> Tensor:
        """lambda_max |g|^2 / (g . A g), (R,): 1 where all directions of g are curved alike."""
        return self._seen.amax(1) * self.weights.sum(1) / (self.weights * self.nodes).sum(1)

    @property
    def _seen(self) -> Tensor:
        seen = self.weights > 1e-30 * self.weights.sum(1, keepdim=True)
        return self.nodes.where(seen, -torch.inf)

    def fall(self, steps: Tensor) -> Tensor:
        """Return E_0 - E_n after n steps of length ``rate``, (R,); n may be a fraction."""
        x = (self.rate[:, None] * self.nodes).clamp(max=1.0)
        n = steps.double()[:, None]
        small = x.abs() < 1e-12
        curved = -torch.expm1(2 * n * torch.log1p(-x)) / (2 * x.where(~small, 1.0))
        each = torch.where(small, n, curved) * self.rate[:, None]
        return (self.weights * each).sum(1)

    def steps_for(self, fall: Tensor) -> Tensor:
        """Return how many steps lower the energy by ``fall``, (R,); inf where none do."""
        low, high = torch.zeros_like(fall), torch.ones_like(fall)
        for _ in range(_DOUBLINGS):
            high = torch.where(self.fall(high) < fall, 2 * high, high)
        for _ in range(_DOUBLINGS):
            middle = (low + high) / 2
            enough = self.fall(middle) >= fall
            low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
        return torch.where(self.fall(high) >= fall * (1 - 1e-9), high, torch.inf)


@checked
def quadratic_descent(
    operator: CurvatureOperator, gradient: Tensor, products: int = 30
) -> QuadraticDescent:
    r"""Return what gradient descent does in the valley of a gradient and a Hessian.

    Lanczos that starts at the gradient gives the Gauss quadrature of its spectral measure: exact
    for polynomials of degree 2 m - 1 in the Hessian after m products, so that m steps are exact,
    and many more as good as exact. For a preconditioner P pass P^{-1/2} H P^{-1/2} and
    P^{-1/2} g: preconditioned descent is plain descent in these coordinates.

    Args:
        operator: R symmetric matrices of size N.
        gradient: (R, N).
        products: m.

    Cost: m products, and m vectors of size R N.

    Raises:
        UsageError: the shape of the gradient is another, or there is no product.

    Source: Golub, Meurant 2010, Matrices, Moments and Quadrature, chapter 7.

    >>> from lightning_landscape.curvature import DenseOperator
    >>> H = DenseOperator(torch.tensor([[1.0, 0.0], [0.0, 4.0]]))
    >>> descent = quadratic_descent(H, torch.tensor([[1.0, 2.0]]))
    >>> descent.fall(torch.tensor([1.0]))  # steps of 1/4: 1/2 of 1 (1 - 9/16), and all of 1/2
    tensor([0.7188], dtype=torch.float64)
    """
    require(products >= 1, "products", products, "must be at least 1")
    shape = (operator.replicas, operator.N)
    require(tuple(gradient.shape) == shape, "gradient.shape", tuple(gradient.shape), f"not {shape}")
    m = min(products, operator.N)
    g = gradient.to(operator.device, operator.dtype)
    size = torch.linalg.vector_norm(g, dim=1).double()
    Q = g.new_zeros(shape[0], m + 1, shape[1])
    Q[:, 0] = g / size.clamp_min(1e-300)[:, None].to(g)
    T = torch.zeros(shape[0], m, m, dtype=torch.float64)
    for k in range(m):
        w = operator.matmat(Q[:, k : k + 1].contiguous())
        scale = torch.linalg.vector_norm(w, dim=(1, 2))
        for _ in range(2):
            overlap = Q[:, : k + 1] @ w.mT
            w = w - overlap.mT @ Q[:, : k + 1]
            T[:, k, k] += overlap[:, k, 0].double().cpu()
        beta = torch.linalg.vector_norm(w, dim=(1, 2))
        gone = beta <= 10 * torch.finfo(w.dtype).eps * scale
        beta = beta.masked_fill(gone, 0)
        Q[:, k + 1] = w[:, 0] * torch.where(gone, 0, 1 / beta.clamp_min(1e-30))[:, None]
        if k + 1 < m:
            T[:, k, k + 1] = T[:, k + 1, k] = beta.double().cpu()
    nodes, vectors = torch.linalg.eigh(T)
    return QuadraticDescent(nodes, size.square().cpu()[:, None] * vectors[:, 0].square())
