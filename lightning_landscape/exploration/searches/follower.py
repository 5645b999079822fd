"""The one-loop follower: L-BFGS on the gradient reflected in the lowest mode."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.dynamics.minimizers.memory import Memory
from lightning_landscape.exploration.landscape import Landscape, Points, retract
from lightning_landscape.exploration.searches._ends import Ends
from lightning_landscape.exploration.searches.lowest_mode import refine

__all__ = ["follow"]

_MEMORY = 10


@checked
def follow(
    landscape: Landscape,
    x: Tensor,
    directions: Tensor,
    max_step: float = 0.5,
    tolerance: float = 1e-7,
    steps: int = 300,
) -> Points:
    """Search for transition states from each row of ``x``; rows that have converged leave.

    Each step is one of L-BFGS for the field g - 2 v (v.g), of which a transition state is a
    stable zero, after one Rayleigh-Ritz step for the lowest mode v.

    The cheapest way on glasses, where negative curvature is everywhere; from inside a convex region
    the field need not lead anywhere, and `hybrid_eigenvector_following` is better. Cost: 3
    gradients a step and row, 200 to 400 in all.

    Args:
        landscape: where.
        x: starts, shape (B, N).
        directions: first guesses of the modes, shape (B, N); random ones will do.
        max_step: the longest step.
        tolerance: of the norm of the gradient.
        steps: the largest number of steps of a row.

    Raises:
        UsageError: an argument out of range.

    Source: E, Zhou 2011, Nonlinearity 24, 1831 (the reflected field); with L-BFGS, Kästner,
    Sherwood 2008, J. Chem. Phys. 128, 014106.
    """
    ends = Ends(landscape, x, max_step, steps)
    x, v, memory = ends.x, directions, Memory(x, _MEMORY)
    before = step = torch.empty(0)
    for k in range(steps + 1):
        E, g = landscape.value_and_gradient(x)
        mode = refine(landscape, x, g, v, iterations=1 if k else 10)
        v = mode.vector
        field = g - 2 * torch.linalg.vecdot(g, v).unsqueeze(1) * v
        if k:
            if landscape.sphere is not None:
                before = landscape.sphere.project_(before.clone(), x)
                landscape.sphere.project_(step, x)
                memory.transport(landscape.sphere, x)
            memory.add(step, field - before, torch.ones(len(x), dtype=torch.bool))
        stay = ends.gather(k, x, E, (g.norm(dim=1) <= tolerance) & (mode.value < 0))
        if not len(stay):
            break
        if len(stay) < len(x):
            x, v, field = x[stay], v[stay], field[stay]
            memory = memory.only(stay)
        new = retract(landscape, x, memory.direction(field), max_step)
        before, step, x = field, new - x, new
    return ends.points
