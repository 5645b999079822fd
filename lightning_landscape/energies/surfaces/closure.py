"""Any function of rows of numbers, as an energy."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import require, require_kind

__all__ = ["Closure"]


class Closure(Energy):
    """E(x) = function(x) for each row of x, with derivatives by autograd.

    Args:
        function: from (R, N) to (R,), differentiable twice; a row knows of no other, and any
            number of rows is accepted.
        x: the start, shape (R, N).

    Raises:
        UsageError: the shapes of the start or of the energies do not fit.

    >>> Closure(lambda x: (x**4 / 4 - x**2 / 2).sum(1), torch.ones(3, 2))()
    tensor([-0.5000, -0.5000, -0.5000], grad_fn=<SumBackward1>)
    """

    extensive: ClassVar[bool] = True

    def __init__(self, function: Callable[[Tensor], Tensor], x: Tensor) -> None:
        super().__init__()
        require(callable(function), "function", function, "must be a function of x, (R, N)")
        require_kind("x", x, Tensor)
        require(x.dim() == 2, "x.shape", tuple(x.shape), "must be (R, N)")
        with torch.no_grad():
            shape = tuple(function(x).shape)
        require(shape == (len(x),), "shape of the energies", shape, f"must be ({len(x)},)")
        self.function, self.replicas = function, len(x)
        self.x = nn.Parameter(x.detach().clone())

    def forward(self, batch: Tensor | None = None) -> Tensor:
        """Return the energies, shape (R,). There are no data: ``batch`` makes no difference."""
        return self.function(self.x)
