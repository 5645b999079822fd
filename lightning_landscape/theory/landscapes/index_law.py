"""Which fraction of directions is unstable at a stationary point of given energy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_landscape.errors import require

__all__ = ["index_fraction"]


def index_fraction(p: int, energy: ArrayLike) -> NDArray[np.float64]:
    r"""Return index/N at stationary points of energy e per spin of the pure spherical p-spin glass.

        n(e) = [\arccos(x) - x (1 - x^2)^{1/2}] / \pi,   x = e / e_th,   e_th = -[2 (p-1)/p]^{1/2}

    for N to infinity: the part below zero of the semicircle of radius [2 p (p-1)]^{1/2} centred at
    the multiplier mu = -p e. It is 0 at and below the threshold e_th, 1/2 at e = 0.

    Args:
        p: >= 2.
        energy: e, any shape.

    Raises:
        UsageError: p < 2.

    Source: Kurchan, Laloux 1996, cond-mat/9510079; Cavagna, Giardina, Parisi 1998,
    cond-mat/9710272, for the complexity by index.

    >>> index_fraction(3, [-1.1547005383792517, -0.9186, 0.0]).round(4).tolist()
    [0.0, 0.0538, 0.5]
    """
    require(p >= 2, "p", p, "must be at least 2")
    x = np.clip(-np.asarray(energy, dtype=float) / math.sqrt(2 * (p - 1) / p), -1.0, 1.0)
    return (np.arccos(x) - x * np.sqrt(1 - x**2)) / np.pi
