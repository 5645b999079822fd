"""Samples without weights against networks with weights and against exact laws."""

import numpy as np
import pytest
import torch

from lightning_landscape.errors import UsageError
from lightning_landscape.theory.wide_networks import (
    Layer,
    first_order,
    kernels,
    metric_law,
    next_metric_moments,
    pooled_metric_variance,
    relu_metric_variance,
    relu_tangent_variance,
    sample_chain,
    sample_metrics,
    two_inputs,
)


def within(samples, value, errors=4.0):
    """Whether the mean of the samples is the value, within standard errors."""
    return abs(samples.mean() - value) < errors * samples.std(ddof=1) / np.sqrt(len(samples))


def networks(layer, width, depth, samples, seed):
    """Metric of the last layer and tangent kernel of one output, with weights, by autograd."""
    generator = torch.Generator().manual_seed(seed)
    C_b, C_W = layer.bias_variance, layer.weight_variance

    def normal(*shape):
        numbers = torch.randn(samples, *shape, generator=generator, dtype=torch.float64)
        return numbers.requires_grad_()

    # unit weights and biases; their scales stand in front
    h, fan_in, parameters = torch.ones(samples, 1, 1, dtype=torch.float64), 1, []
    for l in range(depth):
        W, b = normal(width if l < depth - 1 else 1, fan_in), normal(width if l < depth - 1 else 1)
        parameters += [(W, C_W / fan_in, 1 / fan_in), (b, C_b, 1.0)]
        z = (C_W / fan_in) ** 0.5 * (W @ h).squeeze(-1) + C_b**0.5 * b
        below, h, fan_in = h, layer.sigma.value(z).unsqueeze(-1), width
    gradients = torch.autograd.grad(z.sum(), [p for p, _, _ in parameters])
    T = sum(
        rate / variance * g.flatten(1).square().sum(1)
        for g, (_, variance, rate) in zip(gradients, parameters, strict=True)
    )
    G = C_b + C_W * below.detach().square().mean((1, 2))
    return G.numpy(), T.numpy()


@pytest.mark.parametrize("name", ["tanh", "gelu"])
def test_against_networks_with_weights(name):
    """Mean, variance and covariance of G and T at width 4, where 1/n is large."""
    layer = Layer(name, 1.5, 0.3)
    K1, R = 1.8, 20_000
    chain = sample_chain(layer, K1, width=4, depth=4, samples=R, seed=1)
    G, T = networks(layer, 4, 4, R, seed=2)
    for f in (
        lambda G, T: G,
        lambda G, T: T,
        lambda G, T: G**2,
        lambda G, T: np.minimum(T, 50) ** 2,
        lambda G, T: G * np.minimum(T, 50),
    ):
        ours, theirs = f(chain.G[-1], chain.T), f(G, T)
        error = np.sqrt((ours.var() + theirs.var()) / R)
        assert abs(ours.mean() - theirs.mean()) < 4 * error


def test_the_exact_law():
    layer = Layer.critical("tanh")
    G = sample_chain(layer, 1.0, width=32, depth=5, samples=20_000, seed=3).G
    law = metric_law(layer, 1.0, 32, 5)
    assert within(G[-1], law.mean[-1])
    assert within((G[-1] - law.mean[-1]) ** 2, law.variance[-1])
    for p in (0.05, 0.5, 0.95):
        assert within((G[-1] < law.quantile(p, 5)).astype(float), p)


def test_the_tangent_kernel_at_order_1_over_n():
    """n Var T between two widths, extrapolated, is A + 2 B; n (E T - T) is T1."""
    layer = Layer.critical("tanh")
    x, R = first_order(layer, 1.0, 4), 20_000
    known = x.A[-1] + 2 * x.B[-1]
    found = {}
    for n in (64, 128):
        T = sample_chain(layer, 1.0, n, 4, R, seed=n).T
        square = n * (T - T.mean()) ** 2
        found[n] = square.mean(), square.std() / np.sqrt(R)
        assert within(n * (T - x.T[-1]), x.T1[-1])
    extrapolated = 2 * found[128][0] - found[64][0]
    assert abs(extrapolated - known) < 4 * np.hypot(2 * found[128][1], found[64][1])


def test_relu_at_any_width():
    """Mean and variance of the tangent kernel of the weights are known exactly."""
    R, n, L = 40_000, 32, 4
    T = sample_chain(Layer.critical("relu"), 1.0, n, L, R, seed=5, bias_rate=0.0).T
    assert within(T, L / 2)
    assert within((T / (L / 2) - 1) ** 2, relu_tangent_variance(n, L))


def test_the_last_layer_is_averaged_exactly():
    layer, n = Layer.critical("tanh"), 32
    G = sample_chain(layer, 1.0, n, 4, 4000, seed=6).G[-1]
    law, found = metric_law(layer, 1.0, n, 5), next_metric_moments(layer, G, n)
    assert abs(found.mean - law.mean[-1]) < 4 * found.mean_error
    assert abs(found.variance - law.variance[-1]) < 4 * found.variance_error
    assert found.variance_error < 0.02 * found.variance
    # node by node, as kinks away from 0 need it
    few, hard = G[:50], Layer("hard_swish", 1.0)
    means = [hard.kernel(g) for g in few]
    assert next_metric_moments(hard, few, n).mean == pytest.approx(np.mean(means), rel=1e-12)


def test_pooled_factors_of_a_heavy_tail():
    G = sample_chain(Layer.critical("relu"), 1.0, 50, 11, 4000, seed=7).G
    variance, error = pooled_metric_variance(G)
    exact = relu_metric_variance(50, 11)[-1]
    assert abs(variance - exact) < 4 * error
    assert error < 0.03 * exact


def test_several_inputs():
    layer, n = Layer.critical("tanh"), 128
    K1 = np.array([[1.0, 0.3], [0.3, 0.6]])
    G = sample_metrics(layer, K1, n, 3, 4000, seed=8)
    assert G.shape == (3, 4000, 2, 2)
    x = two_inputs(layer, K1, 3)
    np.testing.assert_allclose(kernels(layer, K1, 3).K, x.K, atol=1e-12)
    entries = G[-1][:, [0, 0, 1], [0, 1, 1]]
    for k in range(3):
        assert within(entries[:, k], x.K[-1].ravel()[[0, 1, 3]][k] + x.G1[-1, k] / n)
        spread = n * (entries - entries.mean(0)) * (entries[:, [k]] - entries[:, k].mean())
        for j in range(3):
            assert within(spread[:, j], x.V[-1, j, k])


def test_the_same_seed_gives_the_same_samples():
    layer = Layer.critical("tanh")
    one, two = (sample_chain(layer, 1.0, 16, 3, 50, seed=9) for _ in range(2))
    np.testing.assert_array_equal(one.T, two.T)
    with pytest.raises(UsageError, match="samples"):
        sample_chain(layer, 1.0, 16, 3, 0)
