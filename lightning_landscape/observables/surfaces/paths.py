"""The loss along a path between two configurations: how high it goes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.errors import require

__all__ = ["Barrier", "barrier"]


class Barrier(NamedTuple):
    """How high a path goes.

    Attributes:
        height: of the highest point above the higher end, >= 0.
        above_line: the largest excess over the straight line between the losses of the ends, >= 0:
            the error barrier of linear mode connectivity.
        at: where along the path the highest point is, in [0, 1].
    """

    height: float
    above_line: float
    at: float


@checked
def barrier(loss: Tensor, along: Tensor | None = None) -> Barrier:
    """Return the barrier of a path from the losses at points of it.

    Args:
        loss: at the points in their order, shape (n,), n >= 2, the ends included.
        along: how far along the path they are, shape (n,), increasing; None for equal distances.

    Raises:
        UsageError: fewer than two points, shapes that do not fit, or a loss that is not finite.

    Source: Frankle et al. 2020, arXiv:1912.05671, section 2, for ``above_line``.

    >>> barrier(torch.tensor([0.0, 3.0, 1.0]))
    Barrier(height=2.0, above_line=2.5, at=0.5)
    """
    require(loss.dim() == 1 and len(loss) >= 2, "loss.shape", tuple(loss.shape), "must be (n,)")
    s = torch.linspace(0, 1, len(loss)).double() if along is None else along.double()
    require(s.shape == loss.shape, "along.shape", tuple(s.shape), f"must be {tuple(loss.shape)}")
    require(bool((s.diff() > 0).all()), "along", along, "must increase")
    require(bool(loss.isfinite().all()), "loss", "inf or nan", "must be finite")
    E, s = loss.double(), (s - s[0]) / (s[-1] - s[0])
    line = E[0] + s * (E[-1] - E[0])
    top = int(E.argmax())
    return Barrier(float(E[top] - max(E[0], E[-1])), float((E - line).max()), float(s[top]))
