"""How averages over two inputs depend on their covariance, to second order."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.linalg import inv

from lightning_landscape.theory.wide_networks.averages import Array
from lightning_landscape.theory.wide_networks.layer import Layer
from lightning_landscape.theory.wide_networks.several_inputs.pair_averages import PairAverages

__all__ = ["PairExpansion", "expand"]

_PAIRS = ((0, 0), (0, 1), (1, 1))
_MULTIPLICITY = np.array([1.0, 2.0, 1.0])  # G_12 and G_21 move together


class PairExpansion(NamedTuple):
    """Averages of f_p = sigma_a sigma_b for the pairs p = 11, 12, 22, at z ~ N(0, K).

    Attributes:
        mean: <f_p>, shape (3,).
        slope: d<f_p> / dK_q, shape (3, 3).
        bend: d^2<f_p> / dK_q dK_r / 2, shape (3, 3, 3).
        covariance: Cov(f_p, f_q), shape (3, 3).
    """

    mean: Array
    slope: Array
    bend: Array
    covariance: Array


def expand(layer: Layer, K: Array) -> PairExpansion:
    """Return the expansion for the covariance K, (2, 2), positive definite, by quadrature.

    With y = K^{-1} z and m = 2 for the pair 12, 1 for the others, the slope is
    m_q <f_p (y_a y_b - K^{-1}_ab)> / 2 and the bend m_q m_r <f_p He_4(y)_qr> / 8.
    """
    average = PairAverages(layer.sigma, K)
    inverse: Array = inv(K)
    y = inverse @ average.z
    f = np.array([average.values[a] * average.values[b] for a, b in _PAIRS])
    mean = average.mean(f)
    second = np.array([y[a] * y[b] - inverse[a, b] for a, b in _PAIRS])
    slope = np.array([average.mean(f_p * second) for f_p in f]) * _MULTIPLICITY / 2
    covariance = np.array([average.mean((f_p - m) * f) for f_p, m in zip(f, mean, strict=True)])
    bend = np.empty((3, 3, 3))
    for q, r in product(range(3), repeat=2):
        fourth = _hermite(y, inverse, (*_PAIRS[q], *_PAIRS[r]))
        bend[:, q, r] = _MULTIPLICITY[q] * _MULTIPLICITY[r] / 8 * average.mean(f * fourth)
    return PairExpansion(mean, slope, bend, covariance)


def _hermite(y: Array, inverse: Array, indices: tuple[int, int, int, int]) -> Array:
    """Return y_a y_b y_c y_d without its pairings: the fourth derivative of the density."""
    a, b, c, d = indices
    splits = ((a, b, c, d), (a, c, b, d), (a, d, b, c))
    product_of_all = y[a] * y[b] * y[c] * y[d]
    for i, j, k, l in splits:
        product_of_all = product_of_all - inverse[i, j] * y[k] * y[l] - inverse[k, l] * y[i] * y[j]
    return product_of_all + sum(inverse[i, j] * inverse[k, l] for i, j, k, l in splits)
