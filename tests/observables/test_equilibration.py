"""The two judges of equilibrium: calibrated on AR(1) chains, alarmed by chains that are stuck."""

import numpy as np
import pytest

from lightning_landscape.errors import UsageError
from lightning_landscape.observables.equilibration import gelman_rubin, two_starts

RNG = np.random.default_rng(0)


def ar1(chains, samples, rho, start=None):
    """Stationary chains of variance 1, or chains that begin at ``start``."""
    x = np.empty((chains, samples))
    x[:, 0] = RNG.standard_normal(chains) if start is None else start
    for k in range(1, samples):
        x[:, k] = rho * x[:, k - 1] + (1 - rho**2) ** 0.5 * RNG.standard_normal(chains)
    return x


def test_the_difference_of_two_starts_has_the_error_it_says():
    """400 pairs of 8 strongly correlated chains: differences over errors scatter like Student's t.

    Its variance with 14 degrees of freedom is 14 / 12; the tolerance is 4 standard errors.
    """
    z = []
    for _ in range(400):
        difference, error = two_starts(ar1(8, 60, 0.95), ar1(8, 60, 0.95))
        z.append(difference / error)
    expected, kurtosis = 14 / 12, 3 + 6 / 10
    tolerance = 4 * expected * ((kurtosis - 1) / 400) ** 0.5
    assert np.var(z) == pytest.approx(expected, abs=tolerance)
    assert abs(np.mean(z)) < 4 * (expected / 400) ** 0.5


def test_starts_that_have_not_met_are_many_errors_apart():
    difference, error = two_starts(ar1(8, 100, 0.999, start=5), ar1(8, 100, 0.999, start=-5))
    assert difference > 10 * error


def test_r_hat_of_independent_samples_and_of_correlated_ones():
    """R-hat^2 - 1 = (2 tau - 1) / n with 2 tau - 1 = 2 rho / (1 - rho), n the half length."""
    n, rho = 500, 0.9
    values = [gelman_rubin(ar1(16, 2 * n, rho)) ** 2 - 1 for _ in range(40)]
    exact = (1 + rho) / (1 - rho) / n - 1 / n  # B/W - 1/n, for n much longer than tau
    error = np.std(values) / 40**0.5
    assert np.mean(values) == pytest.approx(exact, abs=4 * error + exact * 20 / n)
    assert abs(gelman_rubin(RNG.standard_normal((16, 2000))) - 1) < 0.003


def test_r_hat_sees_a_stuck_chain_and_a_common_drift():
    apart = RNG.standard_normal((4, 200)) + np.array([0, 0, 0, 5])[:, None]
    drifting = RNG.standard_normal((4, 200)) + np.linspace(0, 5, 200)
    assert gelman_rubin(apart) > 1.3 and gelman_rubin(drifting) > 1.3


def test_too_little_data_is_refused():
    with pytest.raises(UsageError, match="below"):
        two_starts(np.zeros((2, 5)), np.zeros((1, 5)))
    with pytest.raises(UsageError, match="samples"):
        gelman_rubin(np.zeros((4, 3)))
