"""The exact law of the metric against closed forms and another route."""

import numpy as np
import pytest
from numpy.polynomial import Chebyshev
from scipy import stats
from scipy.special import digamma, polygamma

from lightning_landscape.errors import UsageError
from lightning_landscape.theory.wide_networks import (
    GaussianAverages,
    Layer,
    criticality,
    linear_metric_variance,
    metric_law,
    relu_metric_variance,
    relu_tangent_variance,
)
from lightning_landscape.theory.wide_networks.averages import evaluate, gaussian_nodes


def law(name, width, depth, K1=1.0):
    return metric_law(Layer.critical(name), K1, width, depth)


def test_linear():
    result = law("linear", 50, 11)
    np.testing.assert_allclose(result.mean, 1, rtol=1e-11)
    np.testing.assert_allclose(result.variance, linear_metric_variance(50, 11), rtol=1e-10)
    assert result.variance[-1] == pytest.approx(0.4802443, abs=5e-8)
    assert result.defect < 1e-11


def test_relu():
    result = law("relu", 50, 6)
    np.testing.assert_allclose(result.mean, 1, rtol=1e-10)
    np.testing.assert_allclose(result.variance, relu_metric_variance(50, 6), rtol=1e-9)
    assert result.variance[-1] == pytest.approx(0.6105100, abs=5e-8)
    assert law("relu", 50, 11).variance[-1] == pytest.approx(1.5937425, abs=5e-8)


def test_tanh():
    result = law("tanh", 32, 5)
    assert result.mean[[1, 2, 4]] == pytest.approx([0.3942945, 0.2354771, 0.1257770], abs=6e-8)
    assert result.variance[[1, 2, 4]] == pytest.approx([0.0030476, 0.0021154, 0.0012152], abs=6e-8)


