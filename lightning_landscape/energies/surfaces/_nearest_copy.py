"""The copy of a cluster, by its symmetries, that is nearest to another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

__all__ = ["nearest_copy"]

Array = NDArray[np.float64]

_ORIENTATIONS = 100  # from which permutation and rotation are improved in turn
_TURNS = 50


def nearest_copy(x: Array, to: Array) -> Array:
    """Return the copy of a cluster ``x`` (n, 3) that is nearest to ``to``, with its centre.

    In turn the best permutation, by assignment, and the best orthogonal map, from a singular
    value decomposition, until the distance falls no more; from as they are, and from random
    orientations of both parities. For small clusters the result is the best as a rule.

    Source: Kabsch 1976, Acta Cryst. A 32, 922; Griffiths, Niblett, Wales 2017, J. Chem. Theory
    Comput. 13, 4914, on the alternation.
    """
    centre = to.mean(0)
    target, free = to - centre, x - x.mean(0)
    turns = Rotation.random(_ORIENTATIONS, rng=np.random.default_rng(0)).as_matrix()
    starts = [np.eye(3), *(parity * turn for turn in turns for parity in (1, -1))]
    copies = (_improved(free @ start, target) for start in starts)
    return min(copies, key=lambda copy: float(((copy - target) ** 2).sum())) + centre


def _improved(x: Array, target: Array) -> Array:
    distance = np.inf
    for _ in range(_TURNS):
        _, order = linear_sum_assignment(cdist(target, x, "sqeuclidean"))
        u, _, v = np.linalg.svd(x[order].T @ target)
        x = x[order] @ (u @ v)
        before, distance = distance, float(((x - target) ** 2).sum())
        if distance > before - 1e-12:
            break
    return x
