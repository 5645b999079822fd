"""Descents of W = |grad E|^2 / 2 by L-BFGS, a row each."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.dynamics.minimizers.descent import Descent, Evaluate
from lightning_landscape.dynamics.saddles.ends import Ends
from lightning_landscape.dynamics.saddles.squared_gradient import squared_gradient
from lightning_landscape.errors import require, require_whole
from lightning_landscape.sphere import Sphere

__all__ = ["SaddleSearch"]

_WINDOW = 20


class SaddleSearch:
    """L-BFGS on W from each row, with the last configurations, their W and what they end in.

    Args:
        x: the start, shape (R, N).
        evaluate: energies and tangent gradients of E at rows.
        sphere: on which the rows are, or None.
        memory: how many steps are remembered.
        max_step: the longest step.
        tolerance: of |g|^2 / N at a stationary point.
        quasi: see `Ends`.

    Attributes:
        E: the energies where the rows were last evaluated, shape (R,).
        ends: which rows have ended, and in what.

    Raises:
        UsageError: an argument out of range.
    """

    def __init__(
        self,
        x: Tensor,
        evaluate: Evaluate,
        sphere: Sphere | None,
        memory: int,
        max_step: float,
        tolerance: float,
        quasi: float,
    ) -> None:
        require_whole("memory", memory)
        require(max_step > 0, "max_step", max_step, "must be above 0")
        self.sphere, self.E = sphere, x.new_zeros(len(x))
        self.ends = Ends(self.E, tolerance, quasi, _WINDOW)
        self.descent = Descent(x, self._of(evaluate), memory, max_step, sphere)
        self.ends.judge(self.W, self.descent.g)

    @property
    def x(self) -> Tensor:
        """Where the rows are, shape (R, N)."""
        return self.descent.x

    @property
    def W(self) -> Tensor:
        """|g|^2 / 2 there, shape (R,)."""
        return self.descent.E

    def advance(self, evaluate: Evaluate) -> None:
        """Do one trial of every row, 3 gradients each; rows that have ended stay."""
        x, moving = self.x.clone(), self.ends.kind == 0  # the descent may move it in place
        self.descent.advance(self._of(evaluate))
        self.descent.x = torch.where(moving.unsqueeze(1), self.descent.x, x)
        self.ends.judge(self.W, self.descent.g, self.descent.exhausted)

    def only(self, index: Tensor) -> SaddleSearch:
        """Return the searches of some rows."""
        some = object.__new__(SaddleSearch)
        some.sphere, some.E = self.sphere, self.E[index]
        some.ends, some.descent = self.ends.only(index), self.descent.only(index)
        return some

    def state(self) -> dict[str, Tensor]:
        """Return all tensors that the rest of the search depends on, rows first."""
        return {f"ends_{k}": v for k, v in self.ends.state().items()} | self.descent.state()

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state` has returned."""
        prefix = "ends_"
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        self.ends.load(own)
        self.descent.load(state)

    def _of(self, evaluate: Evaluate) -> Evaluate:
        def value_and_gradient(x: Tensor) -> tuple[Tensor, Tensor]:
            self.E, W, Hg = squared_gradient(evaluate, x, self.sphere)
            return W, Hg

        return value_and_gradient
