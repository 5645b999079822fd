"""The noise of a dynamics: addressed by step, parameter, replica and element, and nothing else."""

import pytest
import torch
from torch import nn

from lightning_landscape.dynamics import (
    Langevin,
    LeimkuhlerMatthews,
    MatchedLangevin,
    MetropolisLangevin,
    ParallelTempering,
    Underdamped,
)
from lightning_landscape.dynamics.samplers.noise import Noise, SuccessiveSums, exponentials
from lightning_landscape.energies import Quadratic
from lightning_landscape.errors import UsageError
from lightning_landscape.sphere import Sphere

SAMPLERS = [Langevin, LeimkuhlerMatthews, Underdamped, MetropolisLangevin, MatchedLangevin]


@pytest.fixture
def parameters():
    return [torch.empty(3, 5), torch.empty(2, dtype=torch.float64), torch.empty(4, 4, 4)]


def drawn(shapes, step=7, seed=4, **where):
    parameters = [torch.empty(shape) for shape in shapes]
    noise = Noise(parameters, seed, **where)(step)
    return [noise[p].clone() for p in parameters]


# addresses


def test_noise_has_the_shapes_of_the_parameters_and_no_number_twice(parameters):
    noise = Noise(parameters, seed=4)(7)
    assert [noise[p].shape for p in parameters] == [p.shape for p in parameters]
    assert torch.cat([noise[p].flatten() for p in parameters]).unique().numel() == 81


@pytest.mark.parametrize("shape", [(1,), (3,), (4,), (231,), (20, 10), (2049,)])
def test_a_replica_draws_the_same_whatever_the_others(shape):
    (whole,) = drawn([(64, *shape)])
    (few,) = drawn([(8, *shape)])
    assert few.equal(whole[:8])
    some = [63, 5, 6, 7, 40]
    (part,) = drawn([(5, *shape)], replicas=some)
    assert part.equal(whole[some])
    (part,) = drawn([(8, *shape)], replicas=range(24, 32))
    assert part.equal(whole[24:32])


def test_a_parameter_draws_the_same_whatever_the_shape_of_the_others():
    a = drawn([(8, 3), (8, 10, 2), (8, 7)])
    b = drawn([(8, 30), (8, 10, 2), (8, 1), (8, 600)])
    assert a[1].equal(b[1])
    assert a[0].equal(b[0][:, :3]) and a[2][:, :1].equal(b[2])


@pytest.mark.parametrize("cut", [0, 1, 4, 6])
def test_parameters_cut_along_their_first_axis_draw_their_part(cut):
    """As FSDP cuts those of a foreign module, whose first axis is not one of replicas."""
    whole = drawn([(10, 7), (10,), (9, 2, 3), ()])
    tops = drawn([(cut, 7), (cut,), (cut, 2, 3), ()])
    rests = drawn(
        [(10 - cut, 7), (10 - cut,), (9 - cut, 2, 3)], first=[(cut, 0), (cut,), (cut, 0, 0)]
    )
    for full, top, rest in zip(whole, tops, rests, strict=False):
        assert torch.cat([top, rest]).equal(full)
    assert tops[3].equal(whole[3])


def test_parameters_without_elements_draw_nothing():
    a, none, nothing, b = drawn([(3, 2), (3, 0), (0, 5), (3, 2)])
    assert none.numel() == nothing.numel() == 0
    assert b.equal(drawn([(3, 2), (1,), (1,), (3, 2)])[3]) and not a.equal(b)


