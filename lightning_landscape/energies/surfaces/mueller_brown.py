"""The Müller-Brown surface."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.energies.surfaces.surface import Surface

__all__ = ["MuellerBrown"]

# the four terms: heights, curvatures along x, mixed and along y, centres
_TERMS = (
    (-200.0, -1.0, 0.0, -10.0, 1.0, 0.0),
    (-100.0, -1.0, 0.0, -10.0, 0.0, 0.5),
    (-170.0, -6.5, 11.0, -6.5, -0.5, 1.5),
    (15.0, 0.7, 0.6, 0.7, -1.0, 1.0),
)


class MuellerBrown(Surface):
    """E(x, y) = sum_k A_k exp(a_k u^2 + b_k u v + c_k v^2) with u = x - x_k and v = y - y_k.

    The standard test of searches for reaction paths: minima at E = -146.69952, -108.16672 and
    -80.76782, saddles between them at -40.66484 and -72.24894, on a bent path.

    Args:
        replicas: R.
        start: the standard deviation of the normal start.
        seed: of the start.
        dtype: ``float32`` or ``float64``.

    Raises:
        UsageError: an argument is out of range.

    Source: Müller, Brown 1979, Theor. Chim. Acta 53, 75.

    >>> energy = MuellerBrown(dtype="float64")
    >>> energy.load_configuration(torch.tensor([[-0.558224, 1.441726]]))
    >>> round(energy().item(), 5)
    -146.69952
    """

    terms: Tensor

    def __init__(
        self, replicas: int = 1, start: float = 0.7, seed: int = 0, dtype: str = "float32"
    ) -> None:
        super().__init__(2, replicas, start, seed, dtype)
        self.register_buffer("terms", torch.tensor(_TERMS).to(self.x.dtype).mT, persistent=False)

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the terms (B, 4) and the derivatives of their exponents."""
        A, a, b, c, centre_x, centre_y = self.terms
        u, v = x[:, :1] - centre_x, x[:, 1:] - centre_y
        terms = A * torch.exp(a * u.square() + b * u * v + c * v.square())
        return terms, 2 * a * u + b * v, b * u + 2 * c * v

    def value(self, x: Tensor) -> Tensor:
        """Return E at each row of ``x`` (B, 2), shape (B,)."""
        return self._parts(x)[0].sum(1)

    def slope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return E, shape (B,), and its gradient, shape (B, 2)."""
        terms, du, dv = self._parts(x)
        return terms.sum(1), torch.stack([(terms * du).sum(1), (terms * dv).sum(1)], dim=1)

    def curvature(self, x: Tensor) -> Tensor:
        """Return the second derivatives, shape (B, 2, 2)."""
        terms, du, dv = self._parts(x)
        _, a, b, c, _, _ = self.terms
        uv = (terms * (du * dv + b)).sum(1)
        uu, vv = (terms * (du.square() + 2 * a)).sum(1), (terms * (dv.square() + 2 * c)).sum(1)
        return torch.stack([uu, uv, uv, vv], dim=1).view(-1, 2, 2)
