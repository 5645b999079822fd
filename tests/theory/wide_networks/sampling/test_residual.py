"""Networks with skip connections: sampled with and without weights, expanded, and exact."""

import numpy as np
import pytest

from lightning_landscape.errors import UsageError
from lightning_landscape.theory.wide_networks import (
    Layer,
    first_order,
    kernels,
    linear_residual_vertex,
    relu_tangent_variance,
    sample_residual,
)


def with_weights(layer, K1, n, L, R, seed):
    """Preactivations (L, R, n) and the tangent kernel of output 0 of networks with weights."""
    rng, gamma = np.random.default_rng(seed), layer.skip
    value = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh}[layer.sigma.name]
    slope = {"relu": lambda z: (z > 0) * 1.0, "tanh": lambda z: 1 - np.tanh(z) ** 2}
    slope = slope[layer.sigma.name]
    z = [np.sqrt(K1) * rng.standard_normal((R, n))]
    H = np.broadcast_to((1 + (K1 - layer.bias_variance) / layer.weight_variance) * np.eye(n),
                        (R, n, n))  # fmt: skip
    for _ in range(L - 1):
        W = rng.standard_normal((R, n, n)) * np.sqrt(layer.weight_variance / n)
        b = rng.standard_normal((R, n)) * np.sqrt(layer.bias_variance)
        h = value(z[-1])
        J = W * slope(z[-1])[:, None, :] + gamma * np.eye(n)
        H = J @ H @ J.swapaxes(1, 2) + (1 + (h**2).mean(1))[:, None, None] * np.eye(n)
        z.append(b + np.einsum("rij,rj->ri", W, h) + gamma * z[-1])
    return np.array(z), H[:, 0, 0]


def agree(a, b, sigmas=4.0):
    error = np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    assert abs(a.mean() - b.mean()) < sigmas * error
    return error


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_against_networks_with_weights(name):
    """Moments of z and the law of the tangent kernel of narrow networks, with bias and skip."""
    layer, n, L = Layer(name, 0.9, 0.2, skip=0.6), 4, 4
    z, T = with_weights(layer, 1.3, n, L, 20_000, seed=0)
    found = sample_residual(layer, 1.3, n, L, 40_000, seed=1)
    error = agree((z[-1] ** 2).mean(1), found.square[-1])
    assert error < 0.02 * found.square[-1].mean()
    agree(z[-1][:, 0] ** 2 * z[-1][:, 1] ** 2, found.pair[-1])
    agree(T, found.T)
    agree(np.log(T) ** 2, np.log(found.T) ** 2)
    agree(T**0.5, found.T**0.5)


def test_linear_layers_are_exact():
    layer, n = Layer("linear", 0.7, skip=0.6), 8
    exact = linear_residual_vertex(layer, 2.0, n, 5)
    V, error = sample_residual(layer, 2.0, n, 5, 100_000, seed=2).vertex(n)
    np.testing.assert_array_less(np.abs(V - exact)[1:], 4 * error[1:])
    assert error[-1] < 0.03 * exact[-1]
    critical = Layer.critical("linear", skip=0.6)
    exact = linear_residual_vertex(critical, 3.0, 1_000_000, 7)
    np.testing.assert_allclose(exact, first_order(critical, 3.0, 7).V, rtol=1e-5)


def test_the_memory_of_all_orders():
    """An odd sigma, for which a = 1 vanishes: without the even a > 2 V would be 0.363."""
    layer, depth = Layer("sin", 0.5, skip=0.9), 4
    result = first_order(layer, 2.0, depth)
    np.testing.assert_allclose(result.T3, 0, atol=1e-12)
    assert result.V[-1] == pytest.approx(0.4251, abs=1e-4)
    narrow, wide = (
        sample_residual(layer, 2.0, n, depth, 50_000, seed=n).vertex(n) for n in (16, 32)
    )
    found, error = 2 * wide[0] - narrow[0], np.hypot(2 * wide[1], narrow[1])
    np.testing.assert_array_less(np.abs(found - result.V)[1:], 4 * error[1:])
    assert error[-1] < 0.014


def test_the_tangent_kernel():
    """Its mean at two widths leads to that of infinite width; without a skip ReLU is known."""
    layer, R = Layer.critical("relu", skip=0.5**0.5), 10_000
    narrow, wide = (sample_residual(layer, 1.0, n, 5, R, seed=n, bias_rate=0.0).T for n in (16, 32))
    limit = kernels(layer, np.ones((1, 1)), 5, bias_rate=0.0).tangent[-1, 0, 0]
    error = np.hypot(2 * wide.std(), narrow.std()) / R**0.5
    assert 2 * wide.mean() - narrow.mean() == pytest.approx(limit, abs=4 * error)
    T = sample_residual(Layer.critical("relu"), 1.0, 32, 4, 40_000, seed=5, bias_rate=0.0).T
    assert (T / T.mean()).var() == pytest.approx(relu_tangent_variance(32, 4), rel=0.06)


def test_misuse():
    with pytest.raises(UsageError, match="must be linear and without bias"):
        linear_residual_vertex(Layer.critical("tanh"), 1.0, 8, 3)
    with pytest.raises(UsageError, match="width = 1"):
        sample_residual(Layer.critical("tanh"), 1.0, 1, 3, 10)
