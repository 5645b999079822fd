"""Bayesian predictions at order 1/n against sampled ones, and the metric of many inputs."""

import numpy as np
import pytest
from scipy import integrate

from lightning_landscape.errors import UsageError
from lightning_landscape.theory.wide_networks import (
    Layer,
    bayesian,
    bayesian_first_order,
    bayesian_sampled,
    first_order,
    many_inputs,
    metric_law,
    sample_metrics,
    two_inputs,
)

TANH = Layer.critical("tanh")
K1 = np.array([[1.0, 0.3, -0.2, 0.5], [0.3, 0.8, 0.1, 0.2], [-0.2, 0.1, 1.2, 0.4],
               [0.5, 0.2, 0.4, 0.9]])  # fmt: skip


def test_many_inputs_contain_the_pairs():
    many, two = many_inputs(TANH, K1, 3), two_inputs(TANH, K1[1:3, 1:3], 3)
    own = [k for k, (a, b) in enumerate(many.pairs) if {a, b} <= {1, 2}]
    np.testing.assert_allclose(many.K[1:3, 1:3], two.K[-1], rtol=1e-10)
    np.testing.assert_allclose(many.V[np.ix_(own, own)], two.V[-1], rtol=1e-9)
    np.testing.assert_allclose(many.G1[own], two.G1[-1], rtol=1e-9)


def test_many_inputs_against_samples():
    """n Cov(G_p, G_q) of all pairs at two widths; three and four distinct inputs among them."""
    many, R = many_inputs(TANH, K1, 3), 20_000
    rows, columns = many.pairs.T
    found = []
    for n in (32, 64):
        G = sample_metrics(TANH, K1, n, 3, R, seed=n)[-1][:, rows, columns]
        found.append(n * np.cov(G.T))
    limit = 2 * found[1] - found[0]
    error = 3 * np.sqrt((many.V**2 + np.outer(many.V.diagonal(), many.V.diagonal())) / R)
    np.testing.assert_array_less(np.abs(limit - many.V), 4 * error)


def test_linear_layers():
    """Wishart: n Cov(G_ab, G_cd) = (l - 1) (K_ac K_bd + K_ad K_bc); the mean is K."""
    many = many_inputs(Layer.critical("linear"), K1, 3)
    a, b = many.pairs.T
    wick = K1[np.ix_(a, a)] * K1[np.ix_(b, b)] + K1[np.ix_(a, b)] * K1[np.ix_(b, a)]
    np.testing.assert_allclose(many.V, 2 * wick, atol=0.02)
    np.testing.assert_allclose(many.G1, 0, atol=1e-9)


def test_one_training_input_against_the_exact_law():
    """A prior of one input: the posterior of G itself, by integration of its density."""
    n, y, depth = 64, 0.9, 3
    law = metric_law(TANH, 1.0, n, depth)
    series = first_order(TANH, 1.0, depth)

    def weight(G):
        return law.density(G, depth) * np.exp(-(y**2) / (2 * G)) / np.sqrt(G)

    total, mean = (
        integrate.quad(lambda G, k=k: weight(G) * G**k, 0.05, 0.8, limit=200)[0] for k in (0, 1)
    )
    K, V, G1 = series.K[-1], series.V[-1], series.G1[-1]
    predicted = K + (G1 + V * (y**2 / K**2 - 1 / K) / 2) / n
    assert mean / total == pytest.approx(predicted, abs=0.1 * abs(predicted - K))


def test_the_next_order_against_samples():
    """Mean and variance of a test output, for targets larger than the prior expects."""
    targets, depth, K = np.array([1.2, -0.8]), 3, K1[np.ix_([0, 2, 3], [0, 2, 3])]
    metric = many_inputs(TANH, K, depth)
    leading, first = bayesian(metric.K, targets), bayesian_first_order(metric, targets, 1)
    found = []
    for n in (32, 64):
        G = sample_metrics(TANH, K, n, depth, 20_000, seed=n)[-1]
        estimate, error = bayesian_sampled(G, targets)
        found.append(
            [(n * (x - y), n * e) for x, y, e in zip(estimate, leading, error, strict=True)]
        )
    for k in (0, 1):
        (narrow, e1), (wide, e2) = found[0][k], found[1][k]
        correction, error = first[k] - leading[k], np.hypot(2 * e2, e1)
        np.testing.assert_array_less(np.abs(2 * wide - narrow - correction), 4 * error)
    assert correction > 1.7 > 20 * error


@pytest.mark.parametrize("targets", [[1.2, -0.8, 0.3], [0.1, 0.0, -0.2]])
def test_the_next_order_by_quadrature(targets):
    """Metrics at +- sqrt(Q) times the principal axes of V / n have its mean and covariance."""
    metric, targets, n = many_inputs(TANH, K1, 2), np.array(targets), 10**5
    eigenvalues, vectors = np.linalg.eigh(metric.V)
    axes = (vectors * np.sqrt(eigenvalues * len(eigenvalues) / n)).T
    rows, columns = metric.pairs.T
    G = np.broadcast_to(metric.K, (2 * len(axes), 4, 4)).copy()
    step = metric.G1 / n + np.concatenate([axes, -axes])
    G[:, rows, columns] += step
    G[:, columns, rows] = G[:, rows, columns]
    leading = bayesian(metric.K, targets)
    for found, first, known in zip(
        bayesian_sampled(np.repeat(G, 20, axis=0), targets)[0],
        bayesian_first_order(metric, targets, n),
        leading,
        strict=True,
    ):
        np.testing.assert_allclose(n * (first - known), n * (found - known), rtol=2e-3, atol=2e-4)


def test_infinite_width():
    metric = many_inputs(TANH, K1, 2)
    leading, wide = bayesian(metric.K, np.ones(3)), bayesian_first_order(metric, np.ones(3), 10**12)
    np.testing.assert_allclose(wide.mean, leading.mean, rtol=1e-9)
    sharp, error = bayesian_sampled(np.broadcast_to(metric.K, (40, 4, 4)), np.ones(3))
    np.testing.assert_allclose(sharp.covariance, leading.covariance, rtol=1e-9)
    np.testing.assert_allclose(error.mean, 0, atol=1e-12)


def test_misuse():
    with pytest.raises(UsageError, match="positive definite"):
        many_inputs(TANH, np.ones((3, 3)), 2)
    with pytest.raises(UsageError, match="two inputs or more"):
        many_inputs(TANH, np.ones((1, 1)), 2)
    with pytest.raises(UsageError, match="one output"):
        bayesian_first_order(many_inputs(TANH, K1, 1), np.ones((2, 2)), 10)
