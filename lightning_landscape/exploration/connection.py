"""Which two minima a transition state connects."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.exploration.landscape import Landscape, Points
from lightning_landscape.exploration.searches.quench import quench

__all__ = ["connect"]


@checked
def connect(
    landscape: Landscape,
    x: Tensor,
    modes: Tensor,
    push: float = 0.03,
    max_step: float = 0.1,
    tolerance: float = 1e-8,
    steps: int = 3000,
) -> tuple[Points, Points]:
    """Quench from both sides of transition states, x +- push v.

    Both ends can be copies of one minimum (a degenerate rearrangement). The steps of the quench
    must be short, or it jumps to another basin.

    Args:
        landscape: where.
        x: transition states, shape (B, N).
        modes: their unstable modes v, unit vectors (B, N).
        push: the first displacement, to both sides.
        max_step: the longest step of the quenches.
        tolerance: of the norm of the gradient.
        steps: the largest number of steps of a quench.

    Returns:
        the ends on the side of +v, and those on the side of -v.
    """
    both = torch.cat([x + push * modes, x - push * modes])
    end = quench(landscape, both, max_step, tolerance, steps)
    B = len(x)
    return Points(*(part[:B] for part in end)), Points(*(part[B:] for part in end))
