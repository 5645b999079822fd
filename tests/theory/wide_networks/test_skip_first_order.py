"""Statistics with skip connections: against those without, and against networks without weights."""

from dataclasses import asdict

import numpy as np
import pytest

from lightning_landscape.theory.wide_networks import (
    Layer,
    first_order,
    kernels,
    sample_kernel_derivative,
    sample_residual,
)
from lightning_landscape.theory.wide_networks._skip_first_order import SkipState
from lightning_landscape.theory.wide_networks.sampling._passes import backward, forward


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu"])
def test_without_a_skip_it_is_the_other_recursion(name):
    layer = Layer.critical(name)
    x = SkipState.first(layer, 2.0, 0.5 + 1.2 * (2 - layer.bias_variance) / layer.weight_variance)
    for _ in range(4):
        x = x.next(layer, 0.5, 1.2)
    known = asdict(first_order(layer, 2.0, 5, bias_rate=0.5, weight_rate=1.2))
    for letter, value in x.statistics().items():
        assert value == pytest.approx(known[letter][-1], rel=1e-11, abs=1e-12)


def test_the_mean_kernel_is_that_of_many_inputs():
    layer = Layer.critical("gelu", skip=0.6)
    found, known = first_order(layer, 1.5, 4), kernels(layer, np.array([[1.5]]), 4)
    np.testing.assert_allclose(found.T, known.tangent[:, 0, 0], rtol=1e-9)
    np.testing.assert_allclose(found.K, known.K[:, 0, 0], rtol=1e-9)


def sampled(layer, K1, n, depth, R, k=8):
    """n times the moments of z and H of k outputs, with their standard errors."""
    generator, rates = np.random.Generator(np.random.SFC64(n)), (np.ones(depth), np.ones(depth))
    C_b, skip, blocks = layer.bias_variance, layer.skip, []
    for _ in range(R // 1000):
        below = forward(layer, K1, (1000, n), depth, generator)
        w = np.sqrt(below.G[-1] - C_b)[:, None] * generator.standard_normal((1000, k))
        z = w + skip * below.z[-1][:, :k] + C_b**0.5 * generator.standard_normal((1000, k))
        one_hot = np.broadcast_to(np.eye(k), (1000, k, k))
        H = backward(layer, below, one_hot, w, rates, generator)
        blocks.append((z, H, below.G[-1][:, None] + (skip * below.z[-1][:, :k]) ** 2))
    z, H, square = (np.concatenate(each) for each in zip(*blocks, strict=True))
    square = square - square.mean()  # E[z^2] given the layer below
    excess = H.diagonal(axis1=1, axis2=2) - H.trace(axis1=1, axis2=2).mean() / k
    off = (1 - np.eye(k)) / (k * (k - 1))
    terms = {
        "F": np.einsum("ra,rb,rab,ab->r", z, z, H, off),
        "D": np.einsum("ra,rb,ab->r", square, excess, off),
        "B": np.einsum("rab,ab->r", H**2, off),
        "A": np.einsum("ra,rb,ab->r", excess, excess, off),
    }
    return {key: (n * x.mean(), n * x.std() / len(x) ** 0.5) for key, x in terms.items()}


@pytest.mark.parametrize(("name", "skip"), [("relu", 0.5**0.5), ("gelu", 0.6)])
def test_against_samples(name, skip):
    """At two widths, whose corrections of relative order 1/n cancel in 2 X(2n) - X(n)."""
    layer = Layer.critical(name, skip)
    exact = first_order(layer, 1.5, 4)
    narrow, wide = (sampled(layer, 1.5, n, 4, 5000) for n in (32, 64))
    for key in "FDBA":
        found = 2 * wide[key][0] - narrow[key][0]
        error = np.hypot(2 * wide[key][1], narrow[key][1])
        value = getattr(exact, key)[-1]
        assert found == pytest.approx(value, abs=4 * error)
        assert error < 0.1 * value


@pytest.mark.parametrize(("name", "skip", "depth"), [("tanh", 0.6, 3), ("gelu", 0.8, 3)])
def test_P_and_Q_against_networks(name, skip, depth):
    layer, found = Layer.critical(name, skip), []
    for n, R in ((16, 3000), (32, 2500)):
        found.append(sample_kernel_derivative(layer, 1.5, n, depth, R, 5, seed=n))
    exact = first_order(layer, 1.5, depth)
    for letter in "PQ":
        narrow, wide = (getattr(each, letter) for each in found)
        e1, e2 = (getattr(each, f"{letter}_error") for each in found)
        error, value = np.hypot(e1, 2 * e2), getattr(exact, letter)[-1]
        assert 2 * wide - narrow == pytest.approx(value, abs=4 * error)
        assert error < 0.1 * abs(value) or (letter, name) == ("P", "gelu")


def test_the_means_against_samples():
    """G1 and T1, which without the odd orders would be 0; ReLU."""
    layer, depth, R = Layer.critical("relu", 0.5**0.5), 4, 100_000
    exact, found = first_order(layer, 1.5, depth), []
    for n in (12, 24):
        samples = sample_residual(layer, 1.5, n, depth, R, seed=n)
        pairs = (samples.square[-1] - exact.K[-1], samples.T - exact.T[-1])
        found.append([(n * x.mean(), n * x.std() / R**0.5) for x in pairs])
    for k, value in enumerate((exact.G1[-1], exact.T1[-1])):
        (narrow, e1), (wide, e2) = found[0][k], found[1][k]
        error = np.hypot(2 * e2, e1)
        assert 2 * wide - narrow == pytest.approx(value, abs=4 * error)
        assert error < value / 4


def test_linear_layers():
    """sigma' = 1: H depends on the weights alone; B and A by hand in two layers."""
    gamma, K = 0.6, 1.3
    layer = Layer.critical("linear", skip=gamma)
    found, T, C_W = first_order(layer, K, 2), 1 + K / (1 - gamma**2), 1 - gamma**2
    assert found.B[1] == pytest.approx(C_W * (C_W + 2 * gamma**2) * T**2)
    assert found.A[1] == pytest.approx(2 * K**2)
    assert found.F[1] == pytest.approx(C_W * (C_W + 2 * gamma**2) * K * T)
    assert found.V[1] == pytest.approx(2 * (1 - gamma**4) * K**2)
    assert (found.P[1], found.Q[1]) == pytest.approx((0, (C_W + gamma**2) * K * T))
