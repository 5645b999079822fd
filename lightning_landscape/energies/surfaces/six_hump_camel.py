"""The six-hump camel-back function."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.energies.surfaces.surface import Surface

__all__ = ["SixHumpCamel"]


class SixHumpCamel(Surface):
    """E(x, y) = (4 - 2.1 x^2 + x^4/3) x^2 + x y + 4 (y^2 - 1) y^2.

    It has 15 stationary points: 6 minima at E = -1.031628, -0.215464 and 2.104250, each twice,
    7 saddles of index 1 and 2 maxima at E = 2.496295. Two pairs of saddles are only 1.1e-4 apart.

    Args:
        replicas: R.
        start: the standard deviation of the normal start.
        seed: of the start.
        dtype: ``float32`` or ``float64``.

    Raises:
        UsageError: an argument is out of range.

    Source: Dixon, Szegö 1978, Towards Global Optimisation 2, 1.

    >>> energy = SixHumpCamel(dtype="float64")
    >>> energy.load_configuration(torch.tensor([[0.08984201, -0.71265640]]))
    >>> round(energy().item(), 6)
    -1.031628
    """

    def __init__(
        self, replicas: int = 1, start: float = 1.0, seed: int = 0, dtype: str = "float32"
    ) -> None:
        super().__init__(2, replicas, start, seed, dtype)

    def value(self, x: Tensor) -> Tensor:
        """Return E at each row of ``x`` (B, 2), shape (B,)."""
        a, b = x[:, 0].square(), x[:, 1].square()
        return (4 - 2.1 * a + a.square() / 3) * a + x.prod(1) + 4 * (b - 1) * b

    def slope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return E, shape (B,), and its gradient, shape (B, 2)."""
        u, v = x.unbind(1)
        a, b = u.square(), v.square()
        du = (8 - 8.4 * a + 2 * a.square()) * u + v
        return self.value(x), torch.stack([du, u + (16 * b - 8) * v], dim=1)

    def curvature(self, x: Tensor) -> Tensor:
        """Return the second derivatives, shape (B, 2, 2)."""
        a, b = x.square().unbind(1)
        one = torch.ones_like(a)
        uu, vv = 8 - 25.2 * a + 10 * a.square(), 48 * b - 8
        return torch.stack([uu, one, one, vv], dim=1).view(-1, 2, 2)
