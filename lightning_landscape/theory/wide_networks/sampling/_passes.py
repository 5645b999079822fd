"""Forward and backward passes of random networks for one input, without their weights."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lightning_landscape.theory.wide_networks.averages import Array, evaluate
from lightning_landscape.theory.wide_networks.layer import Layer

__all__ = ["Forward", "backward", "forward"]


class Forward(NamedTuple):
    """What is known of R networks after the forward pass; lists are over layers 1, ..., L - 1.

    Attributes:
        G: variance of z^l - gamma z^{l-1} given the layer below, l = 1, ..., L, shape (L, R).
        z: preactivations, shape (R, n) each.
        h: sigma(z).
        slopes: sigma'(z).
        products: W h of the layer below, which is z without bias and skip.
    """

    G: Array
    z: list[Array]
    h: list[Array]
    slopes: list[Array]
    products: list[Array]


def forward(
    layer: Layer, K1: float, shape: tuple[int, int], depth: int, generator: np.random.Generator
) -> Forward:
    """Return the forward pass of (R, n) = ``shape`` networks: W h ~ N(0, C_W |h|^2 / n)."""
    C_b, C_W = layer.bias_variance, layer.weight_variance
    found = Forward(np.full((depth, shape[0]), K1), [], [], [], [])
    for l in range(depth - 1):
        w = generator.standard_normal(shape)
        w *= np.sqrt(np.maximum(found.G[l] - C_b, 0.0))[:, None]
        z = w + math.sqrt(C_b) * generator.standard_normal(shape) if C_b else w.copy()
        if l:
            z += layer.skip * found.z[-1]
        found.products.append(w)
        found.z.append(z)
        found.h.append(evaluate(layer.sigma.value, z))
        found.slopes.append(evaluate(layer.sigma.slope, z))
        found.G[l + 1] = C_b + C_W * (found.h[-1] ** 2).mean(1)
    return found


def backward(
    layer: Layer,
    below: Forward,
    delta: Array,
    products: Array,
    rates: tuple[Array, Array],
    generator: np.random.Generator,
) -> Array:
    r"""Return delta_a^T H delta_b, shape (R, k, k), H the tangent kernel of a layer's neurons.

    Given W h = w the vectors go back by

        W^T delta = h (w . delta) / |h|^2 + (1 - h h^T / |h|^2) xi,

    with the columns of xi jointly Gaussian of covariance C_W delta^T delta / n, exact in law.

    Args:
        layer: the layer.
        below: the layers below the neurons.
        delta: k vectors over the neurons, shape (R, m, k).
        products: W h of the neurons, shape (R, m).
        rates: lambda_b and lambda_W of the layers up to that of the neurons.
        generator: of xi.
    """
    C_b, C_W, (lam_b, lam_W) = layer.bias_variance, layer.weight_variance, rates
    R, n = below.h[0].shape if below.h else (len(delta), 1)
    H = np.zeros((R, delta.shape[2], delta.shape[2]))
    w = products
    for l in range(len(lam_b) - 1, -1, -1):
        overlap = delta.swapaxes(1, 2) @ delta
        squares = (below.G[l] - C_b) / C_W  # |h|^2 / n, also of the inputs
        H += overlap * (lam_b[l] + lam_W[l] * squares)[:, None, None]
        if l == 0:
            break
        values, vectors = np.linalg.eigh(overlap)
        root = vectors * np.sqrt(np.maximum(values, 0.0) * C_W / n)[:, None, :]
        back = generator.standard_normal((R, n, delta.shape[2])) @ root.swapaxes(1, 2)
        h = below.h[l - 1]
        along = np.einsum("rm,rmk->rk", w, delta) - np.einsum("rn,rnk->rk", h, back)
        norm = n * squares
        back += h[:, :, None] * (along / np.where(norm > 0, norm, 1.0)[:, None])[:, None, :]
        back *= below.slopes[l - 1][:, :, None]
        if layer.skip:
            back[:, : delta.shape[1]] += layer.skip * delta
        delta, w = back, below.products[l - 1]
    return H
