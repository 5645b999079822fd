"""Newton's method: stationary points of every index."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.exploration.landscape import Landscape, Points
from lightning_landscape.exploration.searches._hessian_steps import hessian_steps

__all__ = ["newton"]


@checked
def newton(
    landscape: Landscape,
    x: Tensor,
    max_step: float = 0.5,
    tolerance: float = 1e-8,
    steps: int = 100,
) -> Points:
    """Solve grad E = 0 from each row of ``x`` by steps -H^-1 grad E, no longer than ``max_step``.

    It ends in stationary points of any index, most often in one near the start. From enough random
    starts it finds all of them while they are few; the Morse sum, sum (-1)^index, tells whether
    one is missing (2 for odd N and 0 for even N on the sphere in R^N, 1 in flat space with E rising
    on all sides). Cost: one Hessian and one eigendecomposition a step and row.

    Args:
        landscape: where.
        x: starts, shape (B, N).
        max_step: the longest step.
        tolerance: of the norm of the gradient.
        steps: the largest number of steps of a row.

    Raises:
        UsageError: an argument out of range.

    >>> from lightning_landscape.energies import SixHumpCamel
    >>> start = torch.tensor([[0.1, 0.1]], dtype=torch.float64)
    >>> newton(Landscape(SixHumpCamel(dtype="float64")), start).x.abs().max() < 1e-8
    tensor(True)
    """
    return hessian_steps(landscape, x, _step, max_step, tolerance, steps)


def _step(H: Tensor, g: Tensor) -> Tensor:
    l, V = torch.linalg.eigh(H)
    F = (V.mT @ g.unsqueeze(2)).squeeze(2)
    tiny = torch.finfo(l.dtype).tiny
    h = -F / torch.where(l.abs() < tiny, tiny, l)
    return (V @ h.unsqueeze(2)).squeeze(2)
