"""Products with the Hessian, in units of a gradient on the same data; float32, one thread.

The limit of a product with a kept graph follows from counting multiplications. With P_l weights in
layer l a gradient takes 6 sum P_l - 2 P_1 a sample, a product 12 sum P_l - 8 P_1. That is 1.34
gradients for the fully connected net, whose first layer has three quarters of the weights, and 2
for a deep one. The gradient of the convolutional net is not bound by multiplications, so its
product can cost less than the 1.9 of the count. A product over a loader adds the gradient that
rebuilds each graph, shared by the vectors of a block.

The gradient is that of plain PyTorch. Rows of a kept graph are those of any module; fully connected
networks of ours have their products written out.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lightning_landscape.curvature import (
    GaussNewtonOperator,
    HessianOperator,
    StreamingOperator,
    hessian_of,
    linearized_hessian,
)
from lightning_landscape.curvature.operators import of_energy
from lightning_landscape.curvature.operators.written_out import WrittenOutHessian
from lightning_landscape.data import LabelledData
from lightning_landscape.energies import FullyConnected, NetworkEnergy, SphericalPSpin


def fully_connected():
    return nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    )


def convolutional():
    """Three convolutions and two dense layers, 122 570 weights."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def batch(*shape):
    return torch.randn(shape), torch.randint(10, shape[:1])


def loss_on(net, data):
    return lambda: F.cross_entropy(net(data[0]), data[1])


def gradient_of(net, *losses):
    parameters = list(net.parameters())
    return lambda: [torch.autograd.grad(loss(), parameters) for loss in losses]


NETS = {
    "784-256-256-10, batch 1000": (fully_connected, (1000, 784), 1.4),
    "3 conv + 2 dense, batch 256": (convolutional, (256, 3, 32, 32), 1.6),
}


@pytest.mark.parametrize("name", NETS)
def test_kept_graph(compare, name):
    make, shape, at_most = NETS[name]
    net = make()
    loss = loss_on(net, batch(*shape))
    H = HessianOperator(loss, net.parameters())
    V = torch.randn(1, H.N)
    ours = lambda: H @ V  # noqa: E731
    compare(f"Hv, {name}", ours, gradient_of(net, loss), against="gradient", at_most=at_most)


def energy_on(data):
    x, y = data
    data = LabelledData(x, y, x[:1], y[:1], 10)
    return NetworkEnergy(FullyConnected([784, 256, 256, 10]), data)


@pytest.mark.parametrize("k", [1, 8])
def test_written_out(compare, k):
    data = batch(1000, 784)
    H = hessian_of(energy_on(data))
    assert isinstance(H, WrittenOutHessian)
    net = fully_connected()
    gradient, V = gradient_of(net, loss_on(net, data)), torch.randn(k, H.N)
    compare(
        f"{k} Hv written out, 784-256-256-10, batch 1000",
        lambda: H @ V,
        lambda: [gradient() for _ in range(k)],
        against=f"{k} gradients",
        at_most=1.4,
    )


@pytest.mark.parametrize("name", NETS)
def test_linearized(compare, name):
    make, shape, at_most = NETS[name]
    net = make()
    loss = loss_on(net, batch(*shape))
    H = linearized_hessian(loss, net.parameters(), net)
    assert not isinstance(H, HessianOperator)
    V = torch.randn(1, H.N)
    ours = lambda: H @ V  # noqa: E731
    what = f"Hv linearized, {name}"
    compare(what, ours, gradient_of(net, loss), against="gradient", at_most=at_most)


def test_linearization(compare):
    """Forward over reverse mode takes about four gradients, the comparison as many."""
    net = convolutional()
    loss = loss_on(net, batch(64, 3, 32, 32))
    compare(
        "linearization of the gradient, 3 conv + 2 dense, batch 64",
        lambda: linearized_hessian(loss, net.parameters(), net),
        gradient_of(net, loss),
        against="gradient",
        at_most=12,
        rounds=3,
    )


def test_gauss_newton(compare):
    net, data = fully_connected(), batch(1000, 784)
    G = GaussNewtonOperator(
        lambda: net(data[0]), lambda f: F.cross_entropy(f, data[1]), net.parameters()
    )
    V = torch.randn(1, G.N)
    peer = gradient_of(net, loss_on(net, data))
    compare("Gv, 784-256-256-10", lambda: G @ V, peer, against="gradient", at_most=1.4)


@pytest.mark.parametrize("way", ["kept graph", "written out"])
def test_loader(compare, monkeypatch, way):
    net, x_and_y = fully_connected(), batch(10_000, 784)
    batches = list(zip(*(t.split(1000) for t in x_and_y), strict=True))
    if way == "written out":
        # in batches of 1000, as what would exceed 1 GiB goes
        monkeypatch.setattr(of_energy, "_samples_at_once", lambda energy: 1000)
        H = hessian_of(energy_on(x_and_y))
        assert isinstance(H, StreamingOperator)
    else:
        H = StreamingOperator(
            lambda data: HessianOperator(loss_on(net, data), net.parameters()), batches
        )
    V = torch.randn(10, H.N)
    gradient = gradient_of(net, *(loss_on(net, data) for data in batches))
    what, against = f"10 Hv over 10 batches, {way}", "10 gradients over them"
    ten = lambda: [gradient() for _ in range(10)]  # noqa: E731
    compare(what, lambda: H @ V, ten, against=against, at_most=1.5, rounds=5)


def test_glass(compare):
    """Both read each coupling once; the gradient of one replica does so in packed form."""
    energy = SphericalPSpin(N=200, p=3)
    H = HessianOperator(energy, energy.parameters(), chunk=16)
    V = torch.randn(16, 200)
    gradient = gradient_of(energy, energy)
    sixteen = lambda: [gradient() for _ in range(16)]  # noqa: E731
    compare("16 Hv, p = 3, N = 200", lambda: H @ V, sixteen, against="16 gradients", at_most=1.9)


def test_matrix_of_a_glass(compare):
    """Against the gradient that einsum makes of the N^3 couplings as one tensor."""
    energy = SphericalPSpin(N=200, p=3)
    J, x = torch.randn(200, 200, 200), energy.configuration().requires_grad_()

    def gradient():
        E = torch.einsum("ijk,ri,rj,rk->r", J, x, x, x)
        return torch.autograd.grad(E.sum(), x)

    compare(
        "dense H, p = 3, N = 200", energy.hessian, gradient, against="einsum gradient", at_most=0.6
    )
