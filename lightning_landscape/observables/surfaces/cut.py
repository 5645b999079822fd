"""A line or plane through the space of configurations, and the loss on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.errors import require, require_whole

__all__ = ["Cut", "evaluate", "grid"]


@dataclass(frozen=True)
class Cut:
    r"""The configurations x(c) = x_0 + \sum_k c_k d_k.

    Args:
        origin: x_0, shape (N,).
        directions: d_k, shape (D, N), linearly independent; a line is D = 1, a plane D = 2. They
            need be neither orthogonal nor of length 1: c is in units of their lengths.

    Raises:
        UsageError: shapes that do not fit, numbers that are not finite, or dependent directions.

    >>> plane = Cut(torch.zeros(3), torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]))
    >>> plane.at(torch.tensor([[0.5, 1.0]]))
    tensor([[0.5000, 2.0000, 0.0000]])
    """

    origin: Tensor
    directions: Tensor

    def __post_init__(self) -> None:
        shape = tuple(self.directions.shape)
        fits = self.origin.dim() == 1 and len(shape) == 2 and shape[1:] == self.origin.shape
        admissible = f"must be (D, N) for an origin of shape {tuple(self.origin.shape)}"
        require(fits and shape[0] >= 1, "directions.shape", shape, admissible)
        for name, value in (("origin", self.origin), ("directions", self.directions)):
            require(bool(value.isfinite().all()), name, "inf or nan", "must be finite")
        unit = torch.nn.functional.normalize(self.directions.double(), dim=1)
        spread = torch.linalg.eigvalsh(unit @ unit.T)
        independent = bool(spread[0] > 1e-10 * spread[-1])
        require(independent, "directions", "dependent or 0", "must be linearly independent")

    @property
    def dimensions(self) -> int:
        """D."""
        return len(self.directions)

    def at(self, coordinates: Tensor) -> Tensor:
        """Return the configurations at coordinates (B, D), shape (B, N)."""
        return torch.addmm(self.origin, coordinates.to(self.origin), self.directions)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coordinates of the points nearest to rows of ``x`` (B, N), and how far off.

        Returns:
            coordinates, shape (B, D), and distances from the cut, shape (B,), both in float64.
        """
        d = self.directions.double()
        offset = x.double() - self.origin.double()
        c = torch.linalg.solve(d @ d.T, d @ offset.T).T
        return c, (offset - c @ d).norm(dim=1)


@checked
def grid(axes: Sequence[Tensor]) -> Tensor:
    """Return all points of a grid, shape (n_1 n_2 ..., D), the last coordinate running fastest.

    >>> grid([torch.tensor([0.0, 1.0]), torch.tensor([5.0, 6.0])]).tolist()
    [[0.0, 5.0], [0.0, 6.0], [1.0, 5.0], [1.0, 6.0]]
    """
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)


@torch.no_grad()
def evaluate(loss: Callable[[Tensor], Tensor], axes: Sequence[Tensor], at_once: int = 64) -> Tensor:
    """Return the loss on a grid of coordinates, shape (n_1, n_2, ...), in float64.

    Args:
        loss: returns the losses (B,) at coordinates (B, D); see `energy_on`.
        axes: the coordinates along each direction, (n_1,), (n_2,), ....
        at_once: how many points go to ``loss`` together.

    Raises:
        UsageError: an empty axis, or ``at_once`` < 1.

    >>> axis = torch.tensor([-1.0, 0.0, 2.0])
    >>> evaluate(lambda c: c[:, 0] ** 2 + 10 * c[:, 1], [axis, axis[:2]]).tolist()
    [[-9.0, 1.0], [-10.0, 0.0], [-6.0, 4.0]]
    """
    require_whole("at_once", at_once)
    sizes = [len(axis) for axis in axes]
    require(all(sizes) and len(sizes) > 0, "axes", sizes, "must each have at least one point")
    values = [loss(points).double().cpu() for points in grid(axes).split(at_once)]
    return torch.cat(values).view(*sizes)
