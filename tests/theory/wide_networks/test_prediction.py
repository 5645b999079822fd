"""Predictions of trained ensembles, for a model that is linear in its parameters."""

import numpy as np
import pytest

from lightning_landscape.errors import UsageError
from lightning_landscape.theory.wide_networks import bayesian, gradient_descent

A, M, N = 4, 3, 12
rng = np.random.default_rng(0)
FEATURES, RATES, TARGETS = rng.normal(size=(A + M, N)), rng.uniform(0.5, 2, N), rng.normal(size=A)
K, THETA = FEATURES @ FEATURES.T, FEATURES * RATES @ FEATURES.T


def trained(w):
    """The parameters after gradient descent with a rate for each, to the end."""
    train, eta = FEATURES[:A], 1 / np.linalg.eigvalsh(THETA[:A, :A])[-1]
    for _ in range(3000):
        w = w - eta * RATES * (train.T @ (train @ w - TARGETS))
    return w


def test_gradient_descent_on_a_linear_model():
    """Parameters w ~ N(0, 1): the map from w to the outputs is affine, its linear part exact."""
    start = np.column_stack([np.zeros(N), np.eye(N)])
    outputs = np.array([FEATURES[A:] @ trained(w) for w in start.T])
    result = gradient_descent(K, THETA, TARGETS)
    np.testing.assert_allclose(result.mean, outputs[0], rtol=1e-9)
    linear = outputs[1:] - outputs[0]
    np.testing.assert_allclose(result.covariance, linear.T @ linear, rtol=1e-8, atol=1e-9)


def test_bayes_is_conditioning():
    precision = np.linalg.inv(K + 1e-12 * np.eye(A + M))[A:, A:]
    result = bayesian(K, np.column_stack([TARGETS, 2 * TARGETS]))
    np.testing.assert_allclose(result.covariance, np.linalg.inv(precision), rtol=1e-6)
    np.testing.assert_allclose(result.mean[:, 1], 2 * result.mean[:, 0], rtol=1e-12)
    np.testing.assert_allclose(result.mean[:, 0], K[A:, :A] @ np.linalg.inv(K[:A, :A]) @ TARGETS)


def test_misuse():
    with pytest.raises(UsageError, match="invertible"):
        bayesian(np.ones((3, 3)), np.ones(2))
    with pytest.raises(UsageError, match="kernel"):
        bayesian(np.eye(3), np.ones(3))
