"""Critical points, their classes and exponents, and the flow of the kernel."""

import math

import numpy as np
import pytest
import torch

from lightning_landscape.activations import ACTIVATIONS
from lightning_landscape.errors import UsageError
from lightning_landscape.theory.wide_networks import (
    GaussianAverages,
    Layer,
    criticality,
    first_order,
    learning_rates,
)


@pytest.mark.parametrize(
    ("name", "K", "C_W", "C_b"),
    [
        ("gelu", (3 + math.sqrt(17)) / 2, 1.983058257, 0.172922391),
        ("swish", 14.320173618, 1.988004678, 0.555143171),
        ("hard_swish", 4.803855949, 1.973289584, 0.507145849),
    ],
)
def test_half_stable_points(name, K, C_W, C_b):
    point = criticality(name)
    assert point.kind == "half-stable"
    found = point.K, point.weight_variance, point.bias_variance
    assert found == pytest.approx((K, C_W, C_b), rel=1e-8)


@pytest.mark.parametrize(
    ("name", "C_W", "amplitude", "p"),
    [
        ("tanh", 1.0, 1 / 2, 1),
        ("erf", math.pi / 4, 1 / 2, 1),
        ("sin", 1.0, 1.0, 1),
        ("elu", 1.0, 2 * math.pi, 2),  # c = sqrt(2 / pi)
        ("softsign", 1.0, math.pi / 8, 2),  # c = 4 sqrt(2 / pi)
    ],
)
def test_vanishing_kernels(name, C_W, amplitude, p):
    """K l^p -> (p / c)^p for K' = K (1 - c K^(1/p)); one more power for chi_par than for K."""
    point = criticality(name)
    assert point.kind == ("vanishing" if p == 1 else "vanishing, kinked")
    assert (point.K, point.bias_variance) == (0, 0)
    assert point.weight_variance == pytest.approx(C_W, rel=1e-12)
    assert point.amplitude == pytest.approx(amplitude, rel=1e-9)
    assert (point.p_perpendicular, point.p_parallel) == pytest.approx((p, p + 1), rel=1e-9)
    assert point.nu == pytest.approx(2 / 3, rel=1e-12)


def test_selu_is_critical_where_no_one_uses_it():
    """The usual C_W = 1 at K = 1 lets gradients grow by 7 % a layer."""
    point, usual = criticality("selu"), Layer("selu", 1.0)
    assert (point.weight_variance, point.nu) == pytest.approx((0.476771018, 0.8910185), rel=1e-7)
    assert usual.parallel(1.0) == pytest.approx(0.782648, abs=1e-6)
    assert usual.perpendicular(1.0) == pytest.approx(1.071575, abs=1e-6)


def test_scale_invariant_activations():
    for name, C_W, nu in (("relu", 2, 5), ("linear", 1, 2)):
        point = criticality(name)
        assert (point.kind, point.weight_variance) == ("scale-invariant", C_W)
        assert point.nu == pytest.approx(nu, rel=1e-12)


@pytest.mark.parametrize("name", ["softplus", "sigmoid"])
def test_without_a_critical_point_there_is_a_sentence(name):
    with pytest.raises(UsageError, match=f"{name}: must have a critical initialisation"):
        Layer.critical(name)


@pytest.mark.parametrize("name", [n for n, sigma in ACTIVATIONS.items() if sigma.critical])
def test_the_solution_is_the_table_of_activations(name):
    point, sigma = criticality(name), ACTIVATIONS[name]
    assert point.weight_variance == pytest.approx(sigma.weight_variance, abs=1e-9)
    assert point.bias_variance == pytest.approx(sigma.bias_variance, abs=1e-9)


def test_the_flow_of_tanh():
    flow = Layer.critical("tanh").flow(K1=1.0, depth=100)
    layers = np.array([2, 3, 5, 10, 20, 50, 100])
    known = [0.394294, 0.236450, 0.127905, 0.058012, 0.027286, 0.010431, 0.005121]
    np.testing.assert_allclose(flow.K[layers - 1], known, atol=6e-7)
    assert 100 * (1 - flow.parallel[-1]) == pytest.approx(2, rel=0.05)
    assert 100 * (1 - flow.perpendicular[-1]) == pytest.approx(1, rel=0.05)


def test_with_a_kink_the_kernel_falls_as_the_square_of_the_depth():
    """ELU; the limits are 2 pi, 2 and 3. Softsign: pi / 8."""
    l = np.array([100, 500, 1000])
    flow = Layer.critical("elu").flow(K1=1.0, depth=1000)
    np.testing.assert_allclose(l**2 * flow.K[l - 1], [6.768, 6.429, 6.367], atol=6e-4)
    known = [2.0099, 2.0103, 2.0069]
    np.testing.assert_allclose(l * (1 - flow.perpendicular[l - 1]), known, atol=6e-5)
    known = [2.9986, 3.0122, 3.0088]
    np.testing.assert_allclose(l * (1 - flow.parallel[l - 1]), known, atol=6e-5)
    last = Layer.critical("softsign").flow(K1=1.0, depth=2000).K[-1]
    assert 2000**2 * last == pytest.approx(0.3936, abs=6e-5)


