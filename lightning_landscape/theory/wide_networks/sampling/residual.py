"""Finite networks with skip connections, which have no chain in the metric alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lightning_landscape.errors import require
from lightning_landscape.theory.wide_networks.averages import Array
from lightning_landscape.theory.wide_networks.layer import Layer, per_layer, require_depth
from lightning_landscape.theory.wide_networks.sampling._passes import backward, forward

__all__ = ["ResidualSamples", "linear_residual_vertex", "sample_residual"]

_BLOCK = 1 << 16  # preactivations of a layer at a time


class ResidualSamples(NamedTuple):
    """Samples of R networks of width n for one input, with or without skip connections.

    Attributes:
        square: unbiased for E[z_1^2]: its average given the layer below, shape (L, R).
        pair: unbiased for E[z_1^2 z_2^2] of two neurons, shape (L, R).
        T: the tangent kernel of one output of layer L, shape (R,).
    """

    square: Array
    pair: Array
    T: Array

    def vertex(self, width: int) -> tuple[Array, Array]:
        """Return V = n (E[z_1^2 z_2^2] - (E z^2)^2) and its standard error, each (L,)."""
        mean = self.square.mean(1, keepdims=True)
        terms = self.pair - mean * (2 * self.square - mean)  # the error of the mean is second order
        error = terms.std(1, ddof=1) / terms.shape[1] ** 0.5
        return width * terms.mean(1), width * error


def sample_residual(
    layer: Layer,
    K1: float,
    width: int,
    depth: int,
    samples: int,
    seed: int = 0,
    bias_rate: float | Array = 1.0,
    weight_rate: float | Array = 1.0,
) -> ResidualSamples:
    r"""Return samples of finite networks with a skip gamma, without their weights.

    Given layer l, z' - gamma z is N(0, G) for every neuron independently, with the variance

    .. math:: G = C_b + \frac{C_W}{n} \sum_j \sigma(z_j)^2,

    that all neurons share. So n interacting walkers z_j are a Markov chain, exact in law. G alone
    is none: the next G depends on how the z_j are distributed around each other, not only on their
    variance, and there is no finite set of numbers that would be enough but for linear layers
    (`linear_residual_vertex`). What holds on the way back is said at `sample_chain`, and gamma
    times the gradient is added.

    Cost: O(n L) per network, against O(n^2 L) with weights. Source: derived here, checked against
    networks with weights.

    Args:
        layer: the layer.
        K1: preactivation variance of the first layer.
        width: n >= 2.
        depth: L.
        samples: R.
        seed: of the generator.
        bias_rate: lambda_b, one number or one per layer.
        weight_rate: lambda_W, one number or one per layer.

    >>> layer = Layer.critical("linear", skip=0.5**0.5)
    >>> V, error = sample_residual(layer, 1.0, width=16, depth=3, samples=4000).vertex(16)
    >>> bool(abs(V[-1] - linear_residual_vertex(layer, 1.0, 16, 3)[-1]) < 4 * error[-1])
    True
    """
    require_depth(depth)
    require(width >= 2, "width", width, "must be at least 2")
    require(samples >= 1, "samples", samples, "must be at least 1")
    rates = per_layer("bias_rate", bias_rate, depth), per_layer("weight_rate", weight_rate, depth)
    generator = np.random.Generator(np.random.SFC64(seed))
    expected = layer.flow(K1, depth).K
    block, found = max(1, _BLOCK // width), []
    for start in range(0, samples, block):
        R = min(block, samples - start)
        passed = forward(layer, K1, (R, width), depth, generator)
        # in place of z_1^2 z_2^2 its average given the layer below, and what is linear in the rest
        squares, pairs = [np.full(R, K1)], [np.full(R, K1**2)]
        for K, G, z in zip(expected, passed.G[1:], passed.z, strict=False):
            below = pairs[-1] + 2 * K * ((z**2).mean(1) - squares[-1])
            square, pair = _next(G, (z**2).mean(1), layer.skip**2, below)
            squares.append(square)
            pairs.append(pair)
        scale = np.sqrt(np.maximum(passed.G[-1] - layer.bias_variance, 0.0))
        output = scale[:, None] * generator.standard_normal((R, 1))
        T = backward(layer, passed, np.ones((R, 1, 1)), output, rates, generator)
        found.append((np.array(squares), np.array(pairs), T[:, 0, 0]))
    return ResidualSamples(*(np.concatenate(x, axis=-1) for x in zip(*found, strict=True)))


def _next(G: Array, z2: Array, skip: float, pair: Array) -> tuple[Array, Array]:
    """Return E[z_1^2] and E[z_1^2 z_2^2] of a layer given the layer below.

    Args:
        G: variance that the weights give the layer.
        z2: mean square of the layer below.
        skip: gamma^2.
        pair: z_1^2 z_2^2 of the layer below, averaged over pairs.
    """
    return G + skip * z2, G**2 + 2 * skip * G * z2 + skip**2 * pair


def linear_residual_vertex(layer: Layer, K1: float, width: int, depth: int) -> Array:
    """Return n (E[z_1^2 z_2^2] - (E z^2)^2) of linear layers without bias, exact, shape (L,).

    Here |z|^2 is a Markov chain by itself: |z'|^2 / |z|^2 is C_W / n times a noncentral chi squared
    of n degrees of freedom and noncentrality n gamma^2 / C_W, of mean m = C_W + gamma^2 and second
    moment m^2 + 2 C_W (C_W + 2 gamma^2) / n. As the law of z is isotropic, E[z_1^2 z_2^2] =
    E |z|^4 / (n (n + 2)). At criticality it is n K^2 ((1 + 2 (1 - gamma^4) / n)^(l-1) - 1).

    Source: derived here.

    Args:
        layer: a linear one.
        K1: preactivation variance of the first layer.
        width: n.
        depth: L.

    Raises:
        UsageError: the layer is not linear, or has a bias.

    >>> layer = Layer.critical("linear", skip=0.5**0.5)
    >>> linear_residual_vertex(layer, 1.0, width=100, depth=2).round(9).tolist()
    [0.0, 1.5]
    """
    require_depth(depth)
    name, required = layer.sigma.name, "must be linear and without bias"
    require(name == "linear" and layer.bias_variance == 0, "layer", name, required)
    C_W, square = layer.weight_variance, layer.skip**2
    mean = C_W + square
    second = mean**2 + 2 * C_W * (C_W + 2 * square) / width
    l = np.arange(depth)
    return width * K1**2 * (second**l - mean ** (2 * l))
