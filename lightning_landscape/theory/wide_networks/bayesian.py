"""Bayesian predictions of networks of finite width: at order 1/n, and sampled."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from lightning_landscape.errors import require
from lightning_landscape.theory.wide_networks.averages import Array
from lightning_landscape.theory.wide_networks.prediction import Prediction, bayesian
from lightning_landscape.theory.wide_networks.several_inputs.many_inputs import ManyInputs

__all__ = ["bayesian_first_order", "bayesian_sampled"]


def bayesian_first_order(metric: ManyInputs, targets: Array, width: int) -> Prediction:
    r"""Return the posterior of networks of width n that fit the targets exactly, at order 1/n.

    Given the metric G of the last layer an output is Gaussian, so that the posterior is that of
    `bayesian` at G, averaged over G with the weight of the evidence w(G) = N(y; 0, G_AA). To first
    order in the fluctuations delta G, of mean G1/n and covariance V/n,

    .. math:: \langle f\rangle = f + \frac 1n \Big( f' \cdot G_1 + \tfrac 12 f'' : V
              + f' \cdot V \cdot (\log w)' \Big)

    at G = K, for the mean f = m and the covariance f = c; the covariance of m over G, m' V m' / n,
    is added to the second. What the training targets say of G is in the last term: the mean is no
    longer linear in y, and the covariance depends on it.

    Valid for L << n, one output. Cost: Q products of (P, P) matrices, Q = P (P + 1) / 2.

    Source: derived here, checked by sampling; Roberts, Yaida & Hanin 2021, arXiv:2106.10165,
    chapter 6.

    Args:
        metric: of A training inputs, then M test inputs; see `many_inputs`.
        targets: y, shape (A,).
        width: n.

    Raises:
        UsageError: there are as many targets as inputs or more, or K_AA is singular.
    """
    require(
        targets.ndim == 1, "targets", f"of shape {targets.shape}", "must be those of one output"
    )
    leading, A = bayesian(metric.K, targets), len(targets)
    inner = cho_factor(metric.K[:A, :A])
    alpha = cho_solve(inner, targets)
    weights = cho_solve(inner, metric.K[:A, A:]).T  # K_BA K_AA^-1
    project = np.hstack([-weights, np.eye(len(weights))])

    eigenvalues, vectors = np.linalg.eigh(metric.V)
    U = _matrices(metric.pairs, (vectors * np.sqrt(np.maximum(eigenvalues, 0.0))).T)
    mixed = (project @ U)[:, :, :A]  # U_BA - weights U_AA, shape (Q, M, A)
    dm, dc = mixed @ alpha, project @ U @ project.T
    back = np.array([cho_solve(inner, each.T).T for each in mixed])  # times K_AA^-1
    ddm = -2 * (back @ (U[:, :A, :A] @ alpha)[:, :, None])[:, :, 0]
    ddc = -2 * back @ mixed.swapaxes(1, 2)
    trace = np.array([np.trace(cho_solve(inner, each)) for each in U[:, :A, :A]])
    evidence = (np.einsum("a,qab,b->q", alpha, U[:, :A, :A], alpha) - trace) / 2

    shift = _matrices(metric.pairs, metric.G1[None])
    mean = (project @ shift)[0, :, :A] @ alpha + ddm.sum(0) / 2 + evidence @ dm
    covariance = (project @ shift @ project.T)[0] + ddc.sum(0) / 2 + dm.T @ dm
    covariance += np.einsum("q,qbc->bc", evidence, dc)
    return Prediction(leading.mean + mean / width, leading.covariance + covariance / width)


def _matrices(pairs: Array, values: Array) -> Array:
    """Return symmetric matrices, (Q', P, P), from their values at the pairs, (Q', Q)."""
    P = int(pairs.max()) + 1
    found = np.empty((len(values), P, P))
    found[:, pairs[:, 0], pairs[:, 1]] = found[:, pairs[:, 1], pairs[:, 0]] = values
    return found


def bayesian_sampled(G: Array, targets: Array) -> tuple[Prediction, Prediction]:
    """Return the posterior of networks of finite width from samples of the metric, and its error.

    The posterior of `bayesian` at each G, weighted by the evidence N(y; 0, G_AA): exact in the
    limit of many samples, at any width and depth. The weights must not be dominated by a few
    samples, which limits A to a few times n.

    Args:
        G: metrics of the last layer, of A training inputs, then M test inputs, shape (R, P, P); see
            `sample_metrics`.
        targets: y of one output, shape (A,).

    Returns:
        Mean and covariance of the test outputs, and their standard errors, by the jackknife over
        20 blocks of samples.
    """
    A = len(targets)
    inner, across = G[:, :A, :A], G[:, A:, :A]
    solved = np.linalg.solve(inner, np.broadcast_to(targets[:, None], (len(G), A, 1)))[:, :, 0]
    log_w = -np.linalg.slogdet(inner)[1] / 2 - solved @ targets / 2
    w = np.exp(log_w - log_w.max())
    mean = np.einsum("rba,ra->rb", across, solved)
    covariance = G[:, A:, A:] - across @ np.linalg.solve(inner, across.swapaxes(1, 2))
    second = covariance + mean[:, :, None] * mean[:, None, :]
    blocks = np.array_split(np.arange(len(G)), 20)
    sums = [np.array([(w[rows] @ x[rows].reshape(len(rows), -1)) for rows in blocks])
            for x in (np.ones(len(G)), mean, second)]  # fmt: skip
    estimate = _posterior([x.sum(0) for x in sums])
    without = [_posterior([x.sum(0) - x[k] for x in sums]) for k in range(20)]
    errors = (np.sqrt(19 * np.var([each[i] for each in without], axis=0)) for i in range(2))
    return estimate, Prediction(*errors)


def _posterior(sums: list[Array]) -> Prediction:
    total, first, second = sums
    mean = first / total
    return Prediction(mean, (second / total).reshape(len(mean), -1) - np.outer(mean, mean))
