"""Sampled statistics of the tangent kernel against the series in 1/n, and against autograd."""

import numpy as np
import pytest
import torch

from lightning_landscape.errors import UsageError
from lightning_landscape.theory.wide_networks import (
    Layer,
    first_order,
    relu_tangent_variance,
    sample_kernel_derivative,
    sample_tangent_statistics,
)
from lightning_landscape.theory.wide_networks.sampling.kernel_derivative import (
    _networks,
    _products,
)


@pytest.mark.parametrize("name", ["tanh", "gelu"])
def test_the_limit_of_wide_networks(name):
    """2 X(2n) - X(n) has no correction of relative order 1/n; 4 standard errors."""
    layer, K1, depth, R = Layer.critical(name), 2.0, 4, 6000
    narrow, wide = (
        sample_tangent_statistics(layer, K1, n, depth, R, seed=n, bias_rate=0.5) for n in (32, 64)
    )
    exact = first_order(layer, K1, depth, bias_rate=0.5)
    for letter in "TFDBA":
        found = 2 * wide.values[letter] - narrow.values[letter]
        error = np.hypot(2 * wide.errors[letter], narrow.errors[letter])
        value = getattr(exact, letter)[-1]
        assert found == pytest.approx(value, abs=4 * error + 5e-3 * abs(value))
        assert error < 0.15 * abs(value) + 0.02


def test_relu_is_exact_at_any_width():
    """Var H_11 = (A + 2 B) / n without biases, if H_12 is as A and B say; ReLU, n = 32, L = 4."""
    layer, n, depth = Layer.critical("relu"), 32, 4
    found = sample_tangent_statistics(layer, 1.0, n, depth, 20_000, bias_rate=0.0)
    T = depth / 2
    assert found.values["T"] == pytest.approx(T, abs=4 * found.errors["T"])
    variance = (found.values["A"] + 2 * found.values["B"]) / n / T**2
    error = np.hypot(found.errors["A"], 2 * found.errors["B"]) / n / T**2
    assert variance == pytest.approx(relu_tangent_variance(n, depth), abs=4 * error)


@pytest.mark.parametrize("name", ["tanh", "gelu"])
def test_the_second_derivative_against_autograd(name):
    """dH_{0;ab} of a small network by Hessians of its outputs; rates differ between layers."""
    layer, n, k = Layer(name, 1.3, 0.4), 4, 3
    rates = np.array([0.3, 0.7, 1.1]), np.array([0.5, 0.9, 1.3])
    layers = _networks(layer, 1.7, (1, n, k), rates, np.random.Generator(np.random.SFC64(1)))
    P, Q = _products(layers, 0.0)

    x, flat, speed = torch.tensor([np.sqrt((1.7 - 0.4) / 1.3)]), [], []
    for l, each in enumerate(layers):
        W = torch.zeros(n, 1, dtype=torch.float64) if l == 0 else torch.tensor(each.W[0])
        below = x if l == 0 else torch.tensor(each.below[0][0])
        b = torch.tensor(each.z[0]) - W @ below
        flat += [W, b]
        speed += [torch.full_like(W, rates[1][l] / W.shape[1]), torch.full_like(b, rates[0][l])]
    theta, rate = (torch.cat([each.flatten() for each in parts]) for parts in (flat, speed))

    def outputs(theta):
        parts = theta.split([each.numel() for each in flat])
        h = x
        for W, b in zip(parts[::2], parts[1::2], strict=True):
            h = layer.sigma.value(z := W.view(len(b), -1) @ h + b)
        return z

    z = outputs(theta)
    np.testing.assert_allclose(z, layers[-1].z[0], rtol=1e-12)
    along = rate * torch.autograd.functional.jacobian(outputs, theta)
    dH = [
        along @ torch.autograd.functional.hessian(lambda t, a=a: outputs(t)[a], theta) @ along.T
        for a in range(k)
    ]
    pairs = [(i, j) for i in range(k) for j in range(k) if i != j]
    assert P[0] == pytest.approx(np.mean([dH[i][j, j] * z[i] for i, j in pairs]), rel=1e-9)
    assert Q[0] == pytest.approx(np.mean([dH[i][i, j] * z[j] for i, j in pairs]), rel=1e-9)


def test_P_and_Q():
    """tanh, L = 3, at two widths; by autograd -0.939(11) and -0.539(9) at n = 32."""
    layer, R = Layer.critical("tanh"), 6000
    narrow, wide = (
        sample_kernel_derivative(layer, 1.0, n, 3, R // (n // 16), seed=n) for n in (16, 32)
    )
    exact = first_order(layer, 1.0, 3)
    for letter in "PQ":
        found = 2 * getattr(wide, letter) - getattr(narrow, letter)
        error = np.hypot(2 * getattr(wide, f"{letter}_error"), getattr(narrow, f"{letter}_error"))
        value = getattr(exact, letter)[-1]
        assert found == pytest.approx(value, abs=4 * error)
        assert error < 0.1 * abs(value)


def test_misuse():
    with pytest.raises(UsageError, match="activation = relu: must be smooth"):
        sample_kernel_derivative(Layer.critical("relu"), 1.0, 8, 3, 10)
    with pytest.raises(UsageError, match="outputs = 1"):
        sample_tangent_statistics(Layer.critical("relu"), 1.0, 8, 3, 10, outputs=1)
    with pytest.raises(UsageError, match="depth = 1"):
        sample_tangent_statistics(Layer.critical("relu"), 1.0, 8, 1, 10)
