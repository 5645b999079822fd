"""Factors and kurtosis of a batch mean, against all batches there are and against `Batches`."""

import math
from itertools import combinations, product

import pytest
import torch

from lightning_landscape.data import Batches
from lightning_landscape.errors import UsageError
from lightning_landscape.observables import batch_factor, batch_kurtosis, temperature_of_sgd


def all_means(x, B, replacement):
    """The mean of every batch of B of the numbers x, each equally likely."""
    draws = product(range(len(x)), repeat=B) if replacement else combinations(range(len(x)), B)
    return x[torch.tensor(list(draws))].mean(1)


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("B", [1, 2, 4, 5])
def test_variance_and_kurtosis_are_those_of_all_batches(B, replacement):
    x = torch.tensor([0.3, -1.0, 4.0, 0.9, -2.2, 0.1, 7.0], dtype=torch.float64)
    means = all_means(x, B, replacement)
    variance = means.var(correction=0)
    assert batch_factor(B, 7, replacement) * x.var() == pytest.approx(variance.item(), rel=1e-12)
    fourth = (means - means.mean()).pow(4).mean()
    kurtosis = fourth / variance**2 - 3
    assert batch_kurtosis(x, B, 7, replacement) == pytest.approx(kurtosis.item(), abs=1e-11)


def test_a_batch_of_all_samples_has_no_noise():
    assert batch_factor(7, 7, replacement=False) == 0
    assert batch_kurtosis(torch.arange(7.0), 7, 7, replacement=False).isnan()


@pytest.mark.parametrize("replacement", [False, True])
def test_the_batches_of_a_run_have_this_variance(replacement):
    """20 000 batches of `Batches`; 4 standard errors of a variance, kurtosis included."""
    P, B, steps = 40, 8, 20_000
    x = torch.randn(P, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) ** 3
    batches = Batches(B, seed=2, replacement=replacement)
    means = torch.stack([x[batches(step, P, 1)[0]].mean() for step in range(steps)])
    exact = batch_factor(B, P, replacement) * x.var()
    kurtosis = batch_kurtosis(x, B, P, replacement)
    error = exact * ((2 + kurtosis) / steps) ** 0.5
    assert abs(means.var() - exact) < 4 * error
    # the two modes differ by 20 %, so a mistaken mode would show
    other = batch_factor(B, P, not replacement) * x.var()
    assert abs(means.var() - other) > 4 * error


@pytest.mark.parametrize("B", [4, 64])
def test_a_heavy_tail_is_told_from_a_gaussian(B):
    """Excess kurtosis of 10 000 normals within 4 s.e. of 0; of a Student t_5 it is 6."""
    numbers = torch.Generator().manual_seed(3)
    normal = torch.randn(20, 10_000, generator=numbers)
    chi = torch.randn(20, 5, 10_000, generator=numbers).square().sum(1)
    gaussian = batch_kurtosis(normal, B, math.inf, True) * B
    heavy = batch_kurtosis(normal / (chi / 5).sqrt(), B, math.inf, True) * B
    assert abs(gaussian.mean()) < 4 * (24 / 10_000 / 20) ** 0.5
    assert heavy.median() > 2


def test_langevin_at_the_temperature_of_sgd_makes_equal_steps():
    """lr^2 D = 2 lr T."""
    assert 2 * 0.1 * temperature_of_sgd(0.1, torch.tensor(3.0)).item() == pytest.approx(0.1**2 * 3)


@pytest.mark.parametrize("B", [0, 8])
def test_a_batch_larger_than_the_data_is_refused(B):
    with pytest.raises(UsageError, match=f"batch_size = {B}"):
        batch_factor(B, 7, replacement=True)
    with pytest.raises(UsageError, match=f"batch_size = {B}"):
        batch_kurtosis(torch.arange(7.0), B, 7, replacement=False)
