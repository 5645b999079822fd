"""Kernels of several inputs against closed forms and two-dimensional quadrature."""

import math

import numpy as np
import pytest

from lightning_landscape.activations import ACTIVATIONS
from lightning_landscape.errors import UsageError
from lightning_landscape.theory.wide_networks import (
    Layer,
    PairAverages,
    first_order,
    input_kernel,
    kernels,
    two_inputs,
)


def pair(K, rho, ratio=0.7):
    across = rho * K * math.sqrt(ratio)
    return np.array([[K, across], [across, ratio * K]])


def williams(K):
    """<erf erf>, Williams 1998: (2 / pi) asin(2 K_ab / sqrt((1 + 2 K_aa)(1 + 2 K_bb)))."""
    d = 1 + 2 * K.diagonal()
    return 2 / math.pi * np.arcsin(2 * K / np.sqrt(np.outer(d, d)))


@pytest.mark.parametrize("rho", [-0.95, 0.3, 0.99, 1 - 1e-7])
def test_erf(rho):
    K = pair(2.0, rho)
    result = kernels(Layer("erf", 1.0), K, 2, bias_rate=0.0)
    np.testing.assert_allclose(result.K[1], williams(K), rtol=0, atol=1e-12)
    d = 1 + 2 * K.diagonal()
    slopes = 4 / math.pi / np.sqrt(np.outer(d, d) - 4 * K**2)
    np.testing.assert_allclose(result.tangent[1], williams(K) + slopes * K, rtol=1e-11)


@pytest.mark.parametrize("rho", [-0.95, 0.3, 0.99, 1 - 1e-7])
@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_arc_cosine(name, rho):
    """Cho & Saul 2009, for max(z, 0) and the linear rest."""
    leak = {"relu": 0.0, "leaky_relu": 0.01}[name]
    K, angle = pair(2.0, rho), math.acos(rho)
    scale = math.sqrt(K[0, 0] * K[1, 1])
    ramp = scale * (math.sin(angle) + rho * (math.pi - angle)) / (2 * math.pi)
    known = (1 - leak) ** 2 * ramp + leak * (1 - leak) * K[0, 1] + leak**2 * K[0, 1]
    assert kernels(Layer(name, 1.0), K, 2).K[1, 0, 1] == pytest.approx(known, abs=3e-12 * scale)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize(("K1", "rho"), [(0.3, 0.999), (4.0, -0.7)])
def test_series_against_quadrature_in_two_dimensions(name, K1, rho):
    K, layer = pair(K1, rho), Layer(name, 1.0)
    average, result = PairAverages(layer.sigma, K), kernels(layer, K, 2, 0.0, 0.0)
    g = average.mean(average.values[0] * average.values[1])
    assert result.K[1, 0, 1] == pytest.approx(g, abs=1e-11)
    one = kernels(layer, K, 2, np.array([1.0, 0.0]), 0.0)  # Theta^1 = 1
    q = average.mean(average.slopes[0] * average.slopes[1])
    assert one.tangent[1, 0, 1] == pytest.approx(q, abs=1e-11)


@pytest.mark.parametrize("name", ["tanh", "selu", "hard_swish", "gelu"])
def test_one_input_is_the_diagonal(name):
    layer = Layer.critical(name)
    rates = {"bias_rate": np.linspace(0.5, 1, 6), "weight_rate": 0.7}
    many, one = kernels(layer, pair(1.4, 0.5), 6, **rates), first_order(layer, 1.4, 6, **rates)
    np.testing.assert_allclose(many.K[:, 0, 0], one.K, rtol=1e-12)
    np.testing.assert_allclose(many.tangent[:, 0, 0], one.T, rtol=1e-12)


