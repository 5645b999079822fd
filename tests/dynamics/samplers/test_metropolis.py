"""MALA: no error in the step size, an acceptance that can be computed, whole energies only."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from lightning_landscape.data import Batches, RandomData
from lightning_landscape.dynamics import Langevin, MetropolisLangevin
from lightning_landscape.energies import FullyConnected, NetworkEnergy
from lightning_landscape.errors import UsageError
from lightning_landscape.modules.landscape import LandscapeModule
from lightning_landscape.sphere import Sphere
from lightning_landscape.testing import DynamicsContract


class TestMetropolisLangevin(DynamicsContract):
    def make(self, params, lr, temperature=0.0, seed=0):
        return MetropolisLangevin(params, lr, temperature, seed)


class Closure:
    """Energies and gradients of a function, and how often they were asked for."""

    def __init__(self, x, energy):
        self.x, self.energy, self.calls = x, energy, 0

    def __call__(self):
        self.calls += 1
        self.x.grad = None
        E = self.energy(self.x)
        E.sum().backward()
        return E.detach()


def double_well(x):
    return (x**4 / 4 - x**2 / 2).sum(1)


def mean_energy(scheme, lr, T=0.5, walkers=20_000, steps=400):
    """<U> in the double well and its standard error, from the walkers' own means."""
    x = nn.Parameter(torch.linspace(-1.5, 1.5, walkers)[:, None])
    dynamics, closure = scheme([x], lr, T), Closure(x, double_well)
    energies = [dynamics.step(closure).double() for _ in range(steps)]
    means = torch.stack(energies[steps // 4 :]).mean(0)
    return means.mean().item(), (means.std() / walkers**0.5).item()


def test_in_a_double_well_the_mean_is_exact_where_langevin_is_far_off():
    """Quadrature: -0.09837. At lr = 0.1 Euler is off by more than 20 standard errors.

    The walkers begin near the wells: from far outside every step overshoots and is rejected.
    """
    grid = np.linspace(-5, 5, 20_001)
    U = grid**4 / 4 - grid**2 / 2
    exact = np.average(U, weights=np.exp(-U / 0.5))
    value, error = mean_energy(MetropolisLangevin, 0.1)
    assert error < 0.0006
    assert value == pytest.approx(exact, abs=4 * error)
    biased, error = mean_energy(Langevin, 0.1)
    assert abs(biased - exact) > 20 * error


def test_the_acceptance_in_a_well_is_the_integral_of_metropolis():
    """E[min(1, exp(-W/T))] over x and xi by quadrature, for three steps at once; 4 s.e."""
    T, lam, lr, R = 0.4, 2.0, (0.2, 0.5, 0.9), 30_000
    z = np.linspace(-7, 7, 701)
    weight = np.exp(-(z[:, None] ** 2) / 2 - z[None] ** 2 / 2)
    exact = []
    for h in lr:
        x = np.sqrt(T / lam) * z[:, None]
        y = x - h * lam * x + np.sqrt(2 * h * T) * z[None]
        backward = (x - y + h * lam * y) ** 2 / (4 * h * T)
        log_ratio = lam * (x**2 - y**2) / (2 * T) - backward + z[None] ** 2 / 2
        exact.append(np.average(np.minimum(1, np.exp(log_ratio)), weights=weight))
    x = nn.Parameter(np.sqrt(T / lam) * torch.randn(3 * R, 1))
    dynamics = MetropolisLangevin([x], np.repeat(lr, R).tolist(), T)
    closure = Closure(x, lambda x: lam / 2 * x.square().sum(1))
    for _ in range(10):
        dynamics.step(closure)
    rates = dynamics.rates["acceptance"].view(3, R)
    error = rates.std(1) / R**0.5
    assert ((rates.mean(1) - torch.tensor(exact)).abs() < 4 * error).all()
    assert exact[0] > 0.94 and exact[2] < 0.8


def test_correlated_parameters_of_several_tensors_have_their_covariance():
    """E = x^T A x / 2 across two tensors at a large step; T A^-1 within 4 standard errors."""
    A = torch.tensor([[3.0, 1.0, 0.5], [1.0, 2.0, -0.7], [0.5, -0.7, 1.0]])
    T, walkers, samples = 0.5, 20_000, []
    x, y = nn.Parameter(torch.zeros(walkers, 1)), nn.Parameter(torch.zeros(walkers, 2))
    dynamics = MetropolisLangevin([{"params": [x], "lr": 0.4}, {"params": [y], "lr": 0.3}], 0.1, T)

    def closure():
        dynamics.zero_grad()
        z = torch.cat([x, y], 1)
        E = ((z @ A) * z).sum(1) / 2
        E.sum().backward()
        return E.detach()

    for step in range(200):
        dynamics.step(closure)
        if step >= 50 and step % 15 == 0:
            z = torch.cat([x, y], 1).detach().double()
            samples.append(z.T @ z / walkers)
    covariance, exact = torch.stack(samples).mean(0), T * A.double().inverse()
    diagonal = exact.diagonal()
    error = ((exact.square() + diagonal[:, None] * diagonal) / (walkers * len(samples))).sqrt()
    assert ((covariance - exact).abs() < 4 * 1.3 * error).all()  # 15 steps leave a correlation


def test_a_step_costs_one_gradient_and_notices_who_else_moves_the_replicas():
    x = nn.Parameter(torch.ones(5, 2))
    dynamics, closure = MetropolisLangevin([x], 0.1, 0.5), Closure(x, double_well)
    for _ in range(8):
        here = double_well(x.detach())
        assert dynamics.step(closure).equal(here)
    assert closure.calls == 9
    with torch.no_grad():
        x.add_(0.5)
    here = double_well(x.detach())
    assert dynamics.step(closure).equal(here)
    assert closure.calls == 11


def test_at_zero_temperature_a_step_that_would_diverge_is_rejected():
    """lr lam = 1.5 converges to 0; lr lam = 2.5 stays where it is."""
    x = nn.Parameter(torch.ones(2, 1))
    dynamics = MetropolisLangevin([x], [1.5, 2.5], 0.0)
    closure = Closure(x, lambda x: x.square().sum(1) / 2)
    for _ in range(20):
        dynamics.step(closure)
    assert x[0].abs() < 1e-5 and x[1] == 1
    assert dynamics.rates["acceptance"].tolist() == [1.0, 0.0]


def test_at_zero_temperature_it_leaves_a_saddle():
    x = nn.Parameter(torch.tensor([[0.3, 0.01]]))
    dynamics = MetropolisLangevin([x], 0.1, 0.0)
    closure = Closure(x, lambda x: x[:, 0].square() + (x[:, 1].square() - 1).square())
    for _ in range(100):
        dynamics.step(closure)
    assert closure.energy(x).item() < 1e-6


def test_the_acceptance_goes_on_after_a_resume_and_a_copy_moves_on_its_own():
    x = nn.Parameter(torch.ones(6, 1))
    dynamics, closure = MetropolisLangevin([x], 1.0, 0.5), Closure(x, double_well)
    for _ in range(10):
        dynamics.step(closure)
    other = nn.Parameter(x.detach().clone())
    resumed = MetropolisLangevin([other], 1.0, 0.5)
    resumed.load_state_dict(copy.deepcopy(dynamics.state_dict()))
    for _ in range(10):
        dynamics.step(closure)
        resumed.step(Closure(other, double_well))
    assert x.equal(other)
    assert dynamics.rates["acceptance"].equal(resumed.rates["acceptance"])
    assert 0 < dynamics.rates["acceptance"].mean() < 1


def test_what_it_cannot_do_is_refused():
    x = nn.Parameter(torch.ones(4, 3))
    dynamics = MetropolisLangevin([x], 0.1, 0.5)
    with pytest.raises(UsageError, match="closure"):
        dynamics.step()
    with pytest.raises(UsageError, match="must return 4 energies"):
        dynamics.step(Closure(x, lambda x: x.square().sum().reshape(1)))
    with pytest.raises(UsageError, match="sphere"):
        MetropolisLangevin([x], 0.1, 0.5, constraint=Sphere(3))


def test_mini_batches_are_refused_where_the_energy_decides():
    data = RandomData(samples=20, dimension=3)
    energy = NetworkEnergy(FullyConnected([3, 4, 2], replicas=2), data)
    with pytest.raises(UsageError, match="mini-batch"):
        LandscapeModule(
            energy, lambda params: MetropolisLangevin(params, 0.1, 0.1), Batches(batch_size=5)
        )


def test_twins_share_noise_and_decisions():
    """Two blocks of three that start alike stay alike, accepted or rejected."""
    x = nn.Parameter(torch.linspace(-1, 1, 3).repeat(2)[:, None])
    dynamics = MetropolisLangevin([x], 1.0, 0.5)
    dynamics.twins = 2
    for _ in range(10):
        dynamics.step(Closure(x, double_well))
    assert x[:3].equal(x[3:])
    assert 0 < dynamics.rates["acceptance"].mean() < 1