def test_one_layer_has_the_law_of_chi_squared():
    """Linear: n G^2 / K is chi squared with n degrees of freedom; the layer of depth 2 is that."""
    n, K = 20, 1.7
    result = law("linear", n, 2, K1=K)
    exact = stats.chi2(n, scale=K / n)
    G = np.linspace(0.4, 4.0, 9)
    np.testing.assert_allclose(result.density(G, 2), exact.pdf(G), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(result.cdf(G, 2), exact.cdf(G), rtol=1e-8, atol=1e-9)
    for p in (0.01, 0.5, 0.975):
        assert result.quantile(p, 2) == pytest.approx(exact.ppf(p), rel=1e-7)


def test_the_logarithm_adds_over_the_layers():
    """Var log of a product of independent chi squared: the trigamma function of n / 2 each."""
    n, result = 40, law("linear", 40, 4)
    np.testing.assert_allclose(
        result.log_variance, polygamma(1, n / 2) * np.arange(4), rtol=1e-9, atol=1e-14
    )
    shift = digamma(n / 2) - np.log(n / 2)
    np.testing.assert_allclose(result.log_mean, shift * np.arange(4), rtol=1e-9, atol=1e-12)


def test_dead_networks():
    """A ReLU layer is silent with probability 2^-n, and stays so; with a bias it recovers."""
    n = 32
    atom = law("relu", n, 3).atom
    assert atom[1:] == pytest.approx([2.0**-n, 2 * 2.0**-n], rel=1e-6)
    biased = metric_law(Layer("relu", 2.0, 0.5), 1.0, n, 3).atom
    assert biased[1:] == pytest.approx([2.0**-n, 2.0**-n], rel=1e-6)


def test_with_biases_against_two_layers_by_hand():
    """The density of layer 2 gives its own moments and the mean of layer 3; GELU off K*."""
    layer, n = Layer.critical("gelu"), 48
    result = metric_law(layer, 2.5, n, 3)
    G = np.linspace(layer.bias_variance, 20, 4001)
    density = result.density(G, 2)
    step = G[1] - G[0]
    assert density.sum() * step == pytest.approx(1, abs=1e-7)
    assert (density * G).sum() * step == pytest.approx(layer.kernel(2.5), abs=1e-7)
    spread = (density * (G - result.mean[1]) ** 2).sum() * step
    assert spread == pytest.approx(result.variance[1], rel=1e-6)
    means = np.array([layer.kernel(g) for g in G[::40]])
    assert (density[::40] * means).sum() * 40 * step == pytest.approx(result.mean[2], abs=4e-6)


@pytest.mark.parametrize("n", [1, 3, 16])
def test_narrow_relu_networks(n):
    """Few active neurons: moments, dead networks, and the mean logarithm of those alive."""
    result, depth = law("relu", n, 4), 4
    tolerance = 1e-9 if n > 1 else 3e-5
    np.testing.assert_allclose(result.mean, 1, rtol=tolerance)
    exact = relu_metric_variance(n, depth)
    np.testing.assert_allclose(result.variance, exact, rtol=tolerance, atol=1e-15)
    alive = (1 - 2.0**-n) ** np.arange(depth)
    np.testing.assert_allclose(result.atom, 1 - alive, atol=1e-12)
    k = np.arange(1, n + 1)
    p = stats.binom.pmf(k, n, 0.5) / (1 - 0.5**n)
    mean = p @ (np.log(4 / n) + digamma(k / 2))
    square = p @ ((np.log(4 / n) + digamma(k / 2)) ** 2 + polygamma(1, k / 2))
    layers = np.arange(depth)
    np.testing.assert_allclose(result.log_mean, layers * mean, rtol=100 * tolerance, atol=1e-15)
    np.testing.assert_allclose(
        result.log_variance, layers * (square - mean**2), rtol=1000 * tolerance, atol=1e-14
    )


def test_gelu_against_samples():
    """64 Var G of networks with weights: 280.2(1.7), 12 % above leading order."""
    result = law("gelu", 64, 5, K1=criticality("gelu").K)
    assert abs(64 * result.variance[-1] - 280.2) < 3 * 1.7
    assert 64 * result.variance[-1] == pytest.approx(277.7539216, rel=1e-8)


def by_quadrature(layer, K1):
    """Mean and variance of G in layer 3 of networks of width 2, over both neurons of layer 1."""
    z, p = gaussian_nodes(K1, layer.sigma.kinks)
    y = layer.weight_variance * evaluate(layer.sigma.value, z) ** 2
    G = (layer.bias_variance + np.add.outer(y, y) / 2).ravel()
    probability = np.outer(p, p).ravel()
    G, probability = G[probability > 1e-22], probability[probability > 1e-22]
    x = np.log(np.maximum(G, 1e-6))
    moments = []
    for power in (2, 4):  # <sigma^2> and <sigma^4> as functions of log K

        def average(x, power=power):
            averages = (GaussianAverages(layer.sigma, np.exp(k)) for k in x)
            return [each.mean(each.value**power) for each in averages]

        domain = [x.min(), x.max()]
        moments.append(Chebyshev.interpolate(average, 150, domain)(x))
    C_W = layer.weight_variance
    means = layer.bias_variance + C_W * moments[0]
    mean = probability @ means
    own = C_W**2 * (moments[1] - moments[0] ** 2) / 2
    return mean, probability @ (own + (means - mean) ** 2)


@pytest.mark.parametrize("name", ["gelu", "softsign"])
def test_two_neurons(name):
    """The narrowest networks, in which both neurons may be nearly silent."""
    layer = Layer.critical(name)
    result, exact = metric_law(layer, 2.5, 2, 3), by_quadrature(layer, 2.5)
    assert (result.mean[-1], result.variance[-1]) == pytest.approx(exact, rel=6e-7)
    assert result.defect < 1e-12


@pytest.mark.parametrize("n, tolerance", [(8, 1e-7), (16, 3e-9)])
def test_leaky_relu(n, tolerance):
    """The metric is a product of independent factors: Var G / K^2 = (1 + nu / n)^(l - 1) - 1."""
    result, point = law("leaky_relu", n, 5), criticality("leaky_relu")
    assert point.nu == pytest.approx(3 * 2 * (1 + 1e-8) / (1 + 1e-4) ** 2 - 1, rel=1e-12)
    np.testing.assert_allclose(result.mean, 1, rtol=tolerance)
    known = (1 + point.nu / n) ** np.arange(5) - 1
    np.testing.assert_allclose(result.variance, known, rtol=tolerance, atol=1e-15)


def test_relu_by_gammas_and_by_the_fourier_series(monkeypatch):
    """Both transitions, with biases, at a width where both are good."""
    layer = Layer("relu", 1.7, 0.3)
    closed = metric_law(layer, 1.2, 40, 4)
    from lightning_landscape.theory.wide_networks import _transition

    monkeypatch.setattr(_transition, "RESPONDING", {})
    series = metric_law(layer, 1.2, 40, 4)
    np.testing.assert_allclose(closed.mean, series.mean, rtol=1e-7)
    np.testing.assert_allclose(closed.variance, series.variance, rtol=1e-6)
    G = np.linspace(0.5, 3.5, 7)
    np.testing.assert_allclose(closed.cdf(G, 4), series.cdf(G, 4), atol=1e-6)


def test_unequal_widths():
    """Linear: E G^2 / K^2 is the product of 1 + 2 / n over the layers."""
    result = law("linear", (16, 40, 24), 4)
    known = np.cumprod([1, 1 + 2 / 16, 1 + 2 / 40, 1 + 2 / 24]) - 1
    np.testing.assert_allclose(result.variance, known, rtol=1e-8, atol=1e-15)


def test_the_tangent_kernel_of_relu():
    """Leading order, 0.709 at n = 50 and L = 11, is not enough."""
    sizes = [(32, 2), (64, 4), (128, 8), (16, 4), (32, 8), (50, 11)]
    found = [relu_tangent_variance(n, depth) for n, depth in sizes]
    assert found == pytest.approx([0.0938, 0.1650, 0.2089, 0.772, 1.093, 1.008], abs=5e-4)


def test_misuse():
    with pytest.raises(UsageError, match="width = 1: must be 2 widths, all at least 2"):
        law("tanh", 1, 3)
    with pytest.raises(UsageError, match="K1"):
        metric_law(Layer("tanh", 1.0, 0.5), 0.2, 32, 3)
    with pytest.raises(UsageError, match="l = 1"):
        law("linear", 16, 2).density(1.0, 1)