def test_a_skip_connection():
    layer = Layer("tanh", 0.5, 0.1, skip=0.6)
    K = pair(1.0, 0.4)
    plain = kernels(Layer("tanh", 0.5, 0.1), K, 2)
    result = kernels(layer, K, 2)
    np.testing.assert_allclose(result.K[1], plain.K[1] + 0.36 * K, rtol=1e-12)
    np.testing.assert_allclose(
        result.tangent[1], plain.tangent[1] + 0.36 * (1 + (K - 0.1) / 0.5), rtol=1e-12
    )


def test_parallel_inputs_and_an_empty_correlation():
    """Equal inputs have one kernel; opposite ones of tanh the negative; orthogonal ones none."""
    layer = Layer.critical("tanh")
    x = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    K = kernels(layer, input_kernel(layer, x), 3).K[-1]
    np.testing.assert_allclose(K[0, :3], K[0, 0] * np.array([1, 1, -1]), rtol=1e-11)
    assert K[0, 3] == pytest.approx(0, abs=1e-14)


class TestTwoInputs:
    """The covariance of the metric of two inputs at order 1/n."""

    K1 = np.array([[1.0, 0.3], [0.3, 0.6]])

    def test_tanh(self):
        """Against 6-digit values, and samples of 4e5 networks of width 128."""
        result = two_inputs(Layer.critical("tanh"), self.K1, 4)
        V = result.V[-1]
        found = np.array([V[0, 0], V[0, 1], V[1, 1], V[2, 2]])
        np.testing.assert_allclose(found, [0.050147, 0.020765, 0.066343, 0.044135], atol=6e-7)
        np.testing.assert_allclose(result.G1[-1], [-0.05268, -0.02328, -0.05338], atol=6e-6)
        sampled = np.array([0.050063, 0.020867, 0.066029, 0.044034])
        error = np.array([0.000207, 0.000181, 0.000272, 0.000183])
        assert (np.abs(sampled - found) < 3 * error).all()

    @pytest.mark.parametrize("name", ["gelu", "elu"])
    def test_each_input_alone(self, name):
        layer = Layer.critical(name)
        result = two_inputs(layer, self.K1, 3)
        for entry, K1 in ((0, 1.0), (2, 0.6)):
            one = first_order(layer, K1, 3)
            np.testing.assert_allclose(result.V[:, entry, entry], one.V, rtol=1e-9)
            np.testing.assert_allclose(result.G1[:, entry], one.G1, rtol=1e-7, atol=1e-10)

    def test_linear(self):
        """Wishart: n Cov(G_ab, G_cd) = K_ac K_bd + K_ad K_bc, and no correction to the mean."""
        result = two_inputs(Layer.critical("linear"), self.K1, 2)
        K, pairs = self.K1, ((0, 0), (0, 1), (1, 1))
        known = [[K[a, c] * K[b, d] + K[a, d] * K[b, c] for c, d in pairs] for a, b in pairs]
        np.testing.assert_allclose(result.V[1], known, rtol=1e-11)
        np.testing.assert_allclose(two_inputs(Layer.critical("linear"), K, 4).G1, 0, atol=1e-12)


def test_lists_are_taken():
    layer, x = Layer.critical("tanh"), [[1.0, 0.5], [0.2, 1.0]]
    K1 = input_kernel(layer, x)
    np.testing.assert_array_equal(K1, input_kernel(layer, np.array(x)))
    np.testing.assert_array_equal(kernels(layer, K1.tolist(), 3).K, kernels(layer, K1, 3).K)
    np.testing.assert_array_equal(two_inputs(layer, K1.tolist(), 3).V, two_inputs(layer, K1, 3).V)
    with pytest.raises(UsageError, match=r"x = of shape \(2,\): must be \(P, n_0\)"):
        input_kernel(layer, [1.0, 2.0])


def test_misuse():
    with pytest.raises(UsageError, match="symmetric"):
        kernels(Layer.critical("relu"), np.array([[1.0, 0.0], [0.5, 1.0]]), 2)
    with pytest.raises(UsageError, match="may not be parallel"):
        two_inputs(Layer.critical("relu"), np.ones((2, 2)), 2)
