import numpy as np
import pytest
from scipy.optimize import curve_fit

from lightning_landscape.errors import UsageError
from lightning_landscape.observables.relaxation import (
    decay,
    plateau,
    relaxation_time,
    susceptibility,
)
from lightning_landscape.observables.scaling import (
    Collapse,
    aging_onset,
    collapse,
    collapse_exponent,
)
from lightning_landscape.observables.statistics import (
    jackknife,
    leave_one_out_error,
    leave_one_out_means,
)

TW = np.array([10.0, 40.0, 160.0, 640.0])
T = np.geomspace(1, 5000, 30)


def aging(mu, rng, R=16, spread=0.05, T=T):
    """Curves Delta = F(t / tw^mu) with a common factor for each replica and noise on each point."""
    x = T / TW[:, None] ** mu
    curve = (np.log1p(x) / (1 + 0.1 * np.log1p(x)))[:, :, None]
    common = rng.normal(scale=spread, size=(len(TW), 1, R))
    return curve * np.exp(common + rng.normal(scale=spread, size=(len(TW), len(T), R)))


@pytest.mark.parametrize("mu", [0.0, 0.4, 0.85, 1.0])
def test_the_exponent_of_a_collapse_is_recovered_within_its_error(mu):
    found = collapse(TW, T, aging(mu, np.random.default_rng(0)))
    assert found.exponent == pytest.approx(mu, abs=4 * found.error)
    assert 0.002 < found.error < 0.05


def test_the_error_of_the_exponent_is_the_scatter_of_repeated_experiments():
    rng = np.random.default_rng(1)
    found = [collapse(TW, T[::3], aging(0.6, rng, R=8, T=T[::3])) for _ in range(24)]
    scatter = np.std([c.exponent for c in found], ddof=1)
    claimed = np.sqrt(np.mean([c.error**2 for c in found]))
    # a standard deviation of 24 is known to 15 %; 4 standard errors
    assert claimed == pytest.approx(scatter, rel=0.6)
    assert np.mean([c.exponent for c in found]) == pytest.approx(0.6, abs=4 * scatter / 24**0.5)


def test_curves_that_no_exponent_makes_one_are_told_by_their_quality():
    rng = np.random.default_rng(2)
    good = collapse(TW, T, aging(0.6, rng))
    slopes = T ** np.array([0.2, 0.5, 0.9, 1.3])[:, None]
    bad = collapse(TW, T, slopes[:, :, None] * np.exp(rng.normal(scale=0.05, size=(1, 1, 16))))
    assert good.quality < 3
    assert bad.quality > 10 * good.quality


def test_aging_sets_in_between_two_temperatures_or_cannot_be_told():
    def at(mu):
        return Collapse(mu, 0.02, 1.0)

    T = [0.1, 0.2, 0.3, 0.4]
    assert aging_onset(T, [at(0.6), at(0.3), at(0.07), at(-0.1)]) == (0.2, 0.3)
    assert aging_onset(T, [at(0.0)] * 4) is None
    assert aging_onset(T, [at(0.5)] * 4) is None


def test_waiting_times_that_were_not_reached_do_not_count():
    curves = aging(0.6, np.random.default_rng(3))
    curves[3] = np.nan
    curves[2, 20:] = np.nan
    found = collapse(TW, T, curves)
    assert found.exponent == pytest.approx(0.6, abs=4 * found.error)
    with pytest.raises(UsageError, match="waiting_times"):
        collapse(TW[:1], T, curves[:1])


def test_a_power_law_is_told_from_a_logarithm():
    rng, t = np.random.default_rng(4), np.geomspace(2, 2000, 40)
    noise = rng.normal(scale=0.003, size=(40, 20)) + rng.normal(scale=0.003, size=(1, 20))
    power = decay(t, -1.1547 + 0.33 * t[:, None] ** (-2 / 3) + noise, (2, 2000))
    assert power.exponent == pytest.approx(2 / 3, abs=4 * power.exponent_error)
    assert power.limit == pytest.approx(-1.1547, abs=4 * power.limit_error)
    assert power.power < 3 < power.logarithmic
    logarithm = decay(t, 0.7 - 0.08 * np.log(t)[:, None] + noise, (2, 2000))
    assert logarithm.slope == pytest.approx(0.08, abs=4 * logarithm.slope_error)
    assert logarithm.logarithmic < 3
    assert logarithm.power > 0.8 * logarithm.logarithmic


