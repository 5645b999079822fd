"""Both schemes sample exp(-E/T) as well as theory says, in wells, a double well and a network."""

import numpy as np
import pytest
import torch
from torch import nn

from lightning_landscape.dynamics import Langevin, LeimkuhlerMatthews

BOTH = pytest.mark.parametrize("scheme", [Langevin, LeimkuhlerMatthews])


def walk(dynamics, x, gradient, steps):
    """Yield the configuration after each of ``steps`` steps."""
    for _ in range(steps):
        x.grad = gradient(x.detach())
        dynamics.step()
        yield x.detach()


def mean(values, skip, blocks=10):
    """The mean over steps after the first ``skip``, and its standard error over ten blocks."""
    values = np.array(values[skip:])
    means = values[: len(values) // blocks * blocks].reshape(blocks, -1).mean(1)
    return values.mean(), means.std(ddof=1) / blocks**0.5


@pytest.mark.parametrize(("scheme", "exact"), [(Langevin, 0.1 / 1.4), (LeimkuhlerMatthews, 0.05)])
def test_the_variance_in_a_well_is_the_exact_discrete_one(scheme, exact):
    """lam = 2, lr = 0.3, T = 0.1: T / [lam (1 - lr lam / 2)] = 0.07143, or T / lam = 0.05."""
    x = nn.Parameter(torch.zeros(40_000, 1))
    second_moments = [
        y.square().mean().item()
        for y in walk(scheme([x], lr=0.3, temperature=0.1), x, lambda y: 2 * y, 150)
    ]
    variance = np.mean(second_moments[20::5])  # 26 samples, exp(-5) apart: error 0.14 %
    assert variance == pytest.approx(exact, rel=0.006)


def test_each_replica_samples_its_own_temperature():
    """T / lam for each temperature at once; 4 standard errors of 26 000 samples are 3.5 %."""
    T = torch.tensor([0.1, 0.4, 1.6, 6.4])
    x = nn.Parameter(torch.zeros(4, 1000))
    dynamics = LeimkuhlerMatthews([x], lr=0.3, temperature=T)
    moments = [y.square().mean(1) for y in walk(dynamics, x, lambda y: 2 * y, 150)]
    ratio = torch.stack(moments[20::5]).mean(0) / (T / 2)
    assert (ratio - 1).abs().max() < 0.035


def test_replicas_are_uncorrelated():
    x = nn.Parameter(torch.zeros(64, 400))
    dynamics = Langevin([x], lr=0.3, temperature=0.5)
    *_, y = walk(dynamics, x, lambda y: 2 * y, 30)
    i, j = torch.triu_indices(64, 64, 1)  # 2016 pairs
    z = torch.corrcoef(y)[i, j] * 400**0.5
    assert z.abs().max() < 5 and abs(z.square().mean() - 1) < 4 * (2 / 2016) ** 0.5


@BOTH
def test_a_free_particle_diffuses_with_2_T_t(scheme):
    """<x^2> after n steps: 2 T lr n, and 2 T lr (n - 1/2) for Leimkuhler-Matthews."""
    x = nn.Parameter(torch.zeros(100_000, 1))
    *_, y = walk(scheme([x], lr=0.1, temperature=0.7), x, torch.zeros_like, 20)
    steps = 20 if scheme is Langevin else 19.5
    assert abs(y.square().mean().item() / (1.4 * 0.1 * steps) - 1) < 4 * (2 / 100_000) ** 0.5


def double_well(scheme, lr, T=0.5):
    """The deviation of <U>, U = x^4/4 - x^2/2, from quadrature, and its standard error."""
    grid = np.linspace(-5, 5, 20_001)
    U = grid**4 / 4 - grid**2 / 2
    exact = np.average(U, weights=np.exp(-U / T))
    assert exact == pytest.approx(-0.09837, abs=1e-5)
    x = nn.Parameter(torch.randn(20_000, 1))
    energies = [
        (y**4 / 4 - y**2 / 2).mean().item()
        for y in walk(scheme([x], lr, T), x, lambda y: y**3 - y, int(50 / lr))
    ]
    value, error = mean(energies, skip=int(10 / lr))
    return value - exact, error


def test_in_a_double_well_the_bias_of_euler_is_of_first_order():
    """At lr = 0.05 it is +0.0085, that is -0.0899 as published for other Euler samplers."""
    (coarse, e1), (fine, e2) = double_well(Langevin, 0.1), double_well(Langevin, 0.05)
    assert fine == pytest.approx(0.0085, abs=0.0003 + 4 * e2)
    assert 1.9 - 4 * (e1 + e2) / fine < coarse / fine < 2.6 + 4 * (e1 + e2) / fine


@pytest.mark.parametrize("lr", [0.1, 0.05])
def test_in_a_double_well_leimkuhler_matthews_is_fifty_times_closer(lr):
    deviation, error = double_well(LeimkuhlerMatthews, lr)
    assert abs(deviation) < 4 * error + 0.02 * lr**2
    assert error < 1.5e-4


class Chains:
    """R chains of a tanh network with two hidden layers on 40 random labels, T in units of loss."""

    def __init__(self, R=96, d=10, h=16, P=40):
        generator = torch.Generator().manual_seed(1)

        def normal(*shape, scale=1.0):
            return torch.randn(shape, generator=generator) * scale

        self.data, self.labels = normal(P, d, scale=d**-0.5), normal(P).sign()
        shapes = [((h, d), 1.0), ((h,), 0.1), ((h, h), h**-0.5), ((h,), 0.1), ((h,), h**-0.5)]
        self.params = [nn.Parameter(normal(R, *shape, scale=s)) for shape, s in shapes]

    def energy(self):
        """The mean logistic loss, with a weak decay that confines the flat directions; (R,)."""
        W, b, V, c, a = self.params
        z = torch.tanh(torch.einsum("pd,rhd->rph", self.data, W) + b[:, None])
        z = torch.tanh(torch.einsum("rph,rgh->rpg", z, V) + c[:, None])
        margin = self.labels * torch.einsum("rph,rh->rp", z, a)
        decay = sum(p.square().flatten(1).sum(1) for p in self.params)
        return nn.functional.softplus(-margin).mean(1) + 5e-4 * decay

    def square_gradient_and_trace(self):
        """|grad U|^2 and an unbiased estimate of tr H by two random sign vectors; (R,) each."""
        gradient = torch.autograd.grad(self.energy().sum(), self.params, create_graph=True)
        trace = 0
        for _ in range(2):
            v = [torch.randint(0, 2, p.shape) * 2.0 - 1 for p in self.params]
            along = sum((g * w).sum() for g, w in zip(gradient, v, strict=True))
            Hv = torch.autograd.grad(along, self.params, retain_graph=True)
            trace += sum((a * w).flatten(1).sum(1) for a, w in zip(Hv, v, strict=True)) / 2
        return sum(g.detach().square().flatten(1).sum(1) for g in gradient), trace


def configurational_temperature_ratio(scheme, lr, burn, steps, T=0.01):
    """(<|grad U|^2> + d<U>/dt) / (T <tr H>) and its error over the chains; Ito's formula says 1.

    The drift of <U> is small but not nothing: the weights of a network go on diffusing.
    """
    chains = Chains()
    dynamics, measured = scheme(chains.params, lr, T), []
    for step in range(burn + steps):
        dynamics.zero_grad()
        U = chains.energy()
        U.sum().backward()
        if step == burn:
            first = U.detach()
        if step >= burn and step % 20 == 0:
            measured.append(torch.stack(chains.square_gradient_and_trace()))
        dynamics.step()
    square, trace = torch.stack(measured).mean(0)  # (R,) each
    down = square + (U.detach() - first) / ((steps - 1) * lr)
    ratio = down.mean() / (T * trace.mean())
    residual = down - ratio * T * trace
    return ratio.item(), (residual.std() / len(residual) ** 0.5 / (T * trace.mean())).item()


@pytest.mark.slow
def test_a_network_obeys_the_ito_identity_at_a_small_step():
    ratio, error = configurational_temperature_ratio(LeimkuhlerMatthews, 0.05, burn=200, steps=300)
    assert error < 0.025
    assert ratio == pytest.approx(1.0, abs=0.1)


@pytest.mark.slow
def test_a_network_betrays_a_step_that_is_too_large():
    ratio, error = configurational_temperature_ratio(Langevin, lr=0.3, burn=300, steps=400)
    assert ratio - 4 * error > 1.2