def test_replicas_parameters_and_steps_are_uncorrelated_and_normal():
    a, b = drawn([(2000, 5), (2000, 5)])
    (later,) = drawn([(2000, 5)], step=8)
    pairs = [(a, b), (a, later), (a[1:], a[:-1]), (a[:, 1:], a[:, :-1]), (a[1:], b[:-1])]
    for x, y in pairs:
        x, y = x.double().flatten(), y.double().flatten()
        for f, variance in ((lambda z: z, 1), (lambda z: z**2 - 1, 4)):
            assert abs((f(x) * f(y)).mean()) < 4 * (variance / x.numel()) ** 0.5
    x = torch.cat([a, b]).double()
    assert abs(x.mean()) < 4 / x.numel() ** 0.5
    assert abs(x.square().mean() - 1) < 4 * (2 / x.numel()) ** 0.5
    assert abs(x.pow(4).mean() - 3) < 4 * (96 / x.numel()) ** 0.5


@pytest.mark.parametrize("steps", [[0, 1, 2, 3], [5, 9, 9, 10, 2, 3]])
def test_successive_sums_are_sums_whatever_was_drawn_before(parameters, steps):
    sums, single = SuccessiveSums(parameters, seed=4), Noise(parameters, seed=4)
    for step in steps:
        first = {p: xi.clone() for p, xi in single(step).items()}
        second = single(step + 1)
        drawn = sums(step)
        assert all(drawn[p].equal(first[p] + second[p]) for p in parameters)


@pytest.mark.parametrize("kind", [Noise, SuccessiveSums])
def test_steps_can_be_drawn_by_their_keys(parameters, kind):
    by_key, by_number = kind(parameters, seed=4), kind(parameters, seed=4)
    by_key(3)
    places = by_key.place
    for steps in (range(7, 10), range(10, 12), range(2, 3)):
        for step, key in zip(steps, by_key.ready(steps).split(1), strict=True):
            drawn, expected = by_key(key), by_number(step)
            assert all(drawn[p].equal(expected[p]) for p in parameters)
            assert by_key.place == places


def test_exponential_numbers_belong_to_their_replicas():
    whole = exponentials(3, "acceptance", 5, range(20_000))
    assert exponentials(3, "acceptance", 5, [7, 19_999]).equal(whole[[7, 19_999]])
    assert abs(whole.mean() - 1) < 4 / 20_000**0.5  # <x> = 1, <x^2> = 2, Var x^2 = 20
    assert abs(whole.square().mean() - 2) < 4 * (20 / 20_000) ** 0.5


def test_replicas_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match=r"replicas = \[0, 1, 2\]: has 3 indices"):
        Noise([torch.empty(2, 5)], seed=0, replicas=[0, 1, 2])
    with pytest.raises(UsageError, match=r"a parameter of shape \(2,\)"):
        Noise([torch.empty(2)], seed=0, replicas=[0, 1])
    with pytest.raises(UsageError, match=r"replicas = \[-1\]: must be indices"):
        Noise([torch.empty(1, 5)], seed=0, replicas=[-1])
    with pytest.raises(UsageError, match="replicas"):
        Langevin([nn.Parameter(torch.empty(2, 5))], lr=0.1).replicas = range(3)


# runs


def start(replicas):
    generator = torch.Generator().manual_seed(5)
    x = [torch.randn(64, 3, generator=generator), torch.randn(64, 2, 5, generator=generator)]
    return [nn.Parameter(part[list(replicas)]) for part in x]


def run(sampler, params, steps=12):
    """Anharmonic motion without interaction between the replicas."""

    def energies():
        sampler.zero_grad()
        x = torch.cat([p.flatten(1) for p in params], dim=1)
        energies = 0.25 * x.pow(4).sum(1) + 0.5 * x.sum(1).square()
        energies.sum().backward()
        return energies.detach()

    for _ in range(steps):
        sampler.step(energies)
    return torch.cat([p.detach().flatten(1) for p in params], dim=1)


def sampled(scheme, replicas, of_part=None, **arguments):
    params = start(replicas)
    sampler = scheme(params, lr=0.05, temperature=0.4, seed=3, **arguments)
    if of_part is not None:
        sampler.replicas = of_part
    if scheme is MatchedLangevin:
        D = 1 + torch.arange(64.0).unsqueeze(1) * torch.ones(13) / 64
        sampler.adopt(D[list(replicas)])
    return run(sampler, params)


