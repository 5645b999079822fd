"""Spectra of random matrices of infinite and finite size, and counts of stationary points."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf

from lightning_landscape.errors import require

__all__ = [
    "goe_density",
    "goe_largest_eigenvalue",
    "marchenko_pastur_density",
    "marchenko_pastur_edges",
    "mean_stationary_points",
    "semicircle_density",
]

Array = NDArray[np.float64]

_TRACY_WIDOM_MEAN = -1.2065335745820  # of the GOE; Bornemann, 0804.2543, table 1


def semicircle_density(x: ArrayLike, radius: float, centre: float = 0.0) -> Array:
    """Return the density 2 sqrt(r^2 - (x - c)^2) / (pi r^2), 0 outside, for N to infinity.

    The Hessian of a spherical p-spin glass at a point with multiplier mu has r = 2 sqrt(f''(1)) and
    c = mu. A symmetric Gaussian matrix with off-diagonal variance v has r = 2 sqrt(v N).

    >>> float(semicircle_density(0.0, radius=2.0).round(6))
    0.31831
    """
    require(radius > 0, "radius", radius, "must be positive")
    inside = np.maximum(0.0, 1 - ((np.asarray(x, dtype=float) - centre) / radius) ** 2)
    return 2 / (math.pi * radius) * np.sqrt(inside)


def marchenko_pastur_edges(ratio: float, variance: float = 1.0) -> tuple[float, float]:
    """Return the edges v (1 -+ sqrt(ratio))^2 of the spectrum of X^T X / n; see the density."""
    require(ratio > 0, "ratio", ratio, "must be positive")
    return variance * (1 - math.sqrt(ratio)) ** 2, variance * (1 + math.sqrt(ratio)) ** 2


def marchenko_pastur_density(x: ArrayLike, ratio: float, variance: float = 1.0) -> Array:
    """Return the density of the eigenvalues of X^T X / n for X of shape (n, d), ratio = d/n.

    sqrt((b - x)(x - a)) / (2 pi v ratio x) between the edges a and b, for entries of variance v.
    For ratio > 1 its integral is 1/ratio; the remaining eigenvalues are zero modes.
    """
    low, high = marchenko_pastur_edges(ratio, variance)
    x = np.asarray(x, dtype=float)
    inside = np.maximum(0.0, (high - x) * (x - low))
    return np.sqrt(inside) / (2 * math.pi * variance * ratio * np.where(x > 0, x, 1.0))


def goe_largest_eigenvalue(N: int, radius: float) -> float:
    """Return the mean largest eigenvalue r [1 - 1.2065/(2 N^(2/3))] of an N x N GOE matrix.

    The two leading terms in N: the edge of the semicircle and the mean of the Tracy-Widom
    distribution.

    >>> round(goe_largest_eigenvalue(128, radius=12**0.5), 3)
    3.382
    """
    return radius * (1 + _TRACY_WIDOM_MEAN / (2 * N ** (2 / 3)))


def goe_density(x: ArrayLike, N: int, radius: float) -> Array:
    """Return the exact mean density of the eigenvalues of an N x N GOE matrix.

    ``radius`` = sqrt(2 N) d, for variances d^2 on and d^2/2 off the diagonal, is the radius of the
    semicircle that the density approaches for large N. Cost: O(N) per point.

    Source: Mehta, Random Matrices, 3rd edition, eq. (7.2.32).
    """
    require(N >= 2, "N", N, "must be at least 2")
    scale = math.sqrt(2 * N) / radius
    return scale / N * _one_point(np.asarray(x, dtype=float) * scale, N)


def _one_point(x: Array, N: int) -> Array:
    """Return the density of N eigenvalues with weight exp(-x^2/2), from oscillator functions."""
    phi = [math.pi**-0.25 * np.exp(-(x**2) / 2)]
    phi.append(math.sqrt(2) * x * phi[0])
    # int sign(x - t) phi_j(t) dt / 2 and int phi_j(t) dt follow from the recursion of phi_j'
    whole = math.pi**-0.25 * math.sqrt(2 * math.pi)
    signed, total = [whole / 2 * erf(x / math.sqrt(2)), -math.sqrt(2) * phi[0]], [whole, 0.0]
    for j in range(1, N):
        ratio, step = math.sqrt(j / (j + 1)), math.sqrt(2 / (j + 1))
        phi.append(step * x * phi[j] - ratio * phi[j - 1])
        signed.append(ratio * signed[j - 1] - step * phi[j])
        total.append(ratio * total[j - 1])
    density = sum(p**2 for p in phi[:N]) + math.sqrt(N / 2) * phi[N - 1] * signed[N]
    return density + (phi[N - 1] / total[N - 1] if N % 2 else 0.0)


def mean_stationary_points(p: int, N: int) -> float:
    """Return the mean number of stationary points of the pure spherical p-spin glass of N spins.

    2 sqrt(2/p) (p-1)^(N/2) sum_k E exp(-(p-2) x_k^2 / (2 p)) over the N eigenvalues x_k of the GOE
    with the weight exp(-x^2/2): the Kac-Rice formula, for isotropic Gaussian couplings.

    Source: Auffinger, Ben Arous and Cerny, 1003.1129; Fyodorov, 1307.2379.

    >>> round(mean_stationary_points(p=3, N=2), 4)
    5.2915
    """
    require(p >= 2, "p", p, "must be at least 2")
    require(N >= 2, "N", N, "must be at least 2")
    reach = math.sqrt(2 * N) + 8
    x = np.linspace(-reach, reach, 200 * math.ceil(reach))
    weighted = _one_point(x, N) * np.exp(-(p - 2) * x**2 / (2 * p))
    return 2 * math.sqrt(2 / p) * (p - 1) ** (N / 2) * float(weighted.sum() * (x[1] - x[0]))
