"""Fluctuations of the metric of any number of inputs at order 1/n."""

from __future__ import annotations

from itertools import combinations, combinations_with_replacement
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import qmc

from lightning_landscape.errors import require
from lightning_landscape.theory.wide_networks.averages import Array, evaluate
from lightning_landscape.theory.wide_networks.layer import Layer, require_depth, require_no_skip
from lightning_landscape.theory.wide_networks.several_inputs._pair_expansion import expand

__all__ = ["ManyInputs", "many_inputs"]


class ManyInputs(NamedTuple):
    """The metric G of P inputs in one layer; pairs a <= b in the order of ``pairs``.

    Attributes:
        pairs: shape (Q, 2), Q = P (P + 1) / 2.
        K: E G at infinite width, shape (P, P).
        V: Cov(G_p, G_q) = V / n of pairs p and q, shape (Q, Q).
        G1: E G_p = K_p + G1 / n, shape (Q,).
    """

    pairs: Array
    K: Array
    V: Array
    G1: Array


def many_inputs(
    layer: Layer, K1: ArrayLike, depth: int, log2_points: int = 14, seed: int = 0
) -> ManyInputs:
    r"""Return mean and covariance of the metric of layer L = ``depth`` at order 1/n, equal widths.

    As for `two_inputs`. The change of <sigma_a sigma_b> with the metric involves the inputs a and b
    only and is done by quadrature; so is all that involves two inputs. The averages
    <sigma_a sigma_b sigma_c sigma_d> of three or four are sums over 2^14 points of a scrambled
    Sobol sequence, to about 1e-3 of V.

    Valid for L << n, no two inputs parallel. Cost: 0.1 s per pair of inputs and layer.

    Source: derived here, checked by sampling; Roberts, Yaida & Hanin 2021, arXiv:2106.10165,
    chapter 4.

    Args:
        layer: the layer, without a skip connection.
        K1: covariance of the first preactivations, shape (P, P), P >= 2, positive definite.
        depth: L.
        log2_points: logarithm of the number of points.
        seed: of their scrambling.

    Raises:
        UsageError: K1 is not positive definite.
    """
    require_depth(depth)
    require_no_skip(layer, "the covariance of the metric of several inputs")
    K1 = np.asarray(K1, dtype=float)
    square = K1.ndim == 2 and K1.shape[0] == K1.shape[1] >= 2 and np.allclose(K1, K1.T)
    require(
        square, "K1", f"of shape {K1.shape}", "must be a symmetric matrix of two inputs or more"
    )
    least = float(np.linalg.eigvalsh(K1)[0] / K1.trace())
    require(least > 1e-12, "K1", f"of least eigenvalue {least:.1g}", "must be positive definite")
    P = len(K1)
    pairs = np.array(list(combinations_with_replacement(range(P), 2)))
    points = qmc.MultivariateNormalQMC(np.zeros(P), seed=seed).random(2**log2_points)
    x = ManyInputs(pairs, K1, np.zeros((len(pairs), len(pairs))), np.zeros(len(pairs)))
    for _ in range(depth - 1):
        x = _next(layer, x, points)
    return x


def _next(layer: Layer, x: ManyInputs, points: Array) -> ManyInputs:
    C_b, C_W, P = layer.bias_variance, layer.weight_variance, len(x.K)
    place = {(int(a), int(b)): k for k, (a, b) in enumerate(x.pairs)}
    values = evaluate(layer.sigma.value, points @ np.linalg.cholesky(x.K).T)
    f = values[:, x.pairs[:, 0]] * values[:, x.pairs[:, 1]]
    f -= f.mean(0)
    fresh = f.T @ f / len(f)
    mean, slope = np.empty(len(x.pairs)), np.zeros_like(x.V)
    G1 = np.empty(len(x.pairs))
    for a, b in combinations(range(P), 2):
        own = [place[a, a], place[a, b], place[b, b]]
        block = np.ix_(own, own)
        each = expand(layer, x.K[np.ix_([a, b], [a, b])])
        fresh[block], slope[block], mean[own] = each.covariance, each.slope, each.mean
        G1[own] = each.slope @ x.G1[own] + np.einsum("pqr,qr->p", each.bend, x.V[block])
    K = np.empty((P, P))
    K[x.pairs[:, 0], x.pairs[:, 1]] = K[x.pairs[:, 1], x.pairs[:, 0]] = C_b + C_W * mean
    return ManyInputs(x.pairs, K, C_W**2 * (fresh + slope @ x.V @ slope.T), C_W * G1)
