"""Fluctuations of the metric of two inputs at order 1/n."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.linalg import inv

from lightning_landscape.errors import require
from lightning_landscape.theory.wide_networks.averages import Array
from lightning_landscape.theory.wide_networks.layer import Layer, require_depth, require_no_skip
from lightning_landscape.theory.wide_networks.pair_averages import PairAverages

__all__ = ["TwoInputs", "two_inputs"]

_PAIRS = ((0, 0), (0, 1), (1, 1))
_MULTIPLICITY = np.array([1.0, 2.0, 1.0])  # G_12 and G_21 move together


class TwoInputs(NamedTuple):
    """The metric G of two inputs in layers 1, ..., L; pairs are (11), (12), (22).

    Attributes:
        K: E G at infinite width, shape (L, 2, 2).
        V: Cov(G_p, G_q) = V / n of pairs p and q, shape (L, 3, 3).
        G1: E G_p = K_p + G1 / n, shape (L, 3).
    """

    K: Array
    V: Array
    G1: Array


def two_inputs(layer: Layer, K1: Array, depth: int) -> TwoInputs:
    r"""Return mean and covariance of the metric of two inputs at order 1/n, equal widths.

    With f_p = sigma_a sigma_b, y = K^{-1} z, m_q = 2 for the pair 12 and 1 for the others, and
    M_pq = m_q <f_p (y_a y_b - K^{-1}_ab)> / 2 = d<f_p>/dK_q,

    .. math:: V' = C_W^2 (\mathrm{Cov}_K[f_p, f_q] + M V M^T), \quad
              G1'_p = C_W \Big(M G1 + \tfrac 18 \sum_{qr} m_q m_r
                      \langle f_p \mathrm{He}_4(y)_{qr}\rangle V_{qr}\Big).

    Valid for L << n and two inputs that are not parallel; more inputs need `sample_metrics`.
    Cost: 0.1 s per layer. Source: derived here, checked by sampling; Roberts, Yaida & Hanin 2021,
    arXiv:2106.10165, chapter 4.

    Args:
        layer: the layer, without a skip connection.
        K1: covariance of the first preactivations, shape (2, 2), positive definite.
        depth: L.

    Raises:
        UsageError: K1 is not positive definite.

    >>> result = two_inputs(Layer.critical("relu"), np.array([[1.0, 0.3], [0.3, 1.0]]), depth=2)
    >>> result.V[1, 0, 0].round(9).item()
    5.0
    """
    require_depth(depth)
    require_no_skip(layer, "the covariance of the metric of two inputs")
    require(K1.shape == (2, 2), "K1", f"of shape {K1.shape}", "must be 2 x 2")
    require(bool(np.linalg.det(K1) > 1e-12 * K1.trace() ** 2), "K1", K1.tolist(), _NOT_PARALLEL)
    K, V, G1 = K1, np.zeros((3, 3)), np.zeros(3)
    layers = [(K, V, G1)]
    for _ in range(depth - 1):
        K, V, G1 = _next(layer, K, V, G1)
        layers.append((K, V, G1))
    return TwoInputs(*(np.array(parts) for parts in zip(*layers, strict=True)))


_NOT_PARALLEL = "must be positive definite: the inputs may not be parallel"


def _next(layer: Layer, K: Array, V: Array, G1: Array) -> tuple[Array, Array, Array]:
    average = PairAverages(layer.sigma, K)
    inverse: Array = inv(K)
    y = inverse @ average.z
    f = np.array([average.values[a] * average.values[b] for a, b in _PAIRS])
    mean = average.mean(f)
    second = np.array([y[a] * y[b] - inverse[a, b] for a, b in _PAIRS])
    M = np.array([average.mean(f_p * second) for f_p in f]) * _MULTIPLICITY / 2
    covariance = np.array([average.mean((f_p - m) * f) for f_p, m in zip(f, mean, strict=True)])
    bend = np.zeros(3)
    for q, r in product(range(3), repeat=2):
        weight = _MULTIPLICITY[q] * _MULTIPLICITY[r] * V[q, r] / 8
        bend += weight * average.mean(f * _hermite(y, inverse, (*_PAIRS[q], *_PAIRS[r])))
    C_b, C_W = layer.bias_variance, layer.weight_variance
    K_next = C_b + C_W * mean[[[0, 1], [1, 2]]]
    return K_next, C_W**2 * (covariance + M @ V @ M.T), C_W * (M @ G1 + bend)


def _hermite(y: Array, inverse: Array, indices: tuple[int, int, int, int]) -> Array:
    """Return y_a y_b y_c y_d without its pairings: the fourth derivative of the density."""
    a, b, c, d = indices
    splits = ((a, b, c, d), (a, c, b, d), (a, d, b, c))
    product_of_all = y[a] * y[b] * y[c] * y[d]
    for i, j, k, l in splits:
        product_of_all = product_of_all - inverse[i, j] * y[k] * y[l] - inverse[k, l] * y[i] * y[j]
    return product_of_all + sum(inverse[i, j] * inverse[k, l] for i, j, k, l in splits)
