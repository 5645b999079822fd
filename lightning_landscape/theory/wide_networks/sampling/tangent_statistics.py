"""Statistics of the tangent kernel at order 1/n, from samples without weights."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lightning_landscape.errors import require
from lightning_landscape.theory.wide_networks.averages import Array
from lightning_landscape.theory.wide_networks.layer import (
    Layer,
    per_layer,
    require_depth,
    require_no_skip,
)
from lightning_landscape.theory.wide_networks.sampling._passes import Forward, backward, forward

__all__ = ["TangentStatistics", "sample_tangent_statistics"]

_BLOCK = 1 << 18  # numbers of a layer, on the way back, at a time


class TangentStatistics(NamedTuple):
    """Statistics of layer L of networks of width n, times n; with their standard errors.

    The names are those of `FirstOrder`, to which they tend as n grows: T is E H_11, T1 missing.

    Attributes:
        values: by name, T, F, D, B and A.
        errors: likewise.
    """

    values: dict[str, float]
    errors: dict[str, float]


def sample_tangent_statistics(
    layer: Layer,
    K1: float,
    width: int,
    depth: int,
    samples: int,
    outputs: int = 8,
    seed: int = 0,
    bias_rate: float | Array = 1.0,
    weight_rate: float | Array = 1.0,
) -> TangentStatistics:
    r"""Return T, F, D, B and A of layer L by forward and backward passes without weights.

    Forwards, neurons are independent given the metric; backwards, k vectors go at once through
    weights of which nothing is known but W h = w. Given the layer below, averages over the last
    weights are done exactly or over many outputs (Rao-Blackwell):

    .. math:: F = \frac{C_W^2}{n} \delta^T H^{L-1} \delta, \quad \delta_j = \sigma_j \sigma'_j,
              \qquad B = n \langle H_{ab}^2\rangle_{a < b},
              \quad A = n \langle \Delta H_{aa} \Delta H_{bb}\rangle_{a < b},
              \quad D = n \langle \Delta G \, \Delta H_{aa}\rangle,

    over networks and over pairs of k outputs, none of which needs a value of z^L. Compare at two
    widths: at order 1/n^2 they differ from `first_order` by a few L/n.

    Cost: O(n k L + k^3) a network, against O(n^3 L) for H from weights. Source: derived here,
    checked against `first_order`.

    Args:
        layer: the layer, without a skip connection.
        K1: preactivation variance of the first layer.
        width: n.
        depth: L >= 2.
        samples: R.
        outputs: k >= 2.
        seed: of the generator.
        bias_rate: lambda_b, one number or one per layer.
        weight_rate: lambda_W, one number or one per layer.
    """
    require_depth(depth)
    require(depth >= 2, "depth", depth, "must be at least 2: one layer has no fluctuations")
    require_no_skip(layer, "the estimator of F")
    require(outputs >= 2, "outputs", outputs, "must be at least 2")
    require(samples >= 2, "samples", samples, "must be at least 2")
    rates = per_layer("bias_rate", bias_rate, depth), per_layer("weight_rate", weight_rate, depth)
    generator = np.random.Generator(np.random.SFC64(seed))
    block, parts = max(1, _BLOCK // (width * outputs)), []
    for start in range(0, samples, block):
        R = min(block, samples - start)
        passed = forward(layer, K1, (R, width), depth, generator)
        parts.append(_of_networks(layer, passed, outputs, rates, generator))
    G, H, F = (np.concatenate(each) for each in zip(*parts, strict=True))
    return _statistics(G, H, width * F, width)


def _of_networks(
    layer: Layer,
    below: Forward,
    outputs: int,
    rates: tuple[Array, Array],
    generator: np.random.Generator,
) -> tuple[Array, Array, Array]:
    """Return G of the last layer, (R,), H of k outputs, (R, k, k), and F / n, (R,)."""
    G, n = below.G[-1], below.h[0].shape[1]
    scale = np.sqrt(np.maximum(G - layer.bias_variance, 0.0))[:, None]
    w = scale * generator.standard_normal((len(G), outputs))
    one_hot = np.broadcast_to(np.eye(outputs), (len(G), outputs, outputs))
    H = backward(layer, below, one_hot, w, rates, generator)
    lower = Forward(below.G[:-1], *(each[:-1] for each in below[1:]))
    delta = (below.h[-1] * below.slopes[-1])[:, :, None]
    to_lower = rates[0][:-1], rates[1][:-1]
    form = backward(layer, lower, delta, below.products[-1], to_lower, generator)[:, 0, 0]
    return G, H, (layer.weight_variance / n) ** 2 * form


def _statistics(G: Array, H: Array, F: Array, n: int) -> TangentStatistics:
    k = H.shape[1]
    diagonal = H.diagonal(axis1=1, axis2=2)
    T = diagonal.mean()
    excess = diagonal - T
    pairs = k * (k - 1)
    terms = {
        "T": diagonal.mean(1),
        "F": F,
        "D": n * (G - G.mean()) * excess.mean(1),
        "B": n * ((H**2).sum((1, 2)) - (diagonal**2).sum(1)) / pairs,
        "A": n * (excess.sum(1) ** 2 - (excess**2).sum(1)) / pairs,
    }
    values = {name: float(each.mean()) for name, each in terms.items()}
    errors = {name: float(each.std(ddof=1) / len(G) ** 0.5) for name, each in terms.items()}
    return TangentStatistics(values, errors)
