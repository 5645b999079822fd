"""Numba kernels of the L-BFGS memory, for the CPU. Importing this module imports numba."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["FAST", "aim", "dot", "keep", "remember", "two_loops"]

# sums may be reordered, or they do not vectorise; but a nan has to remain a nan
FAST = {"reassoc", "contract", "nsz"}


@njit(fastmath=FAST, nogil=True, cache=True)
def dot(a: NDArray, b: NDArray) -> float:
    """Return the scalar product of two rows."""
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@njit(fastmath=FAST, nogil=True, cache=True)
def aim(s: NDArray, y: NDArray, g: NDArray, first: float, alpha: NDArray, q: NDArray) -> None:
    """Write -H g of one replica to ``q``; see `Memory.direction`.

    Args:
        s: steps, shape (m, N), oldest first; pairs without s.y > 0 count for nothing.
        y: changes of the gradient, the same.
        g: the gradient, shape (N,).
        first: the longest step without pairs.
        alpha: room for numbers, shape (2, m).
        q: shape (N,).
    """
    m, N = s.shape
    sy = alpha[1]
    for i in range(N):
        q[i] = g[i]
    oldest = m
    for k in range(m - 1, -1, -1):
        sy[k] = dot(s[k], y[k])
        if sy[k] > 0:
            oldest = k
            alpha[0, k] = dot(s[k], q) / sy[k]
            for i in range(N):
                q[i] -= alpha[0, k] * y[k, i]
    if sy[m - 1] > 0:
        scale = sy[m - 1] / dot(y[m - 1], y[m - 1])
    else:
        square = dot(g, g)
        scale = min(1.0, first / np.sqrt(square)) if square > 0 else 1.0
    for i in range(N):
        q[i] *= scale
    for k in range(oldest, m):
        if sy[k] > 0:
            beta = alpha[0, k] - dot(y[k], q) / sy[k]
            for i in range(N):
                q[i] += beta * s[k, i]
    for i in range(N):
        q[i] = -q[i]


@njit(fastmath=FAST, nogil=True, cache=True)
def keep(s: NDArray, y: NDArray, new_s: NDArray, new_y: NDArray, least: float) -> None:
    """Append a pair to the memory of one replica where s.y > least |s| |y|; the oldest leaves.

    Args:
        s: shape (m, N).
        y: shape (m, N).
        new_s: shape (N,).
        new_y: shape (N,).
        least: of the cosine between s and y.
    """
    m, N = s.shape
    size = np.sqrt(dot(new_s, new_s) * dot(new_y, new_y))
    if dot(new_s, new_y) > least * size:
        for k in range(m - 1):
            for i in range(N):
                s[k, i] = s[k + 1, i]
                y[k, i] = y[k + 1, i]
        for i in range(N):
            s[m - 1, i] = new_s[i]
            y[m - 1, i] = new_y[i]


@njit(fastmath=FAST, nogil=True, cache=True)
def two_loops(s: NDArray, y: NDArray, g: NDArray, first: float, out: NDArray) -> None:
    """Write -H g of each replica to ``out``, shape (R, N); see `aim`."""
    alpha = np.empty((2, s.shape[1]), s.dtype)
    for r in range(len(s)):
        aim(s[r], y[r], g[r], first, alpha, out[r])


@njit(fastmath=FAST, nogil=True, cache=True)
def remember(
    s: NDArray, y: NDArray, new_s: NDArray, new_y: NDArray, which: NDArray, least: float
) -> None:
    """Append the pairs of some replicas, ``which`` (R,), bool; see `keep`."""
    for r in range(len(s)):
        if which[r]:
            keep(s[r], y[r], new_s[r], new_y[r], least)
