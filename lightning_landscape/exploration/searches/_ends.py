"""What all searches for transition states begin with, and how their ends are gathered."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.errors import require
from lightning_landscape.exploration.landscape import Landscape, Points

__all__ = ["Ends"]


class Ends:
    """Gathers rows as they end.

    Args:
        landscape: where.
        x: starts, shape (B, N).
        max_step: the longest step.
        steps: the largest number of steps of a row.

    Attributes:
        x: the starts on the manifold of the landscape, to be moved.
        rows: the numbers of the rows that go on, shape (R,).

    Raises:
        UsageError: an argument out of range.
    """

    def __init__(self, landscape: Landscape, x: Tensor, max_step: float, steps: int) -> None:
        require(max_step > 0, "max_step", max_step, "must be > 0")
        require(steps >= 1, "steps", steps, "must be at least 1")
        self.x = landscape.retract(x).clone()
        self.rows, self._last = torch.arange(len(x)), steps
        self.points = Points(self.x.clone(), x.new_empty(len(x)), torch.zeros(len(x)).bool())

    def gather(self, step: int, x: Tensor, E: Tensor, converged: Tensor) -> Tensor:
        """Note where the rows are; return the indices of those that go on, none in the end."""
        whole = self.points
        whole.x[self.rows], whole.energy[self.rows], whole.converged[self.rows] = x, E, converged
        staying = (~converged & E.isfinite() & (step < self._last)).nonzero().squeeze(1)
        self.rows = self.rows[staying]
        return staying