@pytest.mark.parametrize("scheme", SAMPLERS)
def test_a_run_of_some_replicas_is_a_part_of_a_run_of_all(scheme):
    """Bit for bit: the first 8, and any others that are told which they are."""
    whole = sampled(scheme, range(64))
    assert sampled(scheme, range(8)).equal(whole[:8])
    some = [9, 33, 10, 61]
    assert sampled(scheme, some, of_part=some).equal(whole[some])


@pytest.mark.parametrize("scheme", [Langevin, LeimkuhlerMatthews, Underdamped])
def test_a_run_on_the_sphere_is_a_part_of_a_run_of_all(scheme):
    def ends(replicas, of_part=None):
        x = nn.Parameter(Sphere(6).retract_(start(range(64))[0].detach().repeat(1, 2)[replicas]))
        sampler = scheme([x], lr=0.05, temperature=0.4, constraint=Sphere(6))
        if of_part is not None:
            sampler.replicas = of_part
        return run(sampler, [x])

    whole = ends(slice(None))
    assert ends(slice(8)).equal(whole[:8])
    assert ends(slice(16, 24), range(16, 24)).equal(whole[16:24])


def test_a_run_of_an_energy_goes_on_with_more_replicas():
    def ends(replicas):
        well = Quadratic([1.0, 2.0, 5.0], replicas=replicas, seed=2)
        sampler = Langevin(well.parameters(), lr=0.1, temperature=0.3, seed=1)
        for _ in range(20):
            sampler.zero_grad()
            well().sum().backward()
            sampler.step()
        return well.configuration()

    assert ends(8).equal(ends(64)[:8])


def test_some_chains_of_a_ladder_swap_as_in_the_whole():
    """8 of the 32 chains at two temperatures: every chain's swaps are those of the whole."""
    part = [*range(8, 16), *range(40, 48)]

    def ends(replicas, chains, of_part=None):
        params = start(replicas)
        exchange = ParallelTempering(every=2, chains=chains)
        sampler = Langevin(params, 0.05, [0.4, 0.5], seed=3, exchange=exchange)
        if of_part is not None:
            sampler.replicas = of_part
        x = run(sampler, params)
        return x, sampler.rates["exchange"][:chains]

    (whole, rates), (some, own) = ends(range(64), 32), ends(part, 8, part)
    assert some.equal(whole[part]) and own.equal(rates[8:16])
    assert 0 < own.mean() < 1


@pytest.mark.parametrize("scheme", [Langevin, MetropolisLangevin])
def test_twins_share_the_noise_of_their_replica_in_every_part(scheme):
    """Blocks of 32 replicas and of their twins; a part has the same rows of both blocks."""

    def ends(replicas, of_part=None):
        params = start(replicas)
        sampler = scheme(params, lr=0.05, temperature=0.4, seed=3)
        sampler.twins = 2
        if of_part is not None:
            sampler.replicas = of_part
        return run(sampler, params)

    part = [3, 30, 35, 62]
    assert ends(part, part).equal(ends(range(64))[part])
    twins = ends([3, 30, 3, 30], part)
    assert twins[:2].equal(twins[2:])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("replicas", [None, [5, 0, 70]])
def test_a_gpu_draws_the_noise_of_the_cpu(replicas):
    shapes = [(3, 231), (3, 5, 4), (3, 1), (3, 2, 1001)]
    parameters = [torch.empty(shape, device="cuda") for shape in shapes]
    noise = SuccessiveSums(parameters, 4, replicas)(7)
    on_cpu = [torch.empty(shape) for shape in shapes]
    expected = SuccessiveSums(on_cpu, 4, replicas)(7)
    for p, q in zip(parameters, on_cpu, strict=True):
        assert noise[p].cpu().equal(expected[q])
