"""Samples of metrics and tangent kernels of finite networks, without their weights."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lightning_landscape.errors import require
from lightning_landscape.theory.wide_networks.averages import Array, evaluate
from lightning_landscape.theory.wide_networks.layer import (
    Layer,
    per_layer,
    require_depth,
    require_no_skip,
)

__all__ = [
    "Chain",
    "sample_chain",
    "sample_metrics",
]

_BLOCK = 1 << 16  # preactivations of a layer at a time


class Chain(NamedTuple):
    """Samples of R networks for one input.

    Attributes:
        G: the metric of every layer, shape (L, R).
        T: the tangent kernel of one output of layer L, shape (R,).
    """

    G: Array
    T: Array


def sample_chain(
    layer: Layer,
    K1: float,
    width: int,
    depth: int,
    samples: int,
    seed: int = 0,
    bias_rate: float | Array = 1.0,
    weight_rate: float | Array = 1.0,
) -> Chain:
    r"""Return samples of the metric and of the tangent kernel of networks of equal width.

    Given layer l the preactivations of layer l + 1 are N(0, G), so that no weight is needed on the
    way forward. On the way back, given h = sigma(z) and w = W h,

    .. math:: W^T \delta = h \frac{w \cdot \delta}{|h|^2}
              + \Big(1 - \frac{h h^T}{|h|^2}\Big) \xi, \quad
              \xi \sim N(0, C_W |\delta|^2 / n),

    which is exact in law. Rates as in `first_order`.

    Cost: O(n L) per network, against O(n^2 L) with weights: 79 times less at n = 64, L = 8.

    Source: derived here, checked against networks with weights.

    Args:
        layer: the layer, without a skip connection.
        K1: preactivation variance of the first layer.
        width: n.
        depth: L.
        samples: R.
        seed: of the generator.
        bias_rate: lambda_b, one number or one per layer.
        weight_rate: lambda_W, one number or one per layer.

    >>> chain = sample_chain(Layer.critical("relu"), K1=1.0, width=64, depth=4, samples=2000)
    >>> chain.G.shape, bool(abs(chain.G[-1].mean() - 1) < 0.05)
    ((4, 2000), True)
    """
    require_depth(depth)
    require_no_skip(layer, "a chain without weights")
    require(width >= 1, "width", width, "must be at least 1")
    require(samples >= 1, "samples", samples, "must be at least 1")
    lam_b = per_layer("bias_rate", bias_rate, depth)
    lam_W = per_layer("weight_rate", weight_rate, depth)
    generator = np.random.Generator(np.random.SFC64(seed))
    block = max(1, _BLOCK // width)
    blocks = []
    for start in range(0, samples, block):
        R = min(block, samples - start)
        blocks.append(_networks(layer, K1, (R, width), lam_b, lam_W, generator))
    return Chain(*(np.concatenate(parts, axis=-1) for parts in zip(*blocks, strict=True)))


def _networks(
    layer: Layer,
    K1: float,
    shape: tuple[int, int],
    lam_b: Array,
    lam_W: Array,
    generator: np.random.Generator,
) -> tuple[Array, Array]:
    R, n = shape
    C_b, C_W, sigma, depth = layer.bias_variance, layer.weight_variance, layer.sigma, len(lam_b)
    G = np.full((depth, R), K1)
    h, slopes, products = [], [], []  # sigma(z), sigma'(z), z - b
    for l in range(depth - 1):
        w = _normal(generator, shape, G[l] - C_b)
        z = w + math.sqrt(C_b) * generator.standard_normal(shape) if C_b else w
        h.append(evaluate(sigma.value, z))
        slopes.append(evaluate(sigma.slope, z))
        products.append(w)
        G[l + 1] = C_b + C_W / n * _dots(h[l], h[l])
    delta = np.ones((R, 1))
    w = _normal(generator, (R, 1), G[-1] - C_b)
    T = np.zeros(R)
    for l in range(depth - 1, -1, -1):
        squared = _dots(delta, delta)
        T += squared * (lam_b[l] + lam_W[l] * (G[l] - C_b) / C_W)
        if l > 0:
            back, below = _normal(generator, shape, C_W / n * squared), h[l - 1]
            norm = n * (G[l] - C_b) / C_W  # |h|^2
            along = _dots(w, delta) - _dots(below, back)
            below *= (along / np.where(norm > 0, norm, 1.0))[:, None]
            back += below
            back *= slopes[l - 1]
            delta, w = back, products[l - 1]
    return G, T


def _normal(generator: np.random.Generator, shape: tuple[int, int], variance: Array) -> Array:
    """Return normal numbers of a variance for each row."""
    numbers = generator.standard_normal(shape)
    numbers *= np.sqrt(np.maximum(variance, 0.0))[:, None]
    return numbers


def _dots(a: Array, b: Array) -> Array:
    return np.einsum("rn,rn->r", a, b)


def sample_metrics(
    layer: Layer, K1: Array, width: int, depth: int, samples: int, seed: int = 0
) -> Array:
    """Return samples of the metric of P inputs in every layer, shape (L, R, P, P).

    G' = C_b + (C_W / n) sum_j sigma(z_j) sigma(z_j)^T with n independent rows z_j ~ N(0, G).
    Cost: O(n P^2 + P^3) per network and layer.

    Args:
        layer: the layer, without a skip connection.
        K1: covariance of the first preactivations, shape (P, P); see `input_kernel`.
        width: n.
        depth: L.
        samples: R.
        seed: of the generator.
    """
    require_depth(depth)
    require_no_skip(layer, "a chain without weights")
    generator = np.random.Generator(np.random.SFC64(seed))
    C_b, C_W, P = layer.bias_variance, layer.weight_variance, len(K1)
    G = np.empty((depth, samples, P, P))
    G[0] = K1
    for l in range(depth - 1):
        eigenvalues, vectors = np.linalg.eigh(G[l])
        root = vectors * np.sqrt(np.maximum(eigenvalues, 0.0))[:, None, :]
        z = generator.standard_normal((samples, width, P)) @ root.swapaxes(1, 2)
        h = evaluate(layer.sigma.value, z)
        G[l + 1] = C_b + C_W / width * (h.swapaxes(1, 2) @ h)
    return G
