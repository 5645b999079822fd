"""The learning coefficient of singular minima, against quadrature at the same temperature.

At finite T the expectation of E/T under exp(-E/T - localisation |x|^2 / 2) is an integral over one
variable; its limits at T -> 0 are the thresholds 1/2 (regular, a dimension), 1/4 (x^4), and 1/2
with multiplicity 2 (x^2 y^2), which is approached like 1 / log(1/T) only.
"""

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from lightning_landscape.dynamics import LeimkuhlerMatthews, MetropolisLangevin
from lightning_landscape.energies import Energy, Quadratic
from lightning_landscape.errors import UsageError
from lightning_landscape.observables.learning_coefficient import learning_coefficient


class Singular(Energy):
    """``values`` of (R, d) coordinates that all start at 0."""

    extensive: ClassVar[bool] = False

    def __init__(self, values, dimension, replicas):
        super().__init__()
        self.values, self.replicas = values, replicas
        self.x = nn.Parameter(torch.zeros(replicas, dimension, dtype=torch.float64))

    def forward(self, batch=None):
        return self.values(self.x)


def average(values, log_weight):
    return np.average(values, weights=np.exp(log_weight - log_weight.max()))


def quartic(T, localisation):
    """<x^4 / T>."""
    x = np.linspace(-3, 3, 200_001)
    return average(x**4 / T, -(x**4) / T - localisation * x**2 / 2)


def cross(T, localisation):
    """<x^2 y^2 / T>, with the Gaussian integral over y done."""
    x = np.linspace(-9, 9, 400_001)
    stiffness = localisation + 2 * x**2 / T
    log_weight = -localisation * x**2 / 2 - np.log(stiffness) / 2
    return average(x**2 / T / stiffness, log_weight)


def estimate(energy, lr, T, localisation, steps, burn_in):
    sampler = LeimkuhlerMatthews(energy.parameters(), lr, T, seed=3)
    return learning_coefficient(energy, sampler, steps, burn_in, localisation)


def agrees(found, exact):
    """The mean over chains within 4 standard errors, and these within 2 % of the value."""
    error = found.value.std().item() / len(found.value) ** 0.5
    assert error < 0.02 * exact
    assert found.value.mean().item() == pytest.approx(exact, abs=4 * error)


def test_the_quadrature_has_the_thresholds_as_limits():
    assert quartic(1e-10, 1.0) == pytest.approx(0.25, abs=1e-3)
    by_logarithm = [1 / (0.5 - cross(T, 1.0)) for T in (1e-2, 1e-4, 1e-6)]
    slopes = np.diff(by_logarithm) / np.log(100)  # 1/2 - lambda falls like 1 / log(1/T)
    assert slopes == pytest.approx([1, 1], abs=0.1)


def test_a_regular_minimum_counts_its_directions_that_the_spring_does_not_hold():
    lam, T, localisation = [1.0, 1.0, 4.0, 0.05], 0.02, 2.0
    energy = Quadratic(lam, replicas=2000, start=0.0)
    exact = sum(x / (x + localisation * T) for x in lam) / 2
    agrees(estimate(energy, 0.2, T, localisation, steps=1500, burn_in=300), exact)


def test_a_quartic_minimum_has_a_quarter():
    energy = Singular(lambda x: x.pow(4).sum(1), 1, 1000)
    found = estimate(energy, 0.2, 0.001, 1.0, steps=3000, burn_in=500)
    agrees(found, quartic(0.001, 1.0))
    assert found.value.mean() == pytest.approx(0.25, abs=0.01)


def test_two_crossing_valleys_have_their_logarithm():
    """x^2 y^2 at T = 0.05: 0.333, and not yet 1/2."""
    energy = Singular(lambda x: x[:, 0] ** 2 * x[:, 1] ** 2, 2, 1500)
    found = estimate(energy, 0.02, 0.05, 1.0, steps=2000, burn_in=2000)
    agrees(found, cross(0.05, 1.0))


def test_the_error_bar_of_a_chain_is_the_scatter_of_the_chains():
    """From blocks of one chain against 500 chains; a factor of 1.25 would be seen."""
    energy = Quadratic([1.0, 3.0], replicas=500, start=0.0)
    found = estimate(energy, 0.1, 0.01, 1.0, steps=4000, burn_in=200)
    said = found.error.square().mean().sqrt()
    assert said.item() == pytest.approx(found.value.std().item(), rel=0.2)


def test_nothing_is_left_behind():
    energy = Quadratic([1.0, 3.0], replicas=4)
    before, gradient = energy.configuration(), torch.ones(4, 2)
    energy.x.grad = gradient
    found = estimate(energy, 0.1, 0.01, 1.0, steps=10, burn_in=5)
    assert energy.configuration().equal(before)
    assert energy.x.grad is gradient and gradient.eq(1).all()
    assert found.energy.allclose(energy().detach().double())
    assert found.value.allclose((found.mean_energy - found.energy) / 0.01)


def test_a_module_without_replicas_is_one_replica():
    torch.manual_seed(0)
    net, x = nn.Linear(3, 1), torch.randn(50, 3)
    y = x.sum(1, keepdim=True) + torch.randn(50, 1)
    solution = torch.linalg.lstsq(torch.cat([x, torch.ones(50, 1)], 1), y).solution
    with torch.no_grad():
        net.weight.copy_(solution[:3].T)
        net.bias.copy_(solution[3])
    sampler = LeimkuhlerMatthews(net.parameters(), 0.1, 0.001, seed=0)

    def loss():
        return (net(x) - y).square().mean()

    found = learning_coefficient(loss, sampler, steps=2500, burn_in=300, localisation=0.0)
    assert found.value.shape == (1,) and found.error.item() < 0.3
    assert found.value.item() == pytest.approx(2.0, abs=4 * found.error.item())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"steps": 0}, "steps"),
        ({"burn_in": -1}, "burn_in"),
        ({"localisation": -1.0}, "localisation"),
    ],
)
def test_impossible_arguments_are_refused(change, named):
    energy = Quadratic([1.0], replicas=2)
    sampler = LeimkuhlerMatthews(energy.parameters(), 0.1, 0.1)
    with pytest.raises(UsageError, match=f"^{named} ="):
        learning_coefficient(energy, sampler, **{"steps": 5, "burn_in": 1, **change})


def test_samplers_that_cannot_do_it_are_refused():
    energy = Quadratic([1.0], replicas=2)
    for sampler, named in (
        (torch.optim.SGD(energy.parameters(), 0.1), "temperature"),
        (LeimkuhlerMatthews(energy.parameters(), 0.1, [0.1, 0.2]), "temperature"),
        (MetropolisLangevin(energy.parameters(), 0.1, 0.1), "sampler"),
    ):
        with pytest.raises(UsageError, match=f"^{named} ="):
            learning_coefficient(energy, sampler, steps=5, burn_in=1)
