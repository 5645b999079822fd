"""Streams: pure functions of (seed, name, step) whose numbers are normal and independent."""

import pickle

import pytest
import torch
from scipy import stats

from lightning_landscape.rng import Stream

COUNT = 200_000


def normals(seed=0, name="noise", step=0, dtype=torch.float32, count=COUNT):
    return Stream(seed, name).normal_(torch.empty(count, dtype=dtype), step)


def standard_errors(x):
    """The first four moments of x in units of their standard errors; float64 in, list out."""
    x, n = x.double(), x.numel()
    return [
        x.mean().item() * n**0.5,
        (x.pow(2).mean().item() - 1) * (n / 2) ** 0.5,
        x.pow(3).mean().item() * (n / 15) ** 0.5,
        (x.pow(4).mean().item() - 3) * (n / 96) ** 0.5,
    ]


def correlation(x, y):
    """<x y> in standard errors."""
    return (x.double() @ y.double()).item() / x.numel() ** 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normals_have_the_moments_of_a_normal(dtype):
    assert max(abs(z) for z in standard_errors(normals(step=3, dtype=dtype))) < 4


def test_normals_have_the_distribution_of_a_normal():
    assert stats.kstest(normals(step=5).numpy(), "norm").pvalue > 1e-4


def test_a_draw_depends_on_nothing_that_happened_before():
    stream = Stream(1, "noise")
    expected = stream.normal_(torch.empty(100), 4).clone()
    torch.manual_seed(99)
    stream.normal_(torch.empty(7), 5)
    stream.permutation(10, 4)
    assert stream.normal_(torch.empty(100), 4).equal(expected)
    assert pickle.loads(pickle.dumps(stream)).normal_(torch.empty(100), 4).equal(expected)


def test_a_draw_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    normals(count=10)
    Stream(0, "order").permutation(10, 0)
    Stream(0, "order").integers(10, (3,), 0)
    assert torch.get_rng_state().equal(before)


def test_successive_steps_draw_different_and_uncorrelated_numbers():
    draws = [normals(step=step, count=20_000) for step in range(40)]
    z = [correlation(a, b) for i, a in enumerate(draws) for b in draws[:i]]  # 780 pairs
    assert max(abs(value) for value in z) < 4.5  # 1 in 150 000 each
    assert stats.kstest(z, "norm").pvalue > 1e-4


def test_the_mean_over_steps_is_unbiased():
    total = sum(normals(step=step, count=1000) for step in range(4000)) / 4000**0.5
    assert max(abs(z) for z in standard_errors(total)) < 4


@pytest.mark.parametrize("other", [("seed", 1), ("name", "couplings"), ("step", 1)])
def test_seed_name_and_step_address_independent_numbers(other):
    a, b = normals(), normals(**dict([other]))
    assert not a.equal(b)
    assert abs(correlation(a, b)) < 4
    assert abs(correlation(a.square() - 1, b.square() - 1) / 2) < 4


def test_no_two_steps_of_a_stream_share_a_seed():
    stream = Stream(12, "noise")
    seeds = {stream.key(step) & 0xFFFFFFFF for step in range(100_000)}
    assert len(seeds) == 100_000  # a random 32-bit hash would have lost one with probability 0.69
    assert stream.key(1) != stream.key(1 + 2**32)


def test_seeds_of_two_streams_meet_no_more_often_than_by_chance():
    a = [Stream(0, "noise").key(step) & 0xFFFFFFFF for step in range(50_000)]
    b = [Stream(1, "noise").key(step) & 0xFFFFFFFF for step in range(50_000)]
    assert len(set(a) & set(b)) <= 5  # Poisson of mean 0.58


def test_every_bit_of_the_key_is_used_evenly():
    stream = Stream(3, "noise")
    keys = torch.tensor([stream.key(step) & 0xFFFFFFFF for step in range(20_000)])
    ones = (keys[:, None] >> torch.arange(32) & 1).double().mean(0)
    assert ((ones - 0.5).abs() * 2 * 20_000**0.5).max() < 4.5


def test_double_normals_are_the_single_ones():
    assert normals(dtype=torch.float64, count=50).equal(normals(count=50).double())


def test_permutations_are_uniform():
    stream, n, draws = Stream(0, "order"), 4, 6000
    counts = torch.zeros(n, n)
    for step in range(draws):
        counts[torch.arange(n), stream.permutation(n, step)] += 1
    chi2 = ((counts - draws / n).square() / (draws / n)).sum().item()
    assert counts.sum(0).eq(draws).all()
    assert stats.chi2.sf(chi2, (n - 1) ** 2) > 1e-4


def test_integers_are_uniform_and_in_range():
    drawn = Stream(0, "batch").integers(7, (1000, 70), step=2)
    counts = torch.bincount(drawn.flatten(), minlength=7)
    assert drawn.shape == (1000, 70) and len(counts) == 7
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4
