"""Steps from the gradient and the Hessian, repeated until the gradient vanishes."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from lightning_landscape.exploration.landscape import Landscape, Points, retract
from lightning_landscape.exploration.searches._ends import Ends

__all__ = ["hessian_steps"]

Step = Callable[[Tensor, Tensor], Tensor]
"""From Hessians (B, k, k) and gradients (B, k), both without zero modes, to steps (B, k)."""


def hessian_steps(
    landscape: Landscape, x: Tensor, next_step: Step, max_step: float, tolerance: float, steps: int
) -> Points:
    """Take steps from each row of ``x``; rows that have converged leave the batch.

    Raises:
        UsageError: an argument out of range.
    """
    ends = Ends(landscape, x, max_step, steps)
    x = ends.x
    for step in range(steps + 1):
        E, g = landscape.value_and_gradient(x)
        staying = ends.gather(step, x, E, g.norm(dim=1) <= tolerance)
        if not len(staying):
            break
        x, g = x[staying], g[staying]
        H, Q = landscape.reduced_hessian(x)
        h = Q @ next_step(H, (Q.mT @ g.unsqueeze(2)).squeeze(2)).unsqueeze(2)
        x = retract(landscape, x, h.squeeze(2), max_step)
    return ends.points
