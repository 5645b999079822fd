"""Two-batch descent: unbiased over all pairs of batches, where one batch twice is biased."""

import itertools

import pytest
import torch

from lightning_landscape.dynamics import TwoBatchDescent
from lightning_landscape.energies import Closure
from lightning_landscape.errors import UsageError


class Fit:
    """E_b(x) = (x^3 - a_b x_1 ...)^2-like terms of four samples in two dimensions."""

    a = torch.tensor([[1.0, 0.5], [-0.3, 2.0], [0.7, -1.0], [1.5, 0.2]], dtype=torch.float64)
    y = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)

    def of(self, b, x):
        f = torch.tanh(x @ self.a[b]) + 0.5 * x[:, 0] * x[:, 1]
        return (f - self.y[b]) ** 2

    def mean(self, x):
        return sum(self.of(b, x) for b in range(4)) / 4


def moved(first, second, x, lr=1e-3):
    """The update with gradient of sample ``first`` and Hessian of sample ``second``, over -lr."""
    p, fit = torch.nn.Parameter(x.clone()), Fit()
    optimizer = TwoBatchDescent([p], lr=lr, momentum=0.0)
    for b in (first, second):

        def closure(b=b):
            optimizer.zero_grad()
            E = fit.of(b, p)
            E.sum().backward()
            return E.detach()

        optimizer.step(closure)
    return (x - p.detach()) / lr


def test_the_mean_over_all_pairs_of_batches_is_the_gradient_of_w():
    """And over equal pairs it is that of W + tr Sigma / 2, Sigma of batch gradients."""
    x, fit = torch.tensor([[0.4, -0.7]], dtype=torch.float64), Fit()
    pairs = torch.stack([moved(a, b, x) for a, b in itertools.product(range(4), repeat=2)])
    same = torch.stack([moved(b, b, x) for b in range(4)])

    def gradient(function):
        p = x.clone().requires_grad_()
        return torch.autograd.grad(function(p), p, create_graph=True)[0]

    p = x.clone().requires_grad_()

    def squared(function):
        g = torch.autograd.grad(function(p).sum(), p, create_graph=True)[0]
        return g.square().sum() / 2

    exact = torch.autograd.grad(squared(fit.mean), p)[0]
    mean_square = sum(squared(lambda z, b=b: fit.of(b, z)) for b in range(4)) / 4
    biased = torch.autograd.grad(mean_square, p)[0]
    torch.testing.assert_close(pairs.mean(0), exact, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(same.mean(0), biased, rtol=1e-5, atol=1e-6)
    assert (biased - exact).norm() > 0.1 * exact.norm()


def test_it_descends_to_a_saddle_and_its_momentum_and_decay_are_as_stated():
    l = torch.tensor([-1.0, 2.0], dtype=torch.float64)
    energy = Closure(lambda x: (l * x * x).sum(1) / 2, torch.ones(3, 2, dtype=torch.float64))
    optimizer = TwoBatchDescent(energy.parameters(), lr=0.1, momentum=0.5, decay=2)

    def closure():
        optimizer.zero_grad()
        E = energy()
        E.sum().backward()
        return E.detach()

    x = v = energy.configuration()
    v = torch.zeros_like(x)
    for update in range(5):
        optimizer.step(closure)
        assert torch.equal(energy.configuration(), x)  # the first step of a pair moves nothing
        E = optimizer.step(closure)
        torch.testing.assert_close(E, (l * x * x).sum(1) / 2, rtol=1e-5, atol=1e-5)
        v = 0.5 * v + l**2 * x
        x = x - 0.1 / (1 + update / 2) * v
        torch.testing.assert_close(energy.configuration(), x, rtol=1e-6, atol=1e-7)
        x = energy.configuration()
    assert optimizer.time_step == 1.0


def test_impossible_settings_are_refused():
    x = torch.nn.Parameter(torch.zeros(2, 3, dtype=torch.float64))
    for options in ({"lr": 0.0}, {"lr": 1.0, "momentum": 1.0}, {"lr": 1.0, "decay": 0}):
        name = list(options)[-1]
        with pytest.raises(UsageError, match=name):
            TwoBatchDescent([x], **options)
    with pytest.raises(UsageError, match="closure"):
        TwoBatchDescent([x], lr=1.0).step()
