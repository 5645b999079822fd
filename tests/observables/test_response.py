import math

import numpy as np
import pytest
import torch

from lightning_landscape.errors import UsageError
from lightning_landscape.observables.response import (
    FAST,
    SLOW,
    copy_distance,
    effective_temperature,
    field_response,
    noise_response,
    ratio_temperature,
)

GENERATOR = torch.Generator().manual_seed(0)


def test_noise_response_of_one_step_is_the_step_size():
    """x = x0 + a xi has d<x>/dh = lr: the mean of 10^6 numbers, within four standard errors."""
    lr, T, shape = 0.2, 0.7, (1000, 1000)
    xi = torch.randn(shape, generator=GENERATOR)
    start = 3 * torch.randn(shape, generator=GENERATOR)
    a = math.sqrt(2 * lr * T)
    chi = noise_response(start + a * xi, start, lr / a * xi)
    assert chi.shape == (1000,)
    assert abs(chi.mean().item() - lr) < 4 * chi.std().item() / 1000**0.5
    assert chi.std().item() == pytest.approx(lr * (2 / 1000) ** 0.5, rel=0.15)  # no trace of x0


def test_field_response_inverts_a_quadratic_form():
    """x = +-h A^-1 epsilon gives epsilon A^-1 epsilon / N, whatever h is."""
    A = torch.diag(torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64))
    A[0, 1] = A[1, 0] = 0.2
    signs = torch.tensor([[1.0, -1.0, 1.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
    x = 0.01 * signs @ A.inverse()
    expected = (signs @ A.inverse() * signs).mean(1)
    torch.testing.assert_close(field_response(1 + x, 1 - x, signs, 0.01), expected)


@pytest.mark.parametrize("copies", [2, 5])
def test_copy_distance_is_the_mean_over_pairs(copies):
    x = torch.randn(copies, 3, 7, generator=GENERATOR)
    pairs = torch.triu_indices(copies, copies, 1)
    brute_force = (x[pairs[0]] - x[pairs[1]]).square().mean((0, 2)).double()
    torch.testing.assert_close(copy_distance(x), brute_force, rtol=1e-6, atol=0)


def two_temperatures(R, noise, seed=0):
    """T_eff = 0.3 up to a decay of 0.2, and 1.2 beyond it."""
    decay = np.linspace(0, 0.5, 51)
    chi = np.where(decay < 0.2, decay / 0.3, 0.2 / 0.3 + (decay - 0.2) / 1.2)
    scatter = np.random.default_rng(seed).normal(0, noise, (51, R))
    return decay[:, None] * np.ones(R), chi[:, None] + scatter


def test_the_windows_tell_fast_from_slow():
    decay, chi = two_temperatures(R=3, noise=0.0)
    chi[7, 1] = np.nan  # a time that was not reached
    assert effective_temperature(decay, chi, FAST)[0] == pytest.approx(0.3)
    assert effective_temperature(decay, chi, SLOW)[0] == pytest.approx(1.2)
    assert effective_temperature(decay[:, 0], chi[:, 0], SLOW)[0] == pytest.approx(1.2)
    assert np.isnan(effective_temperature(decay[:1], chi[:1], SLOW)).all()
    with pytest.raises(UsageError, match="window"):
        effective_temperature(decay, chi, (0.5, 0.2))


def test_the_error_of_the_effective_temperature_is_its_scatter():
    """Over 200 data sets of 10 replicas: two errors of 10 % in quadrature, four of them allowed."""
    found = np.array(
        [effective_temperature(*two_temperatures(10, 0.05, seed), FAST) for seed in range(200)]
    )
    assert abs(found[:, 0].mean() - 0.3) < 4 * found[:, 0].std() / 200**0.5 + 0.005
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(), rel=0.25)


def test_the_ratio_at_one_time_and_its_error():
    """Of 100 data sets of 10 replicas; to first order its error is that of chi."""
    numbers = np.random.default_rng(1)
    found = np.array(
        [ratio_temperature(np.full(10, 0.6), numbers.normal(2, 0.1, 10)) for _ in range(100)]
    )
    assert abs(found[:, 0].mean() - 0.3) < 4 * found[:, 0].std() / 10
    assert found[:, 1].mean() == pytest.approx(0.3 * 0.05 / 10**0.5, rel=0.15)
    assert ratio_temperature(0.6, 2.0)[0] == 0.3
