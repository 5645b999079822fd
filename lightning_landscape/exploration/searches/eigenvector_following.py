"""Eigenvector following with the Hessian: uphill along the lowest mode, downhill elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.exploration.landscape import Landscape, Points
from lightning_landscape.exploration.searches._hessian_steps import hessian_steps

__all__ = ["eigenvector_following"]


@checked
def eigenvector_following(
    landscape: Landscape,
    x: Tensor,
    max_step: float = 0.3,
    tolerance: float = 1e-8,
    steps: int = 60,
) -> Points:
    r"""Search for transition states from each row of ``x``; rows that have converged leave.

        h_k = -+ 2 F_k / (|l_k| + sqrt(l_k^2 + 4 F_k^2)),    F_k = v_k . grad E

    along every eigenvector v_k of the Hessian with eigenvalue l_k: downhill (-), and uphill (+)
    along the lowest. Far away |h_k| tends to 1; close by this is the Newton step.

    It needs neither a start near the transition state nor the end points. A converged point can
    have another index than 1: check its spectrum. A search without an end after 60 to 120 steps is
    not worth going on with.

    Cost: one Hessian and one eigendecomposition a step and row, 15 to 30 of them in all; the method
    of choice where the Hessian is written out and N is at most about 200.

    Args:
        landscape: where.
        x: starts, shape (B, N); kicked minima, for example.
        max_step: the longest step.
        tolerance: of the norm of the gradient.
        steps: the largest number of steps of a row.

    Raises:
        UsageError: an argument out of range.

    Source: Cerjan, Miller 1981, J. Chem. Phys. 75, 2800; Wales 1994, J. Chem. Phys. 101, 3750,
    eq. (8).

    >>> from lightning_landscape.energies import SixHumpCamel
    >>> start = torch.tensor([[-1.0, 0.6]], dtype=torch.float64)
    >>> end = eigenvector_following(Landscape(SixHumpCamel(dtype="float64")), start)
    >>> end.energy.round(decimals=6)
    tensor([0.5437], dtype=torch.float64)
    """
    return hessian_steps(landscape, x, _step, max_step, tolerance, steps)


def _step(H: Tensor, g: Tensor) -> Tensor:
    """Return the steps, shape (B, N)."""
    l, V = torch.linalg.eigh(H)
    F = (V.mT @ g.unsqueeze(2)).squeeze(2)
    h = -2 * F / (l.abs() + torch.hypot(l, 2 * F)).clamp_min(torch.finfo(l.dtype).tiny)
    h[:, 0] *= -1
    return (V @ h.unsqueeze(2)).squeeze(2)
