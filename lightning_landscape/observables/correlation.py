"""Two-time and two-replica functions of configurations."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.errors import require

__all__ = ["displacement", "of_products", "overlap", "pairs", "products", "replica_overlaps"]

_MOST_PAIRS = 100_000


@checked
def overlap(x: Tensor, y: Tensor) -> Tensor:
    r"""Return the overlap `C = x \cdot y / |x||y|` of each replica, shape (R,), float64.

    On the sphere |x|^2 = N this is the autocorrelation x.y/N of the p-spin literature; for the
    weights of a network, whose norm changes, it is the cosine of the angle between the two. Of
    complex numbers it is the real part of x*.y, as of their real and imaginary parts.

    Args:
        x: configurations, shape (R, N), real or complex.
        y: configurations at another time, shape (R, N).

    >>> overlap(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]])).item()
    0.707...
    """
    _require_same_shape(x, y)
    # in single precision 1 - C would be noise where C is near 1
    precise = torch.complex128 if x.is_complex() else torch.float64
    x, y = x.to(precise), y.to(precise)
    norms = torch.linalg.vector_norm(x, dim=-1) * torch.linalg.vector_norm(y, dim=-1)
    return torch.linalg.vecdot(x, y).real / norms


@checked
def displacement(x: Tensor, y: Tensor) -> Tensor:
    r"""Return the mean squared displacement `\Delta = |x - y|^2 / N`, (R,), float64.

    On the sphere `\Delta = 2 (1 - C)` (Baity-Jesi et al. 2018, arXiv:1803.06969). The
    difference is taken first, so that small displacements keep their relative precision.

    Args:
        x: configurations, shape (R, N).
        y: configurations at another time, shape (R, N).
    """
    _require_same_shape(x, y)
    return (x - y).abs().square().mean(-1).double()


def products(x: Tensor, y: Tensor) -> Tensor:
    """Return x.y, x.x, y.y and |x - y|^2 of each replica, shape (4, R), float64.

    They add up over parts of a configuration; `of_products` makes overlap and displacement of them.

    Args:
        x: some coordinates of the configurations, shape (R, n).
        y: the same ones at another time, shape (R, n).
    """
    _require_same_shape(x, y)
    x, y = x.double(), y.double()
    pairs_ = ((x, y), (x, x), (y, y), (x - y, x - y))
    return torch.stack([torch.linalg.vecdot(a, b) for a, b in pairs_])


def of_products(products: Tensor, N: int) -> tuple[Tensor, Tensor]:
    """Return `overlap` and `displacement`, each (R,), of what `products` gave for all coordinates.

    >>> x, y = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    >>> of_products(products(x, y), N=2)
    (tensor([0.7071], dtype=torch.float64), tensor([0.5000], dtype=torch.float64))
    """
    xy, xx, yy, distance = products
    return xy / (xx.sqrt() * yy.sqrt()), distance / N


@checked
def replica_overlaps(x: Tensor) -> Tensor:
    """Return the overlaps of pairs of replicas, shape (`pairs` (R),), float64.

    These are all pairs a < b of up to 447 replicas. Of more, whose pairs would fill the memory, it
    is a sample in which every replica is as often: (a, a + d modulo R) for d = 1 … D.

    Cost: at most 10^5 scalar products of length N, or R where that is more, and R N numbers.

    Args:
        x: configurations, shape (R, N).

    >>> replica_overlaps(torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]]))
    tensor([0.0000, 0.7071, 0.7071], dtype=torch.float64)
    """
    require(x.dim() == 2, "x.shape", tuple(x.shape), "must be (R, N)")
    unit = x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    R = len(x)
    if pairs(R) == R * (R - 1) // 2:
        a, b = torch.triu_indices(R, R, offset=1)
        return (unit @ unit.mH)[a, b].real.double()
    shifts = range(1, pairs(R) // R + 1)
    return torch.cat([torch.linalg.vecdot(unit, unit.roll(-d, 0)).real for d in shifts]).double()


def pairs(R: int) -> int:
    """Return of how many pairs of R replicas the overlaps are measured.

    >>> pairs(447), pairs(1000), pairs(10**6)
    (99681, 100000, 1000000)
    """
    return R * (R - 1) // 2 if R * (R - 1) // 2 <= _MOST_PAIRS else R * max(1, _MOST_PAIRS // R)


def _require_same_shape(x: Tensor, y: Tensor) -> None:
    required = f"must be {tuple(x.shape)}, as that of x"
    require(x.shape == y.shape, "y.shape", tuple(y.shape), required)
