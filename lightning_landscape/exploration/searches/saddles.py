"""Stationary points of any index by descent of the squared gradient, with gradients only."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.dynamics.saddles.ends import Kind
from lightning_landscape.dynamics.saddles.search import SaddleSearch
from lightning_landscape.errors import require_whole
from lightning_landscape.exploration.landscape import Landscape

__all__ = ["Collector", "Saddles", "descend_squared_gradient"]


class Saddles(NamedTuple):
    """Where searches for stationary points of any index have ended.

    Attributes:
        x: configurations, shape (B, N).
        energy: shape (B,).
        kind: shape (B,), int64, see `Kind`: 1 is a stationary point, 2 a quasi-saddle.
        gradients: how many each search has cost, shape (B,), int64.
        hessians: the same of Hessians.
    """

    x: Tensor
    energy: Tensor
    kind: Tensor
    gradients: Tensor
    hessians: Tensor

    @property
    def converged(self) -> Tensor:
        """Which are stationary points, shape (B,), bool."""
        return self.kind == Kind.STATIONARY


@checked
def descend_squared_gradient(
    landscape: Landscape,
    x: Tensor,
    memory: int = 60,
    max_step: float = 0.3,
    tolerance: float = 1e-12,
    quasi: float = 1e-3,
    steps: int = 1000,
) -> Saddles:
    r"""Descend W = |\nabla E|^2 / 2 by L-BFGS from each row of ``x``; rows that have ended leave.

    \nabla W = H \nabla E is a difference of gradients, so no Hessian is ever made. The index of the
    stationary point depends on the energy of the start. Some descents end in quasi-saddles, minima
    of W with \nabla E != 0, which are told apart and stopped early: they are a property of W, and
    methods with Hessians that lower W end there too (`levenberg_marquardt`).

    The same as an optimizer: `dynamics.SaddleDescent`. Cost: 3 gradients a trial step and row; 500
    each for 60 spins. Fewer than the N products that a Hessian takes where it is not written
    out; with Hessians as cheap as those of a dense glass `levenberg_marquardt` takes less time.

    Args:
        landscape: where.
        x: starts, shape (B, N).
        memory: how many steps are remembered.
        max_step: the longest step.
        tolerance: of |g|^2 / N at a stationary point.
        quasi: the ratio of a quasi-saddle, see `dynamics.saddles.ends.Ends`.
        steps: the largest number of trials of a row.

    Raises:
        UsageError: an argument out of range.

    Source: see `dynamics.SaddleDescent`.

    >>> from lightning_landscape.energies import SixHumpCamel
    >>> start = torch.tensor([[-1.1, 0.6]], dtype=torch.float64)
    >>> end = descend_squared_gradient(Landscape(SixHumpCamel(dtype="float64")), start)
    >>> end.kind.tolist(), end.energy.round(decimals=6).item()
    ([1], 0.543719)
    """
    require_whole("steps", steps)
    evaluate, sphere = landscape.value_and_gradient, landscape.sphere
    start = landscape.retract(x).clone()
    search = SaddleSearch(start, evaluate, sphere, memory, max_step, tolerance, quasi)
    found = Collector(x)
    found.spend(gradients=3)
    for trial in range(steps + 1):
        staying = found.collect(search.x, search.E, search.ends.kind, last=trial == steps)
        if not len(staying):
            break
        if len(staying) < len(search.x):
            search = search.only(staying)
        search.advance(evaluate)
        found.spend(gradients=3)
    return found.saddles


class Collector:
    """Takes in searches as they end, and counts what they cost.

    Args:
        x: the starts, shape (B, N).

    Attributes:
        saddles: what has ended so far.
        rows: the numbers of the rows that go on, shape (R,).
    """

    def __init__(self, x: Tensor) -> None:
        count = torch.zeros(3, len(x), dtype=torch.int64)
        self.saddles = Saddles(x.clone(), x.new_full((len(x),), torch.nan), *count)
        self.rows = torch.arange(len(x))

    def spend(self, gradients: int = 0, hessians: int = 0) -> None:
        """Count what every row that goes on has cost."""
        self.saddles.gradients[self.rows] += gradients
        self.saddles.hessians[self.rows] += hessians

    def collect(self, x: Tensor, E: Tensor, kind: Tensor, last: bool) -> Tensor:
        """Take in the rows that have ended, or all; return the indices of those that go on."""
        leaving = (kind != Kind.MOVING) | ~E.isfinite() | last
        rows = self.rows[leaving]
        parts = (self.saddles.x, x), (self.saddles.energy, E), (self.saddles.kind, kind)
        for whole, part in parts:
            whole[rows] = part[leaving]
        self.rows = self.rows[~leaving]
        return (~leaving).nonzero().squeeze(1)
