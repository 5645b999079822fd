"""Stationary points as arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["StationaryPoints"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class StationaryPoints:
    """n stationary points of one landscape, in the order in which they were found.

    Attributes:
        energy: shape (n,).
        x: configurations, shape (n, N).
        spectrum: the eigenvalues of the Hessian without zero modes, ascending, shape (n, k).
        order: of the symmetry group of each point, shape (n,); 1 where nothing is known.
        seen: how often each was the end of an independent search, shape (n,).
        mode: the eigenvector of the lowest eigenvalue, shape (n, N); of minima empty, (n, 0).
        ends: the numbers of the two minima that a transition state connects, shape (n, 2), -1
            where unknown; of minima empty, (n, 0).
    """

    energy: Array
    x: Array
    spectrum: Array
    order: Integers
    seen: Integers
    mode: Array
    ends: Integers

    @classmethod
    def none(cls, N: int, k: int, transition_states: bool) -> StationaryPoints:
        """Return no points, of configurations (N,) with k eigenvalues."""
        sides = 2 if transition_states else 0
        return cls(
            np.empty(0),
            np.empty((0, N)),
            np.empty((0, k)),
            np.empty(0, np.int64),
            np.empty(0, np.int64),
            np.empty((0, N if transition_states else 0)),
            np.empty((0, sides), np.int64),
        )

    def __len__(self) -> int:
        return len(self.energy)

    @property
    def log_product(self) -> Array:
        """Return the sum of the logarithms of the positive eigenvalues, shape (n,).

        For unit masses these are the squared angular frequencies.
        """
        positive = self.spectrum > 0
        return np.where(positive, np.log(np.where(positive, self.spectrum, 1.0)), 0.0).sum(1)

    def joined(self, other: StationaryPoints) -> StationaryPoints:
        """Return these points and those of ``other`` after them."""
        parts = {
            field.name: np.concatenate([getattr(self, field.name), getattr(other, field.name)])
            for field in fields(self)
        }
        return StationaryPoints(**parts)

    def of(self, index: NDArray[np.bool_] | Integers) -> StationaryPoints:
        """Return some of the points."""
        return StationaryPoints(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def counted(self, index: int) -> StationaryPoints:
        """Return the points with one more sighting of point ``index``."""
        seen = self.seen.copy()
        seen[index] += 1
        return replace(self, seen=seen)
