"""Replicas of networks, computed together: against plain PyTorch, one run after the other."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from lightning_landscape.data import RandomData
from lightning_landscape.energies.networks.architectures import FullyConnected
from lightning_landscape.energies.networks.network import NetworkEnergy

R, DIMENSION, LR = 64, 10, 0.01


def repeated(function, times):
    def run():
        for _ in range(times):
            function()

    return run


def widths(hidden, width):
    return [DIMENSION, *[width] * hidden, 1]


def descend(energy, steps):
    sgd = torch.optim.SGD(energy.parameters(), lr=LR)
    for _ in range(steps):
        sgd.zero_grad()
        energy().sum().backward()
        sgd.step()


def descend_sequential(net, x, y, steps):
    """One run as anyone would write it, quadratic hinge."""
    sgd = torch.optim.SGD(net.parameters(), lr=LR)
    for _ in range(steps):
        sgd.zero_grad()
        loss = (1 - y * net(x).squeeze(-1)).relu().square().mean() / 2
        loss.backward()
        sgd.step()


def sequential(hidden, width):
    sizes = widths(hidden, width)
    layers = []
    for m, n in pairwise(sizes):
        layers += [nn.Linear(m, n), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def energy(hidden, width, data, replicas=R):
    architecture = FullyConnected(widths(hidden, width), replicas=replicas)
    return NetworkEnergy(architecture, data, "quadratic_hinge")


SIZES = pytest.mark.parametrize(
    "hidden, width, samples, steps, at_least",
    [(2, 10, 100, 20, 20), (3, 30, 100, 20, 8), (3, 30, 1000, 4, 1), (3, 30, 10_000, 1, 1)],
)


@SIZES
def test_64_replicas_against_64_runs(compare, hidden, width, samples, steps, at_least):
    """The limit is the machine's rate of small matrix products: about 6 N P R operations a step."""
    data = RandomData(samples, DIMENSION)
    together = energy(hidden, width, data)
    alone = [energy(hidden, width, data, replicas=1) for _ in range(R)]
    compare(
        f"gradient + SGD step, {R} x {hidden} hidden layers of {width}, P = {samples}",
        lambda: descend(together, steps),
        lambda: [descend(one, steps) for one in alone],
        against=f"{R} runs of one replica in turn",
        at_least=at_least,
        rounds=7,
    )


@SIZES
def test_64_replicas_against_plain_torch(compare, hidden, width, samples, steps, at_least):
    """The same against what a script would do; its small nets cost less than our single ones."""
    data = RandomData(samples, DIMENSION)
    x, y = data.inputs, 2.0 * data.targets - 1
    together, nets = energy(hidden, width, data), [sequential(hidden, width) for _ in range(R)]
    compare(
        f"gradient + SGD step, {R} x {hidden} hidden layers of {width}, P = {samples}",
        lambda: descend(together, steps),
        lambda: [descend_sequential(net, x, y, steps) for net in nets],
        against=f"{R} nn.Sequential in turn",
        at_least=at_least,
        rounds=7,
        assert_=samples > 100,
    )


def test_one_replica_against_one_run(compare):
    """The price of the replica axis where there is nothing to gain from it."""
    data = RandomData(1000, DIMENSION)
    alone, net = energy(3, 30, data, replicas=1), sequential(3, 30)
    x, y = data.inputs, 2.0 * data.targets - 1
    compare(
        "gradient + SGD step, one network of 3 hidden layers of 30, P = 1000",
        lambda: descend(alone, 50),
        lambda: descend_sequential(net, x, y, 50),
        against="nn.Sequential",
        at_most=1.25,
    )


def test_gradient_against_the_matrix_products_in_it(compare):
    """Three products a layer (forward, weights, inputs) are the limit; all else is overhead."""
    P, width, hidden = 1000, 30, 3
    data = RandomData(P, DIMENSION)
    networks = energy(hidden, width, data, replicas=8)
    W, h = torch.randn(8, width, width), torch.randn(8, width, P)
    first, x = torch.randn(8 * width, DIMENSION), data.inputs.T
    z, flat, dW = torch.empty_like(h), torch.empty(8 * width, P), torch.empty_like(W)

    def products():
        torch.mm(first, x, out=flat)
        torch.mm(h.flatten(0, 1), x.T)
        for _ in range(hidden - 1):
            torch.bmm(W, h, out=z)
            torch.bmm(W.transpose(1, 2), h, out=z)
            torch.bmm(h, z.transpose(1, 2), out=dW)
        torch.bmm(W[:, :1], h)
        torch.bmm(z[:, :1], h.transpose(1, 2))
        torch.bmm(W[:, :1].transpose(1, 2), z[:, :1], out=h)

    parameters = tuple(networks.parameters())

    def gradient():
        torch.autograd.grad(networks().sum(), parameters)

    compare(
        "gradient of 8 x 3 hidden layers of 30, P = 1000",
        repeated(gradient, 20),
        repeated(products, 20),
        against="its matrix products alone",
        at_most=1.8,
    )
