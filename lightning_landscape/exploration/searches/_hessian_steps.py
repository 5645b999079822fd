"""Steps from the gradient and the Hessian, repeated until the gradient vanishes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_landscape.errors import require
from lightning_landscape.exploration.landscape import Landscape, Points, retract

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
    require(max_step > 0, "max_step", max_step, "must be > 0")
    require(steps >= 1, "steps", steps, "must be at least 1")
    x = landscape.retract(x).clone()
    ends, energies = x.clone(), x.new_empty(len(x))
    converged = torch.zeros(len(x), dtype=torch.bool)
    rows = torch.arange(len(x))
    for step in range(steps + 1):
        if not len(rows):
            break
        E, g = landscape.value_and_gradient(x)
        done = g.norm(dim=1) <= tolerance
        leaving = done | ~E.isfinite() | (step == steps)
        ends[rows], energies[rows], converged[rows] = x, E, done
        x, g, rows = x[~leaving], g[~leaving], rows[~leaving]
        if len(rows):
            H, Q = landscape.reduced_hessian(x)
            h = Q @ next_step(H, (Q.mT @ g.unsqueeze(2)).squeeze(2)).unsqueeze(2)
            x = retract(landscape, x, h.squeeze(2), max_step)
    return Points(ends, energies, converged)
