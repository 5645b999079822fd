"""Numba kernels of the L-BFGS memory, for the CPU. Importing this module imports numba."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["remember", "two_loops"]

# sums may be reordered, or they do not vectorise; but a nan has to remain a nan
_FAST = {"reassoc", "contract", "nsz"}


@njit(fastmath=_FAST, nogil=True, cache=True)
def _dot(a: NDArray, b: NDArray) -> float:
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@njit(fastmath=_FAST, nogil=True, cache=True)
def two_loops(s: NDArray, y: NDArray, g: NDArray, first: float, out: NDArray) -> None:
    """Write -H g of each replica; see `Memory.direction`.

    Args:
        s: steps, shape (R, m, N), oldest first; pairs without s.y > 0 count for nothing.
        y: changes of the gradient, the same.
        g: gradients, shape (R, N).
        first: the longest step of a replica without pairs.
        out: shape (R, N).
    """
    R, m, N = s.shape
    alpha, sy = np.empty(m, s.dtype), np.empty(m, s.dtype)
    for r in range(R):
        q = out[r]
        for i in range(N):
            q[i] = g[r, i]
        for k in range(m - 1, -1, -1):
            sy[k] = _dot(s[r, k], y[r, k])
            if sy[k] > 0:
                alpha[k] = _dot(s[r, k], q) / sy[k]
                for i in range(N):
                    q[i] -= alpha[k] * y[r, k, i]
        if sy[m - 1] > 0:
            scale = sy[m - 1] / _dot(y[r, m - 1], y[r, m - 1])
        else:
            scale = min(1.0, first / np.sqrt(_dot(g[r], g[r]))) if _dot(g[r], g[r]) > 0 else 1.0
        for i in range(N):
            q[i] *= scale
        for k in range(m):
            if sy[k] > 0:
                beta = alpha[k] - _dot(y[r, k], q) / sy[k]
                for i in range(N):
                    q[i] += beta * s[r, k, i]
        for i in range(N):
            q[i] = -q[i]


@njit(fastmath=_FAST, nogil=True, cache=True)
def remember(
    s: NDArray, y: NDArray, new_s: NDArray, new_y: NDArray, which: NDArray, least: float
) -> None:
    """Append the pairs of some replicas in which s.y > least |s| |y|; the oldest is forgotten.

    Args:
        s: shape (R, m, N).
        y: shape (R, m, N).
        new_s: shape (R, N).
        new_y: shape (R, N).
        which: of which replicas, shape (R,), bool.
        least: of the cosine between s and y.
    """
    R, m, N = s.shape
    for r in range(R):
        if not which[r]:
            continue
        sy = _dot(new_s[r], new_y[r])
        size = np.sqrt(_dot(new_s[r], new_s[r]) * _dot(new_y[r], new_y[r]))
        if sy > least * size:
            for k in range(m - 1):
                for i in range(N):
                    s[r, k, i] = s[r, k + 1, i]
                    y[r, k, i] = y[r, k + 1, i]
            for i in range(N):
                s[r, m - 1, i] = new_s[r, i]
                y[r, m - 1, i] = new_y[r, i]
