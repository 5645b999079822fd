import math

import numpy as np
import pytest

from lightning_landscape.errors import UsageError
from lightning_landscape.observables.exponents import fit_power_law, fit_size_law

# networks, spheres and the perceptron: theta, -gamma (Geiger et al. 2019; Charbonneau et al. 2014)
EXPONENTS = [0.3, -0.2, 0.42311, -0.41269, -1.0, -1.8]


def power_law(rng, s, low, high, shape):
    """Samples by inversion of the distribution function."""
    u = rng.random(shape)
    if s == -1:
        return low * (high / low) ** u
    a, b = low ** (s + 1), high ** (s + 1)
    return (a + u * (b - a)) ** (1 / (s + 1))


def sizes(rng, s, low, high, shape):
    k = np.arange(low, high + 1)
    return rng.choice(k, shape, p=k**s / np.sum(k**s))


@pytest.mark.parametrize("s", EXPONENTS)
@pytest.mark.parametrize("n", [3_000, 30_000])
def test_the_exponent_of_a_synthetic_sample_comes_out(s, n):
    """To 0.03 from 30 000 samples on two decades, and within 4 standard errors at any size."""
    x = power_law(np.random.default_rng(n), s, 1e-2, 1.0, n)
    fit = fit_power_law(x, 1e-2, 1.0)
    assert abs(fit.exponent - s) < 4 * fit.error
    assert fit.error < 0.055 * math.sqrt(1_000 / n)
    assert n < 30_000 or abs(fit.exponent - s) < 0.03
    assert fit.p_value > 0.001 and fit.count == n


@pytest.mark.parametrize("s", [0.3, -0.2, 0.42311, -0.41269])
@pytest.mark.parametrize("n", [50, 500])
def test_the_error_bar_covers_what_it_says(s, n, monkeypatch):
    """Of 1000 repetitions 68.3 % lie within one and 95.4 % within two errors, to 4 of theirs."""
    monkeypatch.setattr("lightning_landscape.observables.exponents._p_value", lambda *_: 1.0)
    draws = power_law(np.random.default_rng(1), s, 1e-2, 1.0, (1000, n))
    fits = [fit_power_law(x, 1e-2, 1.0) for x in draws]
    z = np.array([(fit.exponent - s) / fit.error for fit in fits])
    for reach, nominal in ((1, 0.6827), (2, 0.9545)):
        scatter = (nominal * (1 - nominal) / 1000) ** 0.5
        assert np.mean(abs(z) < reach) == pytest.approx(nominal, abs=4 * scatter)


@pytest.mark.parametrize("s", [-1.0, -1.5, -2.5])
def test_the_exponent_of_whole_numbers_is_not_that_of_a_continuum(s):
    x = sizes(np.random.default_rng(2), s, 1, 200, 20_000)
    fit = fit_size_law(x, 1, 200)
    assert abs(fit.exponent - s) < 4 * fit.error and fit.error < 0.02
    assert fit.p_value > 0.001
    assert abs(fit_power_law(x, 1, 200).exponent - s) > 10 * fit.error


def test_the_error_of_sizes_covers_what_it_says(monkeypatch):
    monkeypatch.setattr("lightning_landscape.observables.exponents._p_value", lambda *_: 1.0)
    draws = sizes(np.random.default_rng(3), -1.5, 1, 50, (400, 300))
    z = np.array([(f.exponent + 1.5) / f.error for f in (fit_size_law(x, 1, 50) for x in draws)])
    assert np.mean(abs(z) < 1) == pytest.approx(0.683, abs=4 * (0.25 / 400) ** 0.5)


def test_what_lies_outside_the_window_does_not_count():
    rng = np.random.default_rng(4)
    inside = power_law(rng, 0.3, 0.1, 1.0, 500)
    polluted = np.concatenate([inside, -inside, [np.nan, 0.0], 5 + rng.random(300)])
    fit, alone = (fit_power_law(x, 0.1, 1.0) for x in (polluted, inside))
    assert fit.count == 500
    assert (fit.exponent, fit.error, fit.p_value) == (alone.exponent, alone.error, alone.p_value)


def test_the_p_value_is_uniform_where_the_law_holds():
    """Its mean over 60 samples is 1/2, to 4 standard errors."""
    draws = power_law(np.random.default_rng(5), -0.2, 1e-2, 1.0, (60, 200))
    p = [fit_power_law(x, 1e-2, 1.0, seed=k).p_value for k, x in enumerate(draws)]
    assert np.mean(p) == pytest.approx(0.5, abs=4 * (1 / 12 / 60) ** 0.5)
    assert min(p) < 0.25 and max(p) > 0.75


@pytest.mark.parametrize("n", [300, 5_000])
def test_the_p_value_refuses_what_is_no_power_law(n):
    rng = np.random.default_rng(6)
    assert fit_power_law(abs(rng.normal(0, 0.3, n)), 1e-2, 1.0).p_value < 0.02
    assert fit_size_law(1 + rng.poisson(5, n), 1, 30).p_value < 0.02


def test_the_replica_error_sees_what_replicas_share():
    """Where the samples of a replica come in copies, only the jackknife knows how few they are."""
    rng, R, copies = np.random.default_rng(7), 30, 16
    single = power_law(rng, 0.3, 1e-2, 1.0, (R, 100))
    alone, copied = (fit_power_law(x, 1e-2, 1.0) for x in (single, np.repeat(single, copies, 1)))
    assert alone.replica_error == pytest.approx(alone.error, rel=0.5)
    assert copied.replica_error == pytest.approx(alone.replica_error, rel=1e-6)
    assert copied.error == pytest.approx(alone.error / 4, rel=1e-6)
    assert math.isnan(fit_power_law(single[0], 1e-2, 1.0).replica_error)


def test_too_few_samples_give_no_exponent():
    fit = fit_power_law(np.full(9, 0.5), 0.1, 1.0)
    assert math.isnan(fit.exponent) and math.isnan(fit.error) and fit.count == 9
    # all at one end: the likelihood has no maximum
    assert math.isnan(fit_size_law(np.ones(100), 1, 5).exponent)


@pytest.mark.parametrize("window", [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (0.1, math.inf)])
def test_a_window_is_not_empty_and_does_not_reach_zero(window):
    with pytest.raises(UsageError, match="low, high"):
        fit_power_law([0.5] * 20, *window)


def test_sizes_begin_at_one():
    with pytest.raises(UsageError, match="low, high"):
        fit_size_law([1] * 20, 0, 5)
