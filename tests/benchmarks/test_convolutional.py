"""Replicas of convolutional networks against plain PyTorch, one network after the other."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lightning_landscape.data import LabelledData
from lightning_landscape.energies import NetworkEnergy, ResNet18, SmallConvNet
from lightning_landscape.energies.networks.resnet import _ResNet


def images(shape, samples):
    x, y = torch.randn(samples, *shape), torch.arange(samples) % 10
    return LabelledData(x, y, x[:10], y[:10], classes=10)


def descend(energy, batch):
    sgd = torch.optim.SGD(energy.parameters(), lr=0.01)

    def step():
        sgd.zero_grad()
        energy(batch).sum().backward()
        sgd.step()

    return step


def descend_in_turn(nets, x, y):
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.01) for net in nets]

    def step():
        for r, (net, sgd) in enumerate(zip(nets, optimizers, strict=True)):
            sgd.zero_grad()
            F.cross_entropy(net(x[r]), y[r]).backward()
            sgd.step()

    return step


def sequential(c, size):
    return nn.Sequential(
        nn.Conv2d(c, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(32 * (size // 4) ** 2, 10),
    )  # fmt: skip


@pytest.mark.parametrize(
    "size, R, B, at_least", [(8, 8, 16, 1.3), (8, 8, 64, 1.1), (28, 4, 64, 1.1)]
)
def test_replicas_of_a_small_convnet(compare, size, R, B, at_least):
    """The limit is the rate of convolutions; small ones leave the machine idle, large ones do not.

    Samples are picked from the data at each step, which plain PyTorch is spared here.
    """
    data = images((1, size, size), 256)
    batch = torch.randint(256, (R, B))
    energy = NetworkEnergy(SmallConvNet([1, size, size], [16, 32], replicas=R), data)
    nets = [sequential(1, size) for _ in range(R)]
    compare(
        f"gradient + SGD step, {R} x SmallConvNet [16, 32], {size} x {size} pixels, B = {B}",
        descend(energy, batch),
        descend_in_turn(nets, data.inputs[batch], data.targets[batch]),
        against=f"{R} nn.Sequential in turn",
        at_least=at_least,
    )


def test_a_resnet(compare):
    """The limit is the rate of convolutions: 3.3 GFLOP a sample and step."""
    data, batch = images((3, 32, 32), 16), torch.arange(16)
    energy, net = NetworkEnergy(ResNet18(), data), _ResNet(10, 3, 64, "batch")
    compare(
        "gradient + SGD step, ResNet18, 32 x 32 pixels, B = 16",
        descend(energy, batch),
        descend_in_turn([net], data.inputs[None], data.targets[None]),
        against="the same nn.Module",
        at_most=1.15,
        rounds=5,
    )
