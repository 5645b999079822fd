"""Which descents of W = |grad E|^2 / 2 have ended, and in what."""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

from lightning_landscape.errors import require

__all__ = ["Ends", "Kind"]

_TENSORS = ("kind", "largest", "earlier", "trials")
_STALLED = 0.9


class Kind(IntEnum):
    """What a descent of W has ended in."""

    MOVING = 0
    STATIONARY = 1
    """|g|^2 / N below the tolerance: a stationary point of E."""
    QUASI = 2
    """W has stalled where H g = 0 and g is not 0: a minimum of W that is no stationary point."""
    EXHAUSTED = 3
    """The precision of the numbers allows no further descent."""


class Ends:
    r"""The ends of R descents of W.

    |H g| / |g| tells a quasi-saddle early: it falls to zero there, and tends to an eigenvalue at a
    stationary point. A row is one where the ratio is below ``quasi`` of its largest value so far
    and W has fallen by less than a tenth in ``window`` trials.

    Args:
        like: any numbers of the rows, shape (R,).
        tolerance: of |g|^2 / N at a stationary point.
        quasi: the ratio below which a stalled descent is a quasi-saddle.
        window: so many trials.

    Attributes:
        kind: shape (R,), int64, see `Kind`.

    Raises:
        UsageError: an argument out of range.
    """

    def __init__(self, like: Tensor, tolerance: float, quasi: float, window: int) -> None:
        require(tolerance > 0, "tolerance", tolerance, "must be above 0")
        require(0 <= quasi < 1, "quasi", quasi, "must be at least 0 and below 1")
        self.tolerance, self.quasi, self.window = tolerance, quasi, window
        self.kind = torch.zeros_like(like, dtype=torch.int64)
        self.trials = torch.zeros_like(self.kind)
        self.largest, self.earlier = torch.zeros_like(like), torch.full_like(like, torch.inf)

    def judge(self, W: Tensor, Hg: Tensor, exhausted: Tensor | None = None) -> Tensor:
        """Take in W (R,) and its gradient (R, N) after a trial; return which rows still move."""
        ratio = Hg.norm(dim=1) / (2 * W).sqrt().clamp_min(torch.finfo(W.dtype).tiny)
        self.largest = self.largest.maximum(ratio)
        found = 2 * W < self.tolerance * Hg.shape[1]
        look = self.trials % self.window == 0
        stalled = look & (W > _STALLED * self.earlier) & (ratio < self.quasi * self.largest)
        self.earlier = torch.where(look, W, self.earlier)
        now = torch.where(found, Kind.STATIONARY, torch.where(stalled, Kind.QUASI, Kind.MOVING))
        if exhausted is not None:
            now = torch.where(exhausted & (now == Kind.MOVING), Kind.EXHAUSTED, now)
        moving = self.kind == Kind.MOVING
        self.trials = self.trials + moving
        self.kind = torch.where(moving, now, self.kind)
        return self.kind == Kind.MOVING

    def only(self, index: Tensor) -> Ends:
        """Return the ends of some rows."""
        some = object.__new__(Ends)
        some.tolerance, some.quasi, some.window = self.tolerance, self.quasi, self.window
        some.load({name: value[index] for name, value in self.state().items()})
        return some

    def state(self) -> dict[str, Tensor]:
        """Return all tensors, rows first."""
        return {name: getattr(self, name) for name in _TENSORS}

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state` has returned, of whatever precision."""
        for name in _TENSORS:
            whole = name in ("kind", "trials")
            setattr(self, name, state[name].long() if whole else state[name])
