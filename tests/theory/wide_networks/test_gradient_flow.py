"""Gradient flow at order 1/n: its statistics against networks, its answer against the equations."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.func import jacrev, vmap

from lightning_landscape.errors import UsageError
from lightning_landscape.theory.wide_networks import (
    Layer,
    first_order,
    gradient_descent,
    gradient_flow_first_order,
    input_kernel,
    training_tensors,
    two_inputs,
)
from lightning_landscape.theory.wide_networks.gradient_flow import (
    _corrections,
    _Cumulants,
    _cumulants,
)

INPUTS = np.array([[1.0, 0.3, -0.5], [0.2, 1.1, 0.4]])
LAYER = Layer("tanh", weight_variance=1.1, bias_variance=0.2)
BIAS_RATE, WEIGHT_RATE = np.array([0.7, 0.5, 0.9]), np.array([1.0, 0.8, 0.6])


@cache
def tensors(depth):
    K1 = input_kernel(LAYER, INPUTS)
    return training_tensors(LAYER, K1, depth, BIAS_RATE[:depth], WEIGHT_RATE[:depth])


@pytest.mark.parametrize(("name", "K1"), [("tanh", 1.0), ("gelu", 3.5615528), ("linear", 1.0)])
def test_one_input_is_first_order(name, K1):
    layer = Layer.critical(name)
    x = training_tensors(layer, np.array([[K1]]), depth=4)
    exact = first_order(layer, K1, depth=4)
    for each in "VDAFBPQ":
        np.testing.assert_allclose(getattr(x, each).item(), getattr(exact, each)[-1], rtol=4e-3)
    np.testing.assert_allclose(x.G1.item(), exact.G1[-1], rtol=4e-3, atol=1e-9)
    np.testing.assert_allclose(x.tangent1.item(), exact.T1[-1], rtol=1e-2, atol=1e-9)


def test_two_inputs_have_the_metric_of_two_inputs():
    x, exact = tensors(3), two_inputs(LAYER, input_kernel(LAYER, INPUTS), depth=3)
    pairs = [(0, 0), (0, 1), (1, 1)]
    for i, (a, b) in enumerate(pairs):
        assert x.G1[a, b] == pytest.approx(exact.G1[-1, i], rel=0.01)
        for j, (c, d) in enumerate(pairs):
            assert x.V[a, b, c, d] == pytest.approx(exact.V[-1, i, j], rel=0.01)


def sampled(width, networks):
    """n times the cumulants of networks with one hidden layer, by automatic differentiation."""
    x, widths = torch.from_numpy(INPUTS), [3, width, 1]
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(networks, *shape, generator=generator, dtype=torch.float64)

    parameters = [
        ((1.1 / n) ** 0.5 * normal(m, n), 0.2**0.5 * normal(m)) for n, m in pairwise(widths)
    ]

    def net(p):
        (W1, b1), (W2, b2) = p
        return (torch.tanh(x @ W1.T + b1) @ W2.T + b2)[:, 0]

    rates = [(WEIGHT_RATE[l] / widths[l], BIAS_RATE[l]) for l in range(2)]

    def derivative(of):
        """Along the gradient of each output, times the rates, which is a last axis."""

        def product(p):
            total = 0
            for J, g, lam in zip(jacrev(of)(p), jacrev(net)(p), rates, strict=True):
                for one, two, rate in zip(J, g, lam, strict=True):
                    axes = (list(range(-two.ndim + 1, 0)),) * 2
                    total = total + rate * torch.tensordot(one, two, axes)
            return total

        return product

    H, omega, xi = (
        derivative(net),
        derivative(derivative(net)),
        derivative(derivative(derivative(net))),
    )
    z, H, omega, xi = vmap(lambda p: (net(p), H(p), omega(p), xi(p)))(parameters)
    h = H - torch.from_numpy(tensors(2).tangent)
    return {
        "T1": width * h,
        "hh": width * torch.einsum("rab,rcd->rabcd", h, h),
        "zzh": width * torch.einsum("ra,rb,rcd->rabcd", z, z, h),
        "z_omega": width * torch.einsum("rd,rabc->rdabc", z, omega),
        "xi": width * xi,
    }


@pytest.mark.slow
def test_cumulants_of_networks_with_one_hidden_layer():
    """They are exact at any width, as nothing fluctuates in the first layer."""
    exact = _cumulants(tensors(2))
    for name, each in sampled(width=2, networks=20_000).items():
        error = each.std(0).numpy() / len(each) ** 0.5
        expected = getattr(exact, name)
        assert (np.abs(each.mean(0).numpy() - expected) < 4 * error + 3e-3).all(), name


@pytest.mark.parametrize(
    ("name", "index", "measured", "error"),
    [
        ("hh", (0, 0, 0, 0), 2.954, 0.130),
        ("hh", (0, 0, 1, 1), 2.244, 0.113),
        ("hh", (0, 1, 0, 1), 1.271, 0.057),
        ("z_omega", (0, 0, 0, 0), -1.704, 0.159),
        ("z_omega", (0, 0, 1, 0), -0.634, 0.072),
        ("xi", (0, 0, 0, 0), -8.503, 0.237),
        ("xi", (0, 0, 0, 1), -3.515, 0.141),
        ("xi", (0, 0, 1, 0), -5.801, 0.149),
        ("xi", (0, 0, 1, 1), -0.717, 0.095),
        ("xi", (0, 1, 0, 1), -3.232, 0.096),
    ],
)
def test_cumulants_of_networks_with_two_hidden_layers(name, index, measured, error):
    """Sampled as above, from 1000 networks of width 128."""
    assert getattr(_cumulants(tensors(3)), name)[index] == pytest.approx(measured, abs=3 * error)


def toy():
    """Two training inputs and a test input: h = normal U + shift, Omega = M K^-1 z, Xi constant."""
    rng = np.random.default_rng(1)

    def symmetric(*shape):
        x = rng.normal(size=(*shape, 3, 3))
        return x + x.swapaxes(-1, -2)

    K = symmetric() * 0.2 + 2 * np.eye(3)
    theta = symmetric() * 0.2 + 2 * np.eye(3)
    U, shift = symmetric(2), symmetric()
    M = rng.normal(size=(3, 3, 3, 3))  # (d, a, b, c)
    xi = rng.normal(size=(3, 3, 3, 3))
    return K, theta, U, shift, M + M.swapaxes(1, 2), xi + xi.swapaxes(0, 1)


def flow_to_the_end(z, H, omega, xi, y):
    """Answers on the test input, by Runge-Kutta; all with a first axis of samples."""
    f, dt = z.copy(), 0.1

    def rate(f, H, omega):
        e = f[:, :2] - y
        return (
            -np.einsum("nab,nb->na", H[:, :, :2], e),
            -np.einsum("nabc,nc->nab", omega[..., :2], e),
            -np.einsum("abcd,nd->nabc", xi[..., :2], e),
        )

    state = (f, H, omega)
    for _ in range(200):
        k1 = rate(*state)
        k2 = rate(*(s + dt / 2 * k for s, k in zip(state, k1, strict=True)))
        k3 = rate(*(s + dt / 2 * k for s, k in zip(state, k2, strict=True)))
        k4 = rate(*(s + dt * k for s, k in zip(state, k3, strict=True)))
        slopes = (a + 2 * b + 2 * c + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
        state = tuple(s + dt / 6 * k for s, k in zip(state, slopes, strict=True))
    return state[0][:, 2]


def test_the_flow_to_the_end():
    """Averaged over z and h by quadrature, the solution of the equations has the mean and the
    variance of the formula, at first order."""
    K, theta, U, shift, M, xi = toy()
    y, small = np.array([1.0, -0.7]), 1e-4
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    grid, p = (
        np.stack(np.meshgrid(*[each] * 5, indexing="ij"), -1).reshape(-1, 5)
        for each in (nodes, weights / weights.sum())
    )
    p = p.prod(1)
    z = grid[:, :3] @ np.linalg.cholesky(K).T

    def moments(small):
        h = small**0.5 * np.einsum("nq,qab->nab", grid[:, 3:], U) + small * shift
        omega = small * np.einsum(
            "nd,dabc->nabc", z, np.einsum("de,eabc->dabc", np.linalg.inv(K), M)
        )
        f = flow_to_the_end(z, theta + h, omega, small * xi, y)
        return p @ f, p @ f**2 - (p @ f) ** 2

    hh, zzh = np.einsum("qab,qcd->abcd", U, U), np.multiply.outer(K, shift)
    cumulants = _Cumulants(K, np.zeros((3, 3)), shift, hh, zzh, M, xi)
    mean, covariance = _corrections(cumulants, theta, y)
    start, end = moments(0.0), moments(small)
    np.testing.assert_allclose((end[0] - start[0]) / small, mean, rtol=1e-2)
    np.testing.assert_allclose((end[1] - start[1]) / small, covariance.item(), rtol=1e-2)


def test_the_corrections_fall_with_the_width():
    """They are those of one output, and nothing else changes with n."""
    x, y = tensors(3), np.array([1.0])
    kernel = gradient_descent(x.K, x.tangent, y)
    first, second = (gradient_flow_first_order(x, y, width) for width in (32, 64))
    np.testing.assert_allclose(first.mean - kernel.mean, 2 * (second.mean - kernel.mean))
    change = [each.covariance - kernel.covariance for each in (first, second)]
    np.testing.assert_allclose(change[0], 2 * change[1])


def test_misuse():
    K1 = np.array([[1.0, 0.3], [0.3, 1.0]])
    with pytest.raises(UsageError, match="activation = relu: must be smooth"):
        training_tensors(Layer.critical("relu"), K1, depth=2)
    with pytest.raises(UsageError, match="skip"):
        training_tensors(Layer.critical("tanh", skip=0.5), K1, depth=2)
    with pytest.raises(UsageError, match="must be a covariance"):
        training_tensors(Layer.critical("tanh"), np.array([[1.0, 2.0], [2.0, 1.0]]), depth=2)
    with pytest.raises(UsageError, match="those of one output"):
        gradient_flow_first_order(tensors(2), np.ones((1, 2)), width=8)
    with pytest.raises(UsageError, match="kernel"):
        gradient_flow_first_order(tensors(2), np.ones(2), width=8)
