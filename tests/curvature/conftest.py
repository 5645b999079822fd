"""Matrices whose exact spectrum is known: a small network, trained and not, and random ones."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lightning_landscape.curvature import HessianOperator


def small_network(training_steps, width=24, samples=500, dense=True):
    """tanh 20-24-24-10 (1354 weights) on 500 samples, and its Hessian in float64."""
    torch.manual_seed(1)
    x = torch.randn(samples, 20)
    y = (x @ torch.randn(20, 10) + 2 * torch.randn(samples, 10)).argmax(1)
    first, second = nn.Linear(20, width), nn.Linear(width, width)
    net = nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), nn.Linear(width, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(training_steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    optimizer.zero_grad()

    def hessian(dtype=torch.float32):
        module = copy.deepcopy(net).to(dtype)
        return HessianOperator(
            lambda: nn.functional.cross_entropy(module(x.to(dtype)), y), module.parameters()
        )

    if not dense:
        return SimpleNamespace(net=net, x=x, y=y, operator=hessian)
    double = hessian(torch.float64)
    double.chunk = 8
    H = double.dense()[0]
    H = (H + H.mT) / 2
    return SimpleNamespace(
        net=net, x=x, y=y, operator=hessian, H=H, eigenvalues=torch.linalg.eigvalsh(H)
    )


@pytest.fixture(scope="session")
def trained():
    torch.set_num_threads(1)
    return small_network(training_steps=100)


@pytest.fixture(scope="session")
def untrained():
    torch.set_num_threads(1)
    return small_network(training_steps=0)


@pytest.fixture(params=["trained", "untrained"])
def network(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def make_network():
    return small_network


@pytest.fixture
def goe():
    return gaussian_orthogonal


@pytest.fixture
def with_spectrum():
    return of_spectrum


def gaussian_orthogonal(N, replicas=1, seed=0, dtype=torch.float64):
    """Symmetric Gaussian matrices, (R, N, N), whose spectrum fills (-2, 2)."""
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(replicas, N, N, generator=generator, dtype=torch.float64)
    return ((A + A.mT) / (2 * N) ** 0.5).to(dtype)


def of_spectrum(eigenvalues, seed=0):
    """A random matrix, (N, N), float64, with the given eigenvalues."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.as_tensor(eigenvalues, dtype=torch.float64)
    A = torch.randn(len(values), len(values), generator=generator, dtype=torch.float64)
    Q = torch.linalg.qr(A).Q
    return Q * values @ Q.mT
