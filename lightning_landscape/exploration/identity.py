"""When two stationary points are the same one."""

from __future__ import annotations

from math import inf

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.arguments import Checked
from lightning_landscape.errors import require
from lightning_landscape.exploration.stationary_points import StationaryPoints

__all__ = ["Identity"]

Array = NDArray[np.float64]


class Identity(Checked):
    """Two points are the same where their energies and their sorted spectra agree.

    Both are invariant under every orthogonal symmetry: rigid motions and permutations of a cluster,
    permutations and sign flips of hidden units, symmetries of the data. Mirror images of a
    cluster and copies by a symmetry of the data count as one point. It does not know the rescaling
    of ReLU units, which is not orthogonal; an L2 penalty balances them at a stationary point.

    With a ``distance`` the configurations must agree as well, and symmetric copies count each.

    Args:
        energy: tolerance of |E - E'| / max(1, |E|).
        spectrum: tolerance of eigenvalues, relative to the largest one.
        distance: tolerance of |x - x'|, or None.

    Raises:
        UsageError: a tolerance is negative or not finite.
    """

    def __init__(
        self, energy: float = 1e-7, spectrum: float = 1e-3, distance: float | None = None
    ) -> None:
        for name, tolerance in (("energy", energy), ("spectrum", spectrum), ("distance", distance)):
            holds = tolerance is None or 0 <= tolerance < inf
            require(holds, name, tolerance, "must be at least 0, and finite")
        self.energy, self.spectrum, self.distance = energy, spectrum, distance

    def find(self, energy: float, x: Array, spectrum: Array, known: StationaryPoints) -> int:
        """Return the number of the known point that is the same, or -1.

        Args:
            energy: E of the point.
            x: its configuration, shape (N,).
            spectrum: its eigenvalues, ascending, shape (k,).
            known: the points to compare with.
        """
        near = np.abs(known.energy - energy) <= self.energy * max(1.0, abs(energy))
        scale = np.abs(spectrum).max(initial=0.0)
        for index in np.flatnonzero(near):
            difference = np.abs(known.spectrum[index] - spectrum).max(initial=0.0)
            apart = self.distance is not None and (
                np.linalg.norm(known.x[index] - x) > self.distance
            )
            if difference <= self.spectrum * scale and not apart:
                return int(index)
        return -1
