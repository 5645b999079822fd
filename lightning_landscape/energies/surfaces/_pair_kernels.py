"""Numba kernels of the Lennard-Jones potential on a CPU. Importing this module imports numba."""

from __future__ import annotations

from numba import njit
from numpy.typing import NDArray

__all__ = ["pair_curvature", "pair_slope"]

# sums may be reordered, or they do not vectorise; but a nan has to remain a nan
_FAST = {"reassoc", "contract", "nsz"}


@njit(fastmath=_FAST, nogil=True, cache=True, error_model="numpy")
def pair_slope(x: NDArray, energy: NDArray, gradient: NDArray) -> None:
    """Write E and its gradient at each row.

    Args:
        x: shape (B, 3 n).
        energy: shape (B,).
        gradient: shape (B, 3 n).
    """
    n = x.shape[1] // 3
    for b in range(x.shape[0]):
        row, g, total = x[b], gradient[b], 0.0
        g[:] = 0
        for i in range(1, n):
            for j in range(i):
                a = row[3 * i] - row[3 * j]
                c = row[3 * i + 1] - row[3 * j + 1]
                d = row[3 * i + 2] - row[3 * j + 2]
                inverse = 1 / (a * a + c * c + d * d)
                u = inverse * inverse * inverse
                total += u * (u - 1)
                w = -24 * u * (2 * u - 1) * inverse
                g[3 * i] += w * a
                g[3 * i + 1] += w * c
                g[3 * i + 2] += w * d
                g[3 * j] -= w * a
                g[3 * j + 1] -= w * c
                g[3 * j + 2] -= w * d
        energy[b] = 4 * total


@njit(fastmath=_FAST, nogil=True, cache=True, error_model="numpy")
def pair_curvature(x: NDArray, H: NDArray) -> None:
    """Write the second derivatives at each row.

    Args:
        x: shape (B, 3 n).
        H: shape (B, 3 n, 3 n).
    """
    n = x.shape[1] // 3
    H[:] = 0
    for b in range(x.shape[0]):
        row, h = x[b], H[b]
        for i in range(1, n):
            for j in range(i):
                a = row[3 * i] - row[3 * j]
                c = row[3 * i + 1] - row[3 * j + 1]
                d = row[3 * i + 2] - row[3 * j + 2]
                inverse = 1 / (a * a + c * c + d * d)
                u = inverse * inverse * inverse
                w = -24 * u * (2 * u - 1) * inverse
                k = 96 * u * (7 * u - 2) * inverse * inverse
                for p in range(3):
                    r_p = a if p == 0 else (c if p == 1 else d)
                    for q in range(3):
                        r_q = a if q == 0 else (c if q == 1 else d)
                        value = k * r_p * r_q + (w if p == q else 0.0)
                        h[3 * i + p, 3 * i + q] += value
                        h[3 * j + p, 3 * j + q] += value
                        h[3 * i + p, 3 * j + q] -= value
                        h[3 * j + p, 3 * i + q] -= value
