"""The derivative of the tangent kernel in training, sampled from networks with weights."""

from __future__ import annotations

import math
from itertools import combinations_with_replacement, permutations
from typing import NamedTuple

import numpy as np

from lightning_landscape.errors import require
from lightning_landscape.theory.wide_networks.averages import Array, evaluate
from lightning_landscape.theory.wide_networks.layer import Layer, per_layer, require_depth

__all__ = ["KernelDerivative", "sample_kernel_derivative"]

_BLOCK = 1 << 21  # weights at a time


class KernelDerivative(NamedTuple):
    """P and Q of networks of width n, which tend to those of `FirstOrder`; with standard errors.

    Attributes:
        P: n E[dH_{0;11} z_0].
        Q: n E[dH_{0;01} z_1].
        P_error: of P.
        Q_error: of Q.
    """

    P: float
    Q: float
    P_error: float
    Q_error: float


class _Layer(NamedTuple):
    """One layer of R networks: weights to it, and what is known of the layer below."""

    z: Array  # (R, m)
    W: Array  # (R, m, n); W^1 is not needed: (R, m, 0)
    below: tuple[Array, Array, Array]  # sigma, sigma', sigma'' of z, (R, n) each
    square: Array  # |h|^2 / n of the layer below, (R,)
    bias_rate: float
    weight_rate: float


