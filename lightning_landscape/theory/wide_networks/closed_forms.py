"""Fluctuations of critical ReLU and linear networks, exact at any width."""

from __future__ import annotations

import numpy as np

from lightning_landscape.errors import require
from lightning_landscape.theory.wide_networks.averages import Array
from lightning_landscape.theory.wide_networks.layer import require_depth

__all__ = ["linear_metric_variance", "relu_metric_variance", "relu_tangent_variance"]


def relu_metric_variance(width: int, depth: int) -> Array:
    """Return Var G / K^2 = (1 + 5/n)^(l-1) - 1 of ReLU with C_W = 2, C_b = 0, shape (L,).

    The metric is a product of independent factors (2/n) sum_j relu(g_j)^2, g ~ N(0, 1), of mean 1
    and variance 5/n. Source: derived here.

    >>> relu_metric_variance(width=50, depth=6)[-1:].round(7).tolist()
    [0.61051]
    """
    require_depth(depth)
    require(width >= 1, "width", width, "must be at least 1")
    return np.float64(1 + 5 / width) ** np.arange(depth, dtype=float) - 1


def linear_metric_variance(width: int, depth: int) -> Array:
    """Return Var G / K^2 = (1 + 2/n)^(l-1) - 1 of linear layers with C_W = 1, shape (L,).

    >>> linear_metric_variance(width=50, depth=11)[-1:].round(7).tolist()
    [0.4802443]
    """
    require_depth(depth)
    require(width >= 1, "width", width, "must be at least 1")
    return np.float64(1 + 2 / width) ** np.arange(depth, dtype=float) - 1


def relu_tangent_variance(width: int, depth: int) -> float:
    """Return Var H / (E H)^2 of the tangent kernel of one ReLU output, exact at any width.

    (1/L^2) sum_{ij} (1 + 5/n)^(L-1-|i-j|) (1 + 1/n)^|i-j| - 1, for C_W = 2, no biases, equal rates
    of all weights and L = depth; about 11 L / (3 n) for 1 << L << n. The mean is its value at
    infinite width, K L / 2 times the rate. Source: derived here, checked by sampling.

    >>> round(relu_tangent_variance(width=50, depth=11), 3)
    1.008
    """
    require_depth(depth)
    require(width >= 1, "width", width, "must be at least 1")
    distance = np.abs(np.subtract.outer(np.arange(depth), np.arange(depth)))
    paths = (1 + 5 / width) ** (depth - 1 - distance) * (1 + 1 / width) ** distance
    return float(paths.mean()) - 1
