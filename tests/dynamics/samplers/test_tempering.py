"""Parallel tempering: known occupations and swap rates, bit for bit after a resume."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from lightning_landscape.dynamics import (
    Langevin,
    LeimkuhlerMatthews,
    MetropolisLangevin,
    ParallelTempering,
    Underdamped,
)
from lightning_landscape.errors import UsageError

SAMPLERS = {
    "Langevin": Langevin,
    "LeimkuhlerMatthews": LeimkuhlerMatthews,
    "MetropolisLangevin": MetropolisLangevin,
    "Underdamped": partial(Underdamped, friction=1.0),
}


def closure_of(x, energy):
    def closure():
        x.grad = None
        E = energy(x)
        E.sum().backward()
        return E.detach()

    return closure


def tilted(x):
    """Two wells at +-1 behind a barrier of 1, the left one lower by about 0.1."""
    return ((x**2 - 1) ** 2 + 0.05 * x).sum(1)


def harmonic(x):
    return x.square().sum(1) / 2


def exact(T):
    """The occupation of the left well and the mean energy, by quadrature."""
    x = np.linspace(-4, 4, 20_001)
    E = (x**2 - 1) ** 2 + 0.05 * x
    weight = np.exp(-(E - E.min()) / T)
    return weight[x < 0].sum() / weight.sum(), np.average(E, weights=weight)


@pytest.mark.slow
def double_well(exchange, steps=2100, chains=100):
    """Occupation and energy at T = 0.05 with their errors; all begin in the wrong well."""
    T = [0.05, 0.1, 0.2, 0.4]
    x = nn.Parameter(torch.ones(len(T) * chains, 1))
    sampler = MetropolisLangevin([x], [0.03, 0.05, 0.07, 0.08], T, exchange=exchange)
    closure, left, energies = closure_of(x, tilted), [], []
    for _ in range(steps):
        energies.append(sampler.step(closure)[:chains].double())
        left.append((x[:chains, 0] < 0).double())
    means = [torch.stack(v)[steps // 3 :].mean(1) for v in (left, energies)]
    blocks = [m.view(10, -1).mean(1) for m in means]
    return [(b.mean().item(), b.std().item() / 10**0.5) for b in blocks]


def test_in_a_double_well_the_cold_replicas_find_the_lower_well():
    """T = 0.05, barrier 20 T: occupation 0.88 within 4 standard errors of ten blocks."""
    (left, error), (energy, energy_error) = double_well(ParallelTempering(every=5, chains=100))
    occupation, mean = exact(0.05)
    assert error < 0.03 and energy_error < 0.0025
    assert left == pytest.approx(occupation, abs=4 * error)
    assert energy == pytest.approx(mean, abs=4 * energy_error)


def test_without_exchange_they_stay_where_they_began():
    (left, _), _ = double_well(None, steps=600)
    assert left < 0.05 < exact(0.05)[0] - 0.5


@pytest.mark.parametrize("name", ["MetropolisLangevin", "Underdamped"])
def test_exchange_keeps_every_temperature_and_swaps_as_often_as_it_should(name):
    """x^2/2 in two dimensions: E is exponential, and 2 T_a / (T_a + T_b) of the swaps happen."""
    T, chains, steps, h = [0.2, 0.5, 1.0], 3000, 120, 0.8
    x = nn.Parameter(torch.randn(9000, 2) * torch.tensor(T).repeat_interleave(3000)[:, None].sqrt())
    tempering = ParallelTempering(every=2, chains=chains)
    sampler = SAMPLERS[name]([x], h, T, exchange=tempering)
    closure, squares, kinetic = closure_of(x, harmonic), [], []
    for step in range(steps):
        sampler.step(closure)
        if step > 20 and step % 6 == 0:
            squares.append(x.detach().square().view(3, -1).double().mean(1))
            if name == "Underdamped":
                v = sampler.state[x]["velocity"] - h / 2 * x.detach()
                kinetic.append(v.square().view(3, -1).double().mean(1))
    error = 4 * (2 / (6000 * len(squares) / 2)) ** 0.5
    assert (torch.stack(squares).mean(0) / torch.tensor(T) - 1).abs().max() < error
    if kinetic:
        expected = torch.tensor(T) * (1 - h**2 / 4)
        assert (torch.stack(kinetic).mean(0) / expected - 1).abs().max() < error
    rate = sampler.rates["exchange"].view(3, chains)
    assert rate[2].isnan().all()
    for k in (0, 1):
        p = 2 * T[k] / (T[k] + T[k + 1])
        tolerance = 4 * 2 * (p * (1 - p) / (chains * 29)) ** 0.5  # a chain's tries are correlated
        assert rate[k].mean().item() == pytest.approx(p, abs=tolerance)


@pytest.mark.parametrize("stop", [0, 1, 4, 9])
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_run_with_exchange_resumes_bit_for_bit(name, stop):
    def build(start):
        x = nn.Parameter(start)
        tempering = ParallelTempering(every=2, chains=2)
        return x, SAMPLERS[name]([x], 0.1, [0.1, 0.5, 1.0], exchange=tempering)

    start = torch.linspace(-2, 2, 12).view(6, 2)
    x, sampler = build(start.clone())
    for step in range(12):
        if step == stop:
            saved = x.detach().clone(), copy.deepcopy(sampler.state_dict())
        sampler.step(closure_of(x, tilted))
    y, resumed = build(saved[0])
    resumed.load_state_dict(saved[1])
    for _ in range(12 - stop):
        resumed.step(closure_of(y, tilted))
    assert x.equal(y)
    assert sampler.rates["exchange"].nan_to_num().equal(resumed.rates["exchange"].nan_to_num())
    assert sampler.rates["exchange"].nansum() > 0


def test_equal_temperatures_always_swap_and_only_with_their_neighbours():
    """Odd times: rungs 0 and 1, 2 and 3; even times: 1 and 2; a chain stays a chain."""
    x = nn.Parameter(torch.arange(8.0)[:, None])
    sampler = Langevin([x], 1e-9, 0.3, exchange=ParallelTempering(every=1, chains=2))
    seen = []
    for _ in range(3):
        sampler.step(closure_of(x, lambda x: 0 * x.sum(1)))
        seen.append(x.detach().round().flatten().int().tolist())
    assert seen == [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [2, 3, 0, 1, 6, 7, 4, 5],
        [2, 3, 6, 7, 0, 1, 4, 5],
    ]


def test_at_zero_temperature_nothing_swaps():
    x = nn.Parameter(torch.arange(4.0)[:, None])
    sampler = Langevin([x], 1e-9, 0.0, exchange=ParallelTempering(every=1))
    for _ in range(4):
        sampler.step(closure_of(x, harmonic))
    assert x.flatten().round().tolist() == [0, 1, 2, 3]
    assert sampler.rates["exchange"].nan_to_num().sum() == 0


def test_rates_that_are_not_known_yet_are_nan():
    x = nn.Parameter(torch.zeros(4, 1))
    sampler = MetropolisLangevin([x], 0.1, 0.1, exchange=ParallelTempering(every=1))
    assert all(rate.shape == (4,) and rate.isnan().all() for rate in sampler.rates.values())


@pytest.mark.parametrize(("R", "chains"), [(6, 4), (6, 6), (1, 1)])
def test_replicas_that_are_no_ladder_are_refused(R, chains):
    x = nn.Parameter(torch.zeros(R, 1))
    with pytest.raises(UsageError, match="chains"):
        Langevin([x], 0.1, 0.1, exchange=ParallelTempering(every=1, chains=chains))


def test_impossible_arguments_are_refused():
    with pytest.raises(UsageError, match="every"):
        ParallelTempering(every=0)
    with pytest.raises(UsageError, match="chains"):
        ParallelTempering(every=1, chains=0)


def test_twins_are_not_exchanged():
    """They share a start and a noise; a swap of one of them would end that."""
    x = nn.Parameter(torch.zeros(8, 1))
    dynamics = Langevin([x], 0.1, [0.1, 0.2], exchange=ParallelTempering(every=1, chains=4))
    with pytest.raises(UsageError, match=r"exchange = .*: swaps replicas, not twins"):
        dynamics.twins = 2
