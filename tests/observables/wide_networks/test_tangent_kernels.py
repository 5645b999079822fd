"""Tangent kernels: layer by layer against gradients, the theory's law, and their statistics."""

import numpy as np
import pytest
import torch
from torch import nn

from lightning_landscape.energies import FullyConnected, SmallConvNet
from lightning_landscape.errors import UsageError
from lightning_landscape.observables.wide_networks import (
    fully_connected_tangent_kernels,
    kernel_alignment,
    kernel_motion,
    kernel_spectrum,
    tangent_kernels,
)
from lightning_landscape.theory.wide_networks import Layer, first_order, input_kernel, kernels


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def by_hand(net, x):
    """Theta from one backward pass for each output and replica."""
    R, k, P = net.replicas, net.widths[-1], len(x)
    J = torch.zeros(R, k, P, sum(p[0].numel() for p in net.parameters()), dtype=x.dtype)
    f = net(x.unsqueeze(0))
    for r in range(R):
        for a in range(k):
            for p in range(P):
                g = torch.autograd.grad(f[r, p, a], list(net.parameters()), retain_graph=True)
                J[r, a, p] = torch.cat([part[r].flatten() for part in g])
    return torch.einsum("rapn,rbqn->rapbq", J, J)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "erf", "linear", "swish", "elu"])
@pytest.mark.parametrize("skip", [0.0, 0.6])
def test_layers_give_the_product_of_gradients(activation, skip):
    net = FullyConnected([4, 7, 7, 7, 3], activation, 2, dtype="float64", skip=skip)
    x = normal(5, 4)
    expected = by_hand(net, x)
    found = fully_connected_tangent_kernels(net, x, 1.0, net.widths[:-1])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    parameters = list(net.parameters())
    torch.testing.assert_close(tangent_kernels(net(x.unsqueeze(0)), parameters), expected)


def test_rates_are_those_of_gradient_descent():
    """f moves by -lr Theta d(loss)/df to first order, with rates for each layer."""
    net = FullyConnected([4, 30, 30, 2], "tanh", 3, dtype="float64")
    x, bias_rate, weight_rate = normal(6, 4), [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    theta = fully_connected_tangent_kernels(net, x, bias_rate, weight_rate)
    f = net(x.unsqueeze(0))
    (f.square().sum() / 2).backward()
    lr = 1e-5
    with torch.no_grad():
        for l, (W, b) in enumerate(zip(net.weights, net.biases, strict=True)):
            W -= lr * weight_rate[l] / net.widths[l] * W.grad
            b -= lr * bias_rate[l] * b.grad
    moved = (net(x.unsqueeze(0)) - f).detach() / -lr
    expected = torch.einsum("rapbq,rqb->rpa", theta, f.detach())
    torch.testing.assert_close(moved, expected, rtol=2e-3, atol=1e-4)


def test_the_mean_over_networks_is_the_kernel_of_infinite_width():
    """tanh: to order 1/n too, where the mean is T + T1 / n (0.0721 / 64 at L = 5)."""
    x = normal(3, 16, seed=1)
    layer = Layer.critical("tanh")
    exact = kernels(layer, input_kernel(layer, x.numpy()), depth=5).tangent[-1]
    net = FullyConnected([16, *[64] * 4, 1], "tanh", replicas=2000)
    theta = fully_connected_tangent_kernels(net, x.float())[:, 0, :, 0].double()
    error = theta.std(0) / 2000**0.5
    assert ((theta.mean(0) - torch.from_numpy(exact)).abs() < 4 * error + 0.01).all()
    assert (error < 0.02 * theta.mean()).all()


def test_the_variance_over_networks_is_that_of_first_order():
    """Of one output of a tanh network: (A + 2 B) / n."""
    layer, n, R = Layer.critical("tanh"), 128, 3000
    statistics = first_order(layer, K1=1.0, depth=3)
    net = FullyConnected([8, n, n, 1], "tanh", replicas=R, seed=3)
    theta = fully_connected_tangent_kernels(net, torch.ones(1, 8)).flatten().double()
    exact = (statistics.A[-1] + 2 * statistics.B[-1]) / n
    variance = theta.var().item()
    fourth = (theta - theta.mean()).pow(4).mean().item()
    error = ((fourth - variance**2) / R) ** 0.5
    assert variance == pytest.approx(exact, abs=4 * error + 4 / n * exact)
    assert error < 0.06 * exact


def test_of_a_network_with_batch_normalisation():
    """Samples see each other: Theta is that of the whole batch."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 2)).double()
    x = normal(4, 3)
    f = net(x)
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(y, list(net.parameters()),
                                                            retain_graph=True)])
        for y in f.T.flatten()
    ]  # fmt: skip
    J = torch.stack(rows)
    found = tangent_kernels(f.unsqueeze(0), list(net.parameters()))
    torch.testing.assert_close(found.view(8, 8), J @ J.T)


def test_of_replicas_of_a_module():
    net = SmallConvNet([1, 4, 4], channels=[2], outputs=2, replicas=3, dtype="float64")
    x = normal(4, 1, 4, 4)
    parameters = tuple(net.parameters())
    together = tangent_kernels(net.outputs(parameters, x.unsqueeze(0)), parameters)
    module = net.copy_of(2)
    alone = tangent_kernels(module(x).unsqueeze(0), list(module.parameters()))
    torch.testing.assert_close(together[2:], alone)


def test_what_does_not_fit_is_refused():
    net = FullyConnected([4, 5, 1])
    with pytest.raises(UsageError, match=r"^weight_rate = \[1.0\]: must be one number or one for"):
        fully_connected_tangent_kernels(net, torch.ones(2, 4), weight_rate=[1.0])
    with pytest.raises(UsageError, match=r"targets.shape = \(2,\): must be \(3, 1\)"):
        kernel_alignment(torch.ones(1, 1, 3, 1, 3), torch.ones(2))


# statistics


def test_statistics_of_kernels():
    J = normal(2, 6, 9)
    theta = (J @ J.mT).view(2, 2, 3, 2, 3)  # k = 2, P = 3
    values = kernel_spectrum(theta)
    assert values.shape == (2, 6) and (values.diff(dim=1) >= 0).all()
    np.testing.assert_allclose(values.sum(1), J.square().sum((1, 2)), rtol=1e-12)
    y = normal(3, 2, seed=4)
    flat = y.T.flatten()  # outputs first, as the axes of the kernel
    matrix = theta.view(2, 6, 6)
    expected = (flat @ matrix @ flat) / (matrix.flatten(1).norm(dim=1) * flat.square().sum())
    torch.testing.assert_close(kernel_alignment(theta, y), expected)
    torch.testing.assert_close(kernel_motion(1.5 * theta, theta), torch.full((2,), 0.5).double())
    aligned = torch.einsum("pa,qb->apbq", y, y)[None]
    assert kernel_alignment(aligned, y).item() == pytest.approx(1, rel=1e-12)