def test_the_errors_of_a_decay_are_those_of_fits_without_each_replica():
    """By SciPy, one replica after the other, with the weights of all of them."""
    rng, t = np.random.default_rng(7), np.geomspace(1, 1000, 20)
    E = -1 + 0.3 * t[:, None] ** -0.6 + rng.normal(scale=0.01, size=(20, 6))
    sigma = E.std(-1, ddof=1)

    def exponent(some):
        def law(t, limit, A, alpha):
            return limit + A * t**-alpha

        return np.array(curve_fit(law, t, some.mean(-1), [-1, 0.3, 0.6], sigma)[0][2])

    value, error = jackknife(exponent, E)
    found = decay(t, E, (1, 1000))
    assert found.exponent == pytest.approx(float(value), abs=2e-5)
    assert found.exponent_error == pytest.approx(float(error), rel=1e-3)
    one = decay(t, E[:, :1], (1, 1000))
    assert np.isfinite([one.slope, one.exponent, one.limit]).all()
    assert np.isnan([one.slope_error, one.exponent_error, one.limit_error]).all()


def test_a_mean_without_each_replica_has_the_standard_error_of_the_mean():
    values = np.random.default_rng(8).normal(size=(3, 5))
    means = leave_one_out_means(values)
    assert means[:, 1] == pytest.approx(np.delete(values, 1, -1).mean(-1))
    expected = values.std(-1, ddof=1) / 5**0.5
    assert leave_one_out_error(means.T) == pytest.approx(expected)
    assert np.isnan(leave_one_out_error(leave_one_out_means(values[:, :1]).T)).all()


def test_the_exponent_alone_is_that_of_the_collapse():
    curves = aging(0.6, np.random.default_rng(9))
    assert collapse_exponent(TW, T, curves) == collapse(TW, T, curves).exponent
    with pytest.raises(UsageError, match="waiting_times"):
        collapse_exponent(TW[:1], T, curves[:1])


def test_the_window_of_a_decay_is_what_is_fitted():
    t = np.geomspace(0.1, 1000, 60)
    E = np.where(t < 10, -5.0, -1 + 0.5 * t**-0.5)[:, None]
    assert decay(t, E, (11, 1000)).exponent == pytest.approx(0.5, abs=1e-3)
    with pytest.raises(UsageError, match="window"):
        decay(t, E, (990, 1000))


def test_a_plateau_is_found_where_it_is_and_not_in_diffusion():
    rng, t = np.random.default_rng(5), np.geomspace(0.01, 1e6, 60)
    caged = 0.6 * t / (1 + t) + 1e-5 * t
    found = plateau(t, caged[:, None] * rng.normal(1, 0.01, size=(60, 30)))
    # between 10 and 1e3 the curve stays within 2 % of 0.6
    assert found.value == pytest.approx(0.6, rel=0.04)
    assert 2 < found.begin < 30
    assert 300 < found.end < 2e4
    assert found.error < 0.01
    assert plateau(t, t[:, None] ** 0.5) is None


def test_the_relaxation_time_of_stretched_exponentials():
    rng, t = np.random.default_rng(6), np.geomspace(0.05, 500, 25)
    C = np.exp(-((t[:, None] / 12.0) ** 0.6)) + rng.normal(scale=0.03, size=(1, 40))
    tau, error = relaxation_time(t, C)
    assert tau == pytest.approx(12.0, abs=4 * error)
    assert error < 1.0
    assert np.isnan(relaxation_time(t[:5], C[:5])[0])


def test_the_susceptibility_is_N_times_the_variance():
    rng = np.random.default_rng(7)
    C = 0.5 + rng.normal(scale=[[0.02], [0.05]], size=(2, 400))
    chi, error = susceptibility(C, N=100)
    assert np.all(np.abs(chi - [0.04, 0.25]) < 4 * error)
    # the variance of a Gaussian variance is 2 sigma^4 / (R - 1)
    assert error == pytest.approx(np.array([0.04, 0.25]) * np.sqrt(2 / 399), rel=0.3)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    x = np.random.default_rng(8).normal(size=(3, 10))
    mean, error = jackknife(lambda some: some.mean(-1), x)
    assert mean == pytest.approx(x.mean(-1), abs=1e-14)
    assert error == pytest.approx(x.std(-1, ddof=1) / 10**0.5, rel=1e-12)
    assert np.isnan(jackknife(lambda some: some.mean(-1), x[:, :1])[1]).all()


def test_the_error_from_groups_of_many_replicas_is_that_from_replicas():
    """The spread of mu among independent sets of 256 replicas, against the error of each."""
    rng = np.random.default_rng(0)
    tw, t = np.array([10.0, 1000.0]), np.geomspace(1, 1000, 8)
    exact = np.log1p(t / tw[:, None] ** 0.7)[:, :, None]
    found = [
        collapse(tw, t, exact * np.exp(0.3 * rng.standard_normal((2, 1, 256)))) for _ in range(6)
    ]
    spread = np.std([each.exponent for each in found], ddof=1)
    error = np.mean([each.error for each in found])
    assert 0.4 < error / spread < 2.5  # the root of 256 / 32 is 2.8
