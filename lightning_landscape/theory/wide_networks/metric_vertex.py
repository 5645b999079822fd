"""The variance of the metric at order 1/n, with skip connections."""

from __future__ import annotations

from typing import NamedTuple

from lightning_landscape.theory.wide_networks.averages import Array
from lightning_landscape.theory.wide_networks.layer import Layer
from lightning_landscape.theory.wide_networks.residual_first_order import residual_first_order

__all__ = ["MetricVertex", "metric_vertex"]


class MetricVertex(NamedTuple):
    """Moments of the preactivations of one input at order 1/n; each of shape (L,).

    Attributes:
        K: E z_1^2 at infinite width.
        V: E[z_1^2 z_2^2] - (E z^2)^2 = V / n, for neurons 1 and 2.
        T3: E[z_1 z_2^2] = T3 / n; 0 without a skip connection, and for odd activations.
    """

    K: Array
    V: Array
    T3: Array


def metric_vertex(layer: Layer, K1: float, depth: int) -> MetricVertex:
    r"""Return the four-point vertex V of layers of equal width n, with or without a skip gamma.

    With g = <sigma^2>_K, chi = C_W dg/dK + gamma^2, the normalized Hermite polynomials h_a of
    z / sqrt(K), c_a = <sigma^2 h_a> and t_a / n = E[h_a(z_1) z_2^2],

    .. math:: V' = \chi^2 V + C_W^2 (\langle\sigma^4\rangle - g^2)
                   + 2 \gamma^2 C_W (\langle\sigma^2 z^2\rangle - K g)
                   + 2 C_W \chi \sum_{a \ne 0, 2} c_a t_a, \quad
              t_a' = (\gamma^2 K / K')^{a/2} (C_W c_a + \chi t_a).

    Without a skip the law of z is even, all t_a vanish and the sum with them. With one, a neuron
    that raised the variance of all others remembers how: t_1 is that it was positive, and the sum
    over all a is the covariance of sigma^2 of one neuron in different layers, whose z have the
    correlation gamma^m after m layers of constant K. For odd sigma only even a contribute. For ReLU
    at gamma^2 = 1/2, V / K^2 per layer tends to 5.44 with all of them, 5.32 with a = 1 alone and
    2.25 without any.

    It is the part of `residual_first_order` that concerns the metric. Valid for L << n.

    Source: derived here, checked by sampling; without a skip, Roberts, Yaida & Hanin 2021,
    arXiv:2106.10165, chapter 4.

    Args:
        layer: the layer.
        K1: preactivation variance of the first layer.
        depth: L.

    >>> vertex = metric_vertex(Layer.critical("relu", skip=0.5**0.5), K1=1.0, depth=6)
    >>> (vertex.V[-1] / 5).round(3).item()
    3.678
    """
    found = residual_first_order(layer, K1, depth)
    return MetricVertex(found.K, found.V, found.T3)
