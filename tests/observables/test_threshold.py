"""The threshold finder against oracles whose threshold is known."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import norm

from lightning_landscape.errors import UsageError
from lightning_landscape.observables.threshold import Threshold, slope

PLACE, SPREAD, TRIALS = 700.0, 0.12, 16
LOW, HIGH = 150.0, 2400.0


def oracle(x, rng):
    """How many of 16 jam at x."""
    return rng.binomial(TRIALS, norm.cdf(math.log(x / PLACE) / SPREAD))


def adaptive(rounds, rng):
    threshold = Threshold(LOW, HIGH)
    for _ in range(rounds):
        x = threshold.next_place(TRIALS)
        threshold.add(x, oracle(x, rng), TRIALS)
    return threshold.estimate()


def grid(rounds, rng):
    threshold = Threshold(LOW, HIGH)
    for x in np.geomspace(LOW, HIGH, rounds):
        threshold.add(x, oracle(x, rng), TRIALS)
    return threshold.estimate()


def test_it_finds_the_threshold_and_knows_how_well():
    """30 searches: unbiased within 4 standard errors, and their scatter is the error they state."""
    rng = np.random.default_rng(1)
    found = [adaptive(6, rng) for _ in range(30)]
    deviation = np.array([each.log_place - math.log(PLACE) for each in found])
    stated = np.array([each.error for each in found])
    assert abs(deviation.mean()) < 4 * deviation.std(ddof=1) / 30**0.5
    # chi^2 of 30 degrees of freedom lies within 30 +- 4 sqrt 60 but once in 10^4
    assert 30 - 4 * 60**0.5 < (deviation**2 / stated**2).sum() < 30 + 4 * 60**0.5
    # sqrt(pi/2) s / sqrt n is the bound of Cramer and Rao for trials at the threshold itself
    bound = (math.pi / 2) ** 0.5 * SPREAD / (6 * TRIALS) ** 0.5
    assert 0.9 * bound < stated.mean() < 2 * bound


def test_it_needs_a_third_of_the_runs_of_a_grid():
    """For the same error bar: the mean of 12 searches each, on a range of a factor of 16."""
    rng = np.random.default_rng(2)
    ours = np.mean([adaptive(6, rng).error for _ in range(12)])
    theirs = np.mean([grid(18, rng).error for _ in range(12)])
    assert ours < theirs


def test_more_rounds_only_help():
    rng = np.random.default_rng(3)
    errors = [np.mean([adaptive(rounds, rng).error for _ in range(8)]) for rounds in (1, 2, 4, 8)]
    assert all(later < earlier for earlier, later in pairwise(errors))


def test_before_any_trial_it_knows_the_range_only():
    estimate = Threshold(LOW, HIGH).estimate()
    assert estimate.log_place == pytest.approx(math.log(LOW * HIGH) / 2)
    assert estimate.error == pytest.approx(math.log(HIGH / LOW) / 12**0.5, rel=0.01)


def test_a_failure_far_below_the_threshold_does_not_drag_it_there():
    """One network in 16 that fails at a quarter of the threshold is an accident."""
    clean, troubled = Threshold(LOW, HIGH), Threshold(LOW, HIGH)
    for threshold, accidents in ((clean, 0), (troubled, 1)):
        threshold.add(PLACE / 4, accidents, TRIALS)
        for x, yes in ((0.9 * PLACE, 3), (PLACE, 8), (1.1 * PLACE, 13)):
            threshold.add(x, yes, TRIALS)
    assert troubled.estimate().log_place == pytest.approx(clean.estimate().log_place, abs=0.03)


def test_an_impossible_range_is_refused():
    with pytest.raises(UsageError, match="range"):
        Threshold(2.0, 1.0)


def test_the_slope_has_the_error_of_many_repetitions():
    rng, x, error = np.random.default_rng(0), np.array([0.0, 1.0, 3.0]), np.array([0.1, 0.3, 0.2])
    found = [slope(x, 2 - 0.5 * x + error * rng.standard_normal(3), error) for _ in range(4000)]
    slopes, errors = np.array(found).T
    assert errors.std() < 1e-12
    assert abs(slopes.mean() + 0.5) < 4 * errors[0] / 4000**0.5
    assert slopes.std() == pytest.approx(errors[0], rel=4 / (2 * 4000) ** 0.5)
