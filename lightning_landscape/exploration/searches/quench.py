"""Quenches: the minima below many starts at once."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lightning_landscape.dynamics.minimizers.lbfgs import minimize_lbfgs
from lightning_landscape.errors import require_kind
from lightning_landscape.exploration.landscape import Landscape, Points

__all__ = ["quench"]


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
    if not len(x):
        return Points(x, x.new_empty(0), x.new_empty(0).bool())
    energy = landscape.at(landscape.retract(x))

    def count(_: nn.Module, __: Any, E: Tensor) -> None:
        landscape.gradients += len(E)

    hook = energy.register_forward_hook(count)  # the copies that descend inherit it
    try:
        end = minimize_lbfgs(energy, steps=steps, tolerance=tolerance, max_step=max_step)
    finally:
        hook.remove()
    return Points(energy.configuration(), end.energies, end.done)