@pytest.mark.parametrize(
    ("name", "nu", "p", "limit"), [("elu", 0.6620, 2.009, 2 / 3), ("selu", 0.8846, 1.999, 0.8910)]
)
def test_the_variance_of_the_metric_with_a_kink(name, nu, p, limit):
    """V / (l K^2) at l = 600, on its way to nu."""
    layer, l = Layer.critical(name), 600
    x, flow = first_order(layer, 1.0, l), layer.flow(1.0, l)
    assert x.V[-1] / x.K[-1] ** 2 / l == pytest.approx(nu, abs=6e-5)
    assert l * (1 - flow.perpendicular[-1]) == pytest.approx(p, abs=6e-4)
    assert criticality(name).nu == pytest.approx(limit, abs=6e-5)


@pytest.mark.parametrize(
    ("name", "bend", "slope"),
    [
        ("gelu", -1.436e-4, 9.334e-3),
        ("swish", 2.850e-6, 1.733e-3),
        ("hard_swish", 1.390e-3, 2.198e-2),
    ],
)
def test_half_stable_points_are_left_slowly(name, bend, slope):
    """K' - K* = (K - K*) + bend (K - K*)^2, and d chi_perp / dK, at K*."""
    point = criticality(name)
    average, C_W = GaussianAverages(ACTIVATIONS[name], point.K), point.weight_variance
    assert C_W * average.second_derivative(average.value**2) / 2 == pytest.approx(bend, rel=4e-4)
    assert C_W * average.derivative(average.slope**2) == pytest.approx(slope, rel=4e-4)


def test_the_default_of_pytorch():
    """Uniform on +- 1 / sqrt(fan-in): C_W = 1/3; 64 inputs, width 256. Only biases are left."""
    flow = Layer("relu", 1 / 3, 1 / (3 * 256)).flow(1 / 3 + 1 / (3 * 64), depth=6)
    known = [0.339, 0.058, 0.011, 0.0031, 0.0018, 0.0016]
    np.testing.assert_allclose(flow.K, known, atol=6e-4)
    np.testing.assert_allclose(flow.perpendicular, 1 / 6, rtol=1e-12)
    assert Layer("tanh", 1 / 3).flow(1.0, 12).perpendicular[-1] == pytest.approx(1 / 3, rel=1e-5)


def test_off_criticality():
    """Strong weights: tanh saturates, and gradients explode."""
    layer = Layer("tanh", weight_variance=3.0)
    flow = layer.flow(K1=1.0, depth=100)
    last = flow.K[-1], flow.parallel[-1], flow.perpendicular[-1]
    assert last == pytest.approx((1.345393, 0.407178, 1.238797), abs=1e-6)


def test_rates_that_keep_the_tangent_kernel_finite():
    for depth, known in ((50, 1.4905), (100, 1.4877), (200, 1.4891)):
        rates = learning_rates("tanh", depth)
        result = first_order(Layer.critical("tanh"), 1.0, depth, None, rates.bias, rates.weight)
        assert result.T[-1] == pytest.approx(known, abs=6e-5)
    np.testing.assert_allclose(learning_rates("relu", 8).weight, 1 / 8)
    kinked = learning_rates("elu", 4)
    np.testing.assert_allclose(kinked.bias, 4.0 / np.arange(1, 5) ** 2, rtol=1e-8)
    np.testing.assert_allclose(kinked.weight, 4.0 / np.arange(1, 5), rtol=1e-8)


def test_names_are_those_of_torch_too():
    for name, known in (("SiLU", "swish"), ("Tanh", "tanh"), ("LeakyReLU", "leaky_relu")):
        assert criticality(name).weight_variance == criticality(known).weight_variance


def test_misuse():
    with pytest.raises(UsageError, match="activation = Tanh: must be a str"):
        criticality(torch.nn.Tanh())
    with pytest.raises(UsageError, match="depth = 0"):
        learning_rates("tanh", 0)
    with pytest.raises(UsageError, match=r"K1 = 0\.1: must be > 0 and at least C_b = 0\.17"):
        first_order(Layer.critical("gelu"), 0.1, 3)
    with pytest.raises(UsageError, match="did you mean tanh"):
        Layer("tanhh", 1.0)
    with pytest.raises(UsageError, match=r"weight_variance = -1\.0: must be > 0"):
        Layer("tanh", -1.0)
    with pytest.raises(UsageError, match=r"skip = 1\.0: must be"):
        Layer.critical("tanh", skip=1.0)
