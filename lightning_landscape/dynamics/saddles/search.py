"""Descents of W = |grad E|^2 / 2 by L-BFGS, and which of them have ended, and in what."""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

from lightning_landscape.dynamics.minimizers.descent import Descent, Evaluate
from lightning_landscape.dynamics.saddles.squared_gradient import squared_gradient
from lightning_landscape.errors import require, require_whole
from lightning_landscape.sphere import Sphere

__all__ = ["Kind", "SaddleSearch", "check_search"]

# a descent whose W has fallen by less than this factor in so many trials has stalled
_STALLED, _WINDOW = 0.9, 20
_OWN = ("kind", "largest", "earlier", "trials")


class Kind(IntEnum):
    """What a descent of W has ended in."""

    MOVING = 0
    STATIONARY = 1
    """|g|^2 / N below the tolerance: a stationary point of E."""
    QUASI = 2
    """W has stalled where H g = 0 and g is not 0: a minimum of W that is no stationary point."""
    EXHAUSTED = 3
    """The precision of the numbers allows no further descent."""


class SaddleSearch:
    r"""Descents of W by L-BFGS, a row each, which end as a `Kind`.

    |H g| / |g| tells a quasi-saddle early: it falls to zero there, and tends to an eigenvalue at a
    stationary point. A row is one where the ratio is below ``quasi`` of its largest value so far
    and W has fallen by less than a tenth in 20 trials.

    Args:
        x: the start, shape (R, N).
        evaluate: energies and tangent gradients at rows.
        sphere: on which the rows are, or None.
        memory: how many steps are remembered.
        max_step: the longest step.
        tolerance: of |g|^2 / N at a stationary point.
        quasi: the ratio below which a stalled descent is a quasi-saddle.

    Attributes:
        kind: shape (R,), int64, see `Kind`.
        E: the energies where the rows were last evaluated, shape (R,).
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
        self.sphere, self.tolerance, self.quasi = sphere, tolerance, quasi
        self.descent = Descent(x, self._of(evaluate), memory, max_step, sphere)
        R = len(x)
        self.kind = torch.zeros(R, dtype=torch.int64, device=x.device)
        self.trials = torch.zeros_like(self.kind)
        self.largest, self.earlier = torch.zeros_like(self.W), torch.full_like(self.W, torch.inf)
        self._classify()

    @property
    def x(self) -> Tensor:
        """Where the rows are, shape (R, N)."""
        return self.descent.x

    @property
    def W(self) -> Tensor:
        """|g|^2 / 2 there, shape (R,)."""
        return self.descent.E

    def advance(self, evaluate: Evaluate) -> None:
        """Do one trial of every row, 3 gradients each; rows that have ended do not count."""
        x, moving = self.x, self.kind == Kind.MOVING
        self.descent.advance(self._of(evaluate))
        self.descent.x = torch.where(moving.unsqueeze(1), self.descent.x, x)
        self.trials = self.trials + moving
        self._classify()

    def only(self, index: Tensor) -> SaddleSearch:
        """Return the searches of some rows."""
        some = object.__new__(SaddleSearch)
        some.sphere, some.tolerance, some.quasi = self.sphere, self.tolerance, self.quasi
        for name in ("E", *_OWN):
            setattr(some, name, getattr(self, name)[index])
        some.descent = self.descent.only(index)
        return some

    def state(self) -> dict[str, Tensor]:
        """Return everything that the rest of the search depends on."""
        return {"E": self.E, **{name: getattr(self, name) for name in _OWN}, **self.descent.state()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state` has returned."""
        for name in ("E", *_OWN):
            setattr(self, name, state[name].to(getattr(self, name).dtype))
        self.descent.load(state)

    def _of(self, evaluate: Evaluate) -> Evaluate:
        def value_and_gradient(x: Tensor) -> tuple[Tensor, Tensor]:
            self.E, W, Hg = squared_gradient(evaluate, x, self.sphere)
            return W, Hg

        return value_and_gradient

    def _classify(self) -> None:
        W, N = self.W, self.x.shape[1]
        ratio = self.descent.g.norm(dim=1) / (2 * W).sqrt().clamp_min(torch.finfo(W.dtype).tiny)
        self.largest = self.largest.maximum(ratio)
        found = 2 * W < self.tolerance * N
        look = self.trials % _WINDOW == 0
        stalled = look & (W > _STALLED * self.earlier) & (ratio < self.quasi * self.largest)
        self.earlier = torch.where(look, W, self.earlier)
        now = torch.where(found, Kind.STATIONARY, torch.where(stalled, Kind.QUASI, Kind.MOVING))
        now = torch.where(self.descent.exhausted & (now == Kind.MOVING), Kind.EXHAUSTED, now)
        self.kind = torch.where(self.kind == Kind.MOVING, now, self.kind)


def check_search(memory: int, max_step: float, tolerance: float, quasi: float) -> None:
    """Raise a `UsageError` for settings of a `SaddleSearch` out of range."""
    require_whole("memory", memory)
    require(max_step > 0, "max_step", max_step, "must be above 0")
    require(tolerance > 0, "tolerance", tolerance, "must be above 0")
    require(0 <= quasi < 1, "quasi", quasi, "must be at least 0 and below 1")
