"""Langevin dynamics of complex numbers, half precision and numbers; temperatures set late."""

import pytest
import torch
from torch import nn

from lightning_landscape.dynamics import Langevin, LeimkuhlerMatthews, MetropolisLangevin
from lightning_landscape.errors import UsageError


@pytest.mark.parametrize("dtype", [torch.cfloat, torch.cdouble])
@pytest.mark.parametrize("scheme", [Langevin, LeimkuhlerMatthews])
def test_real_and_imaginary_part_are_coordinates_of_their_own(dtype, scheme):
    n = 40_000
    z = nn.Parameter(torch.zeros(n, dtype=dtype))
    dynamics = scheme([z], lr=1.0, temperature=0.5)
    z.grad = torch.zeros_like(z)
    dynamics.step()
    parts = torch.view_as_real(z.detach()).double()
    # 2 lr T = 1, and half of it for the mean of two normals
    variance = 1.0 if scheme is Langevin else 0.5
    assert parts.square().mean(0) == pytest.approx(variance, abs=4 * (2 / n) ** 0.5)
    assert parts.prod(1).mean().item() == pytest.approx(0, abs=4 * n**-0.5)


@pytest.mark.parametrize("odd", [1, 2, 3])
def test_complex_parameters_beside_real_ones_of_any_size(odd):
    shapes = {(odd,): torch.float, (5,): torch.cfloat, (3, 3): torch.cfloat, (): torch.cfloat}
    parameters = [nn.Parameter(torch.zeros(shape, dtype=d)) for shape, d in shapes.items()]
    for p in parameters:
        p.grad = torch.zeros_like(p)
    Langevin(parameters, lr=1.0, temperature=1.0).step()
    numbers = torch.cat([torch.view_as_real(p.detach()).flatten() for p in parameters[1:]])
    assert len(numbers.unique()) == 30


def test_metropolis_of_complex_replicas_has_the_variance_of_the_well():
    n, T = 20_000, 0.3
    z = nn.Parameter(torch.zeros(n, 1, dtype=torch.cfloat))
    dynamics = MetropolisLangevin([z], lr=0.5, temperature=T)

    def energies():
        z.grad = z.detach().clone()
        return z.detach().abs().square().sum(1) / 2

    for _ in range(40):
        dynamics.step(energies)
    for part in torch.view_as_real(z.detach()).unbind(-1):
        assert part.square().mean().item() == pytest.approx(T, abs=4 * T * (2 / n) ** 0.5)


def test_half_precision_that_would_lose_the_noise_is_refused():
    w = nn.Parameter(torch.ones(100, dtype=torch.bfloat16))
    dynamics = Langevin([w], lr=1e-5, temperature=1e-3)
    w.grad = torch.zeros_like(w)
    with pytest.raises(UsageError, match=r"noise of 0.00014 a step is lost .* 0.0078"):
        dynamics.step()
    cold = Langevin([w], lr=1e-5)
    cold.step()


def test_half_precision_moves_as_far_as_it_should_where_it_is_accepted():
    w = nn.Parameter(torch.ones(10_000, dtype=torch.bfloat16))
    dynamics = Langevin([w], lr=0.01, temperature=0.01)  # 0.014 a step, two units in the last place
    for _ in range(20):
        w.grad = torch.zeros_like(w)
        dynamics.step()
    assert (w.float() - 1).square().mean().item() == pytest.approx(20 * 2e-4, rel=0.06)


def test_a_single_number_under_metropolis_is_one_replica():
    x = nn.Parameter(torch.tensor(0.0))
    dynamics, visited = MetropolisLangevin([x], lr=1.0, temperature=0.5, seed=3), []

    def energy():
        x.grad = x.detach().clone()
        return x.detach().square() / 2

    for _ in range(1500):
        dynamics.step(energy)
        visited.append(x.item())
    assert x.shape == ()
    assert 0.5 < dynamics.rates["acceptance"].item() < 1
    # T (1 +- 4 sqrt(2 tau / n)), tau = 2 steps
    assert torch.tensor(visited).square().mean().item() == pytest.approx(0.5, rel=0.21)


@pytest.mark.parametrize("temperature", [-1, float("nan"), "hot", [0.1, 0.2, 0.3]])
def test_a_temperature_set_later_is_checked_as_the_first(temperature):
    x = nn.Parameter(torch.zeros(2, 3))
    dynamics = Langevin([x], lr=0.1, temperature=0.1)
    with pytest.raises(UsageError, match="temperature"):
        dynamics.temperature = temperature
    assert dynamics.temperature == 0.1


def test_a_temperature_for_each_replica_can_be_set_later():
    x = nn.Parameter(torch.zeros(2, 50_000))
    dynamics = Langevin([x], lr=0.5)
    dynamics.temperature = [0.0, 2.0]
    x.grad = torch.zeros_like(x)
    dynamics.step()
    assert x.detach().square().mean(1).tolist() == pytest.approx([0.0, 2.0], abs=0.06)
