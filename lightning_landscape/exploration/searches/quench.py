"""Quenches: the minima below many starts at once."""

from __future__ import annotations

from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.dynamics.minimizers.descent import Descent
from lightning_landscape.dynamics.minimizers.lbfgs import descend
from lightning_landscape.errors import require, require_kind, require_whole
from lightning_landscape.exploration.landscape import Landscape, Points

__all__ = ["quench"]

_MEMORY = 10


@checked
def quench(
    landscape: Landscape,
    x: Tensor,
    max_step: float = 0.5,
    tolerance: float = 1e-8,
    steps: int = 1000,
) -> Points:
    """Descend from each row of ``x`` by L-BFGS; rows that have converged leave the batch.

    The end of a descent can be a saddle, if rarely: its index must be checked. Cost: one gradient
    per trial step and row, 50 to 150 in all.

    Args:
        landscape: where.
        x: starts, shape (B, N).
        max_step: the longest step; small ones keep to the basin of the start.
        tolerance: of the norm of the gradient.
        steps: the largest number of steps of a row.

    Source: `dynamics.minimize_lbfgs`.

    >>> import torch
    >>> from lightning_landscape.energies import SixHumpCamel
    >>> start = torch.tensor([[0.2, -0.6]], dtype=torch.float64)
    >>> quench(Landscape(SixHumpCamel(dtype="float64")), start).energy.round(decimals=6)
    tensor([-1.0316], dtype=torch.float64)
    """
    require_kind("landscape", landscape, Landscape)
    require_kind("x", x, Tensor)
    require_whole("steps", steps)
    require(tolerance >= 0, "tolerance", tolerance, "must be at least 0")
    require(max_step > 0, "max_step", max_step, "must be > 0")
    if not len(x):
        return Points(x, x.new_empty(0), x.new_empty(0).bool())
    start, evaluate = landscape.retract(x), landscape.value_and_gradient
    descent = Descent(start, evaluate, _MEMORY, max_step, landscape.sphere)
    end, minimum = descend(descent, evaluate, steps, tolerance)
    return Points(end, minimum.energies, minimum.done)