def sample_kernel_derivative(
    layer: Layer,
    K1: float,
    width: int,
    depth: int,
    samples: int,
    outputs: int = 4,
    seed: int = 0,
    bias_rate: float | Array = 1.0,
    weight_rate: float | Array = 1.0,
) -> KernelDerivative:
    r"""Return P and Q of layer L by the second derivative of networks along their gradients.

    With v_a = lambda dz_a / dtheta, the gradient of output a times the rates,

    .. math:: dH_{0;ab} = \sum_{\mu\nu} \lambda_\mu \lambda_\nu z_{0,\mu\nu} z_{a,\mu} z_{b,\nu}
              = \frac{d^2}{ds\,dt} z_0(\theta + s v_a + t v_b) \Big|_0,

    forward through the layers to second order, after one backward pass for the v. Averaged over all
    ordered pairs of k outputs. Kinks of sigma contribute nothing here, and a delta function to the
    averages of `first_order`: for ReLU the two differ.

    Cost: O(k^2 n^2 L) a network. Source: derived here, checked against `first_order`; Roberts,
    Yaida & Hanin 2021, arXiv:2106.10165, chapter 11.

    Args:
        layer: the layer; its sigma must be smooth.
        K1: preactivation variance of the first layer.
        width: n.
        depth: L.
        samples: R.
        outputs: k >= 2, and k <= n: with a skip, outputs continue the first k neurons.
        seed: of the generator.
        bias_rate: lambda_b, one number or one per layer.
        weight_rate: lambda_W, one number or one per layer.

    Raises:
        UsageError: a number is out of range, or sigma has kinks.
    """
    require_depth(depth)
    require(2 <= outputs <= width, "outputs", outputs, f"must be from 2 to {width}, the width")
    require(samples >= 2, "samples", samples, "must be at least 2")
    smooth = not layer.sigma.kinks
    require(smooth, "activation", layer.sigma.name, "must be smooth", "use tanh or gelu")
    rates = per_layer("bias_rate", bias_rate, depth), per_layer("weight_rate", weight_rate, depth)
    generator = np.random.Generator(np.random.SFC64(seed))
    block, parts = max(1, _BLOCK // (width * width * depth)), []
    for start in range(0, samples, block):
        R = min(block, samples - start)
        layers = _networks(layer, K1, (R, width, outputs), rates, generator)
        parts.append(_products(layers, layer.skip))
    P, Q = (width * np.concatenate(each) for each in zip(*parts, strict=True))
    errors = (float(each.std(ddof=1) / math.sqrt(samples)) for each in (P, Q))
    return KernelDerivative(float(P.mean()), float(Q.mean()), *errors)


def _networks(
    layer: Layer,
    K1: float,
    sizes: tuple[int, int, int],
    rates: tuple[Array, Array],
    generator: np.random.Generator,
) -> list[_Layer]:
    """Return the layers of (R, n, k) = ``sizes``: R networks of width n with k outputs."""
    R, n, k = sizes
    C_b, C_W, sigma, depth = layer.bias_variance, layer.weight_variance, layer.sigma, len(rates[0])
    layers: list[_Layer] = []
    m = n if depth > 1 else k
    square, W, below = np.full(R, (K1 - C_b) / C_W), np.zeros((R, m, 0)), (np.zeros((R, 0)),) * 3
    z = math.sqrt(K1) * generator.standard_normal((R, m))
    for l in range(depth):
        layers.append(_Layer(z, W, below, square, float(rates[0][l]), float(rates[1][l])))
        if l == depth - 1:
            break
        m = n if l < depth - 2 else k
        curvature = sigma.curvature
        bend = np.zeros_like(z) if curvature is None else evaluate(curvature, z)
        below = evaluate(sigma.value, z), evaluate(sigma.slope, z), bend
        square = (below[0] ** 2).mean(1)
        W = math.sqrt(C_W / n) * generator.standard_normal((R, m, n))
        bias = math.sqrt(C_b) * generator.standard_normal((R, m))
        z = np.einsum("rmn,rn->rm", W, below[0]) + bias + layer.skip * z[:, :m]
    return layers


def _products(layers: list[_Layer], skip: float) -> tuple[Array, Array]:
    """Return dH_{0;11} z_0 and dH_{0;01} z_1, averaged over pairs of outputs, (R,) each."""
    z, k = layers[-1].z, layers[-1].z.shape[1]
    pairs = list(combinations_with_replacement(range(k), 2))
    a, b = np.array(pairs).T
    first: Array = np.zeros(0)  # z_{,a} of each layer along v_a, (R, k, m)
    second: Array = np.zeros(0)  # along v_a and v_b, (R, pairs, m)
    for each, delta in zip(layers, _deltas(layers, k, skip), strict=True):
        h, slope, bend = (x[:, None, :] for x in each.below)
        own = each.bias_rate + each.weight_rate * each.square[:, None, None]
        if h.shape[2] == 0:  # inputs do not move
            first, second = own * delta, np.zeros((len(z), len(pairs), delta.shape[2]))
            continue
        moved = slope * first
        along = (h * moved).mean(2, keepdims=True)  # h . dh / n
        cross = each.weight_rate * (delta[:, a] * along[:, b] + delta[:, b] * along[:, a])
        inner = bend * first[:, a] * first[:, b] + slope * second
        upwards, kept = each.W.swapaxes(1, 2), delta.shape[2]
        first = own * delta + moved @ upwards + skip * first[:, :, :kept]
        second = cross + inner @ upwards + skip * second[:, :, :kept]
    place = {pair: i for i, pair in enumerate(pairs)}
    ordered = list(permutations(range(k), 2))
    P = [second[:, place[j, j], i] * z[:, i] for i, j in ordered]
    Q = [second[:, place[min(i, j), max(i, j)], i] * z[:, j] for i, j in ordered]
    return np.mean(P, axis=0), np.mean(Q, axis=0)


def _deltas(layers: list[_Layer], k: int, skip: float) -> list[Array]:
    """Return dz^L_a / dz^l for the k outputs a, (R, k, m), for l = 1, ..., L."""
    R = len(layers[0].z)
    delta: Array = np.broadcast_to(np.eye(k), (R, k, k))
    found = [delta]
    for each in reversed(layers[1:]):
        kept = skip * delta
        delta = (delta @ each.W) * each.below[1][:, None, :]
        delta[:, :, : kept.shape[2]] += kept
        found.append(delta)
    return found[::-1]
