"""Moments of the metric from samples, with less variance than the samples themselves have."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lightning_landscape.errors import require
from lightning_landscape.theory.wide_networks.averages import (
    Array,
    GaussianAverages,
    evaluate,
    gaussian_nodes,
)
from lightning_landscape.theory.wide_networks.layer import Layer, require_no_skip

__all__ = ["MetricMoments", "next_metric_moments", "pooled_metric_variance"]


class MetricMoments(NamedTuple):
    """Mean and variance of a metric over networks, with standard errors."""

    mean: float
    variance: float
    mean_error: float
    variance_error: float


def next_metric_moments(layer: Layer, G: Array, width: int) -> MetricMoments:
    r"""Return mean and variance of the metric one layer above sampled ones, shape (R,).

    The average over the last layer is done exactly (Rao-Blackwell): with M(G) = C_b +
    C_W <sigma^2>_G, Var G' = Var M(G) + <C_W^2 Var(sigma^2)_G> / n over the samples. Hundreds of
    times less variance than the kurtosis of an output of as many networks. Without heavy tails
    only: where the variance of log G exceeds 1/4 log(R / 10), trust `pooled_metric_variance`.

    Args:
        layer: the layer above G.
        G: metrics of independent networks.
        width: n, of the layer with the metric G.
    """
    require_no_skip(layer, "the average over a layer")
    require(bool((G > 0).all()), "G", float(G.min()), "must be positive: a network is dead")
    scale = np.sqrt(G)[:, None]
    high = scale.max()
    if layer.sigma.kinks not in ((), (0.0,)) or high > 6:
        M, fresh = np.array([_layer_moments(layer, K) for K in G]).T
    else:  # nodes that suit the largest, and the kink at 0, suit all
        z, weights = gaussian_nodes(float(high**2), layer.sigma.kinks)
        square = evaluate(layer.sigma.value, scale * (z / high)) ** 2
        mean = square @ weights
        M = layer.weight_variance * mean
        fresh = layer.weight_variance**2 * (square**2 @ weights - mean**2)
    R = len(G)
    mean, spread = M.mean(), (M - M.mean()) ** 2
    terms = spread * R / (R - 1) + fresh / width
    return MetricMoments(
        float(layer.bias_variance + mean),
        float(terms.mean()),
        float(np.sqrt(spread.sum() / (R - 1) / R)),
        float(terms.std(ddof=1) / math.sqrt(R)),
    )


def _layer_moments(layer: Layer, K: float) -> tuple[float, float]:
    average = GaussianAverages(layer.sigma, float(K))
    C_W = layer.weight_variance
    return C_W * average.square, C_W**2 * average.square_variance


def pooled_metric_variance(G: Array) -> tuple[float, float]:
    """Return Var G / (E G)^2 of the last layer and its error, for a scale-invariant activation.

    Without biases G^L is a product of L - 1 independent factors X of one law, so that
    E G^2 / (E G)^2 = (E X^2 / (E X)^2)^(L-1), the mean over all networks and layers. X has no heavy
    tail, where G^L has one. Valid for ReLU, leaky ReLU and linear at C_b = 0.

    Args:
        G: metrics of the layers, shape (L, R), L >= 2.
    """
    require(len(G) >= 2, "G", G.shape, "must have at least two layers")
    X = (G[1:] / G[:-1]).ravel()
    mean, square, power = X.mean(), (X**2).mean(), len(G) - 1
    ratio = square / mean**2
    error = (X**2 / square - 2 * X / mean).std(ddof=1) / math.sqrt(len(X))  # of log ratio
    return float(ratio**power - 1), float(power * ratio**power * error)
