"""Means over samples, and errors that are not too small by chance."""

import numpy as np
import pytest
import xarray

from lightning_landscape.studies.finite_size.samples import mean_and_error


def samples(X, variance=None, replicas=4):
    values = {"X": (("run", "t"), X)}
    if variance is not None:
        values["X_variance"] = (("run", "t"), np.broadcast_to(variance, np.shape(X)))
    return xarray.Dataset(values, attrs={"replicas": replicas})


def test_the_error_is_that_of_the_scatter_or_of_the_replicas_whichever_is_larger():
    X = np.array([[1.0, 1.0], [3.0, 1.0], [9.0, 9.0]])
    mean, error = mean_and_error(samples(X, 0.5), "X", np.array([0, 1]))
    assert mean.tolist() == [2, 1]
    # variance 2 between two samples; 0.5 between four replicas, where the samples agree
    assert error == pytest.approx([(2 / 2) ** 0.5, (0.5 / 4 / 2) ** 0.5])


@pytest.mark.parametrize("variance", [None, np.nan])
def test_without_a_variance_it_is_that_of_the_scatter(variance):
    X = np.array([[1.0], [3.0], [2.0]])
    _, error = mean_and_error(samples(X, variance), "X", np.arange(3))
    assert error == pytest.approx([(1 / 3) ** 0.5])


def test_times_that_were_not_reached_stay_nan():
    mean, error = mean_and_error(samples(np.full((3, 1), np.nan), np.nan), "X", np.arange(3))
    assert np.isnan(mean).all() and np.isnan(error).all()


def test_a_few_samples_cover_the_mean_as_often_as_their_error_says():
    """5 samples of 32 replicas without disorder: 68.3 % within one error, 62.6 % by scatter alone.

    P(|t| < 1) of Student's t with 4 degrees of freedom is 0.626.
    """
    rng, n, repetitions = np.random.default_rng(0), 5, 4000
    X = rng.normal(size=(n, repetitions))
    scatter = np.abs(mean_and_error(samples(X), "X", np.arange(n))[0])
    by_scatter = scatter < mean_and_error(samples(X), "X", np.arange(n))[1]
    whole = mean_and_error(samples(X, 32.0, replicas=32), "X", np.arange(n))
    covered = (np.abs(whole[0]) < whole[1]).mean()
    error = 4 * (0.68 * 0.32 / repetitions) ** 0.5
    assert by_scatter.mean() == pytest.approx(0.626, abs=error)
    assert 0.683 < covered < 0.78
