"""Hybrid eigenvector following: transition states by gradients only."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.dynamics.minimizers.memory import Memory
from lightning_landscape.errors import require
from lightning_landscape.exploration.landscape import Landscape, Points, retract
from lightning_landscape.exploration.searches._ends import Ends
from lightning_landscape.exploration.searches.lowest_mode import refine

__all__ = ["hybrid_eigenvector_following"]

_MEMORY = 6


@checked
def hybrid_eigenvector_following(
    landscape: Landscape,
    x: Tensor,
    directions: Tensor,
    max_step: float = 0.3,
    tolerance: float = 1e-7,
    steps: int = 60,
    inner: int = 10,
) -> Points:
    r"""Search for transition states from each row of ``x``; rows that have converged leave.

    One step goes uphill along the lowest mode v of eigenvalue l,

        h = 2 F / (|l| + sqrt(l^2 + 4 F^2)),   F = v . grad E,

    (the whole ``max_step`` where l > 0), and then descends in the space orthogonal to v by
    L-BFGS. The mode is improved from that of the last step by a few Rayleigh-Ritz steps.

    The default where no Hessian is written out. Cost: about 15 gradients a step and row, 250 to 500
    in all.

    Args:
        landscape: where.
        x: starts, shape (B, N); kicked minima, for example.
        directions: first guesses of the modes, shape (B, N); random ones will do.
        max_step: the longest step along the mode, and of the descent.
        tolerance: of the norm of the gradient.
        steps: the largest number of steps along the mode.
        inner: the largest number of steps of descent after each.

    Raises:
        UsageError: an argument out of range.

    Source: Munro, Wales 1999, Phys. Rev. B 59, 3969; Henkelman, Jónsson 1999, J. Chem. Phys. 111,
    7010.
    """
    require(inner >= 1, "inner", inner, "must be at least 1")
    ends = Ends(landscape, x, max_step, steps)
    x, v, products = ends.x, directions, 10
    for step in range(steps + 1):
        E, g = landscape.value_and_gradient(x)
        mode = refine(landscape, x, g, v, products)
        products = 2
        stay = ends.gather(step, x, E, (g.norm(dim=1) <= tolerance) & (mode.value < 0))
        if not len(stay):
            break
        x, g, v, value = x[stay], g[stay], mode.vector[stay], mode.value[stay]
        x = _uphill(landscape, x, g, v, value, max_step)
        x = _descend(landscape, x, v, max_step, tolerance, inner)
    return ends.points


def _uphill(
    landscape: Landscape, x: Tensor, g: Tensor, v: Tensor, value: Tensor, max_step: float
) -> Tensor:
    F = torch.linalg.vecdot(v, g)
    newton = 2 * F / (value.abs() + torch.hypot(value, 2 * F)).clamp_min(1e-300)
    away = torch.where(F >= 0, max_step, -max_step)
    h = torch.where(value < 0, newton, away)
    return retract(landscape, x, h.unsqueeze(1) * v, max_step)


def _descend(
    landscape: Landscape, x: Tensor, v: Tensor, max_step: float, tolerance: float, inner: int
) -> Tensor:
    """Descend orthogonally to ``v``, at most ``inner`` steps a row."""
    ends, rows = x.clone(), torch.arange(len(x))
    memory = Memory(x, _MEMORY)
    before = step = torch.empty(0)
    for k in range(inner):
        g = landscape.value_and_gradient(x)[1]
        if landscape.sphere is not None:
            v = landscape.sphere.project_(v.clone(), x)
            v = v / v.norm(dim=1, keepdim=True)
        g = g - torch.linalg.vecdot(g, v).unsqueeze(1) * v
        if k:
            memory.add(step, g - before, torch.ones(len(x), dtype=torch.bool))
        moving = (g.norm(dim=1) > tolerance / 2).nonzero().squeeze(1)
        if len(moving) < len(x):
            x, v, g, rows = x[moving], v[moving], g[moving], rows[moving]
            memory = memory.only(moving)
        if not len(x):
            break
        d = memory.direction(g)
        d = d - torch.linalg.vecdot(d, v).unsqueeze(1) * v
        new = retract(landscape, x, d, max_step)
        before, step, x = g, new - x, new
        ends[rows] = x
    return ends
