"""The limit of infinite size: exact laws, coverage of the error bars, and what is refused."""

import numpy as np
import pytest

from lightning_landscape.errors import UsageError
from lightning_landscape.studies.finite_size import Law, extrapolate
from lightning_landscape.studies.finite_size.table import fit_gaps

SIZES = np.array([32.0, 64.0, 128.0, 256.0])


def test_a_law_is_recovered_from_exact_numbers_for_every_time_of_a_curve():
    """Different times have different coefficients and errors; one size is run at two steps."""
    N, dt = np.array([16.0, 32.0, 64.0, 128.0, 16.0]), np.array([0.04] * 4 + [0.02])
    X, b1, b2, c = np.random.default_rng(0).normal(size=(4, 2, 3))
    means = X + (b1 / N[:, None, None] + b2 / N[:, None, None] ** 2) + c * dt[:, None, None]
    errors = np.random.default_rng(1).uniform(0.1, 0.3, means.shape)
    limit = extrapolate(Law((1.0, 2.0)), N, dt, means, errors)
    assert limit.value == pytest.approx(X)
    assert limit.coefficients == pytest.approx(np.stack([X, b1, b2, c]))
    assert limit.chi2 == pytest.approx(0, abs=1e-15) and limit.freedom == 1
    assert limit.statistical == pytest.approx(limit.covariance[0, 0] ** 0.5)
    assert (limit.weights * means).sum(0) == pytest.approx(X)


def test_the_statistical_error_is_that_of_the_weights():
    errors = np.array([0.1, 0.2, 0.1, 0.3])
    limit = extrapolate(Law((2 / 3,)), SIZES, 0 * SIZES, 1 / SIZES, errors)
    assert limit.statistical == pytest.approx(np.square(limit.weights * errors).sum() ** 0.5)
    assert limit.weights.sum() == pytest.approx(1)
    assert (limit.weights * SIZES ** (-2 / 3)).sum() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("third", [0.0, 2e3])
def test_the_error_bar_covers_the_limit(third):
    """4000 repetitions; with a third term, 0.06 at N = 32, that the law does not have.

    The statistical error alone covers 68.3 % where the law holds and less where it does not; the
    whole error covers more.
    """
    repetitions, sigma = 4000, 0.002
    N = SIZES[:, None]
    truth = -1 + 2 / N - 20 / N**2 + third / N**3
    noise = sigma * np.random.default_rng(0).normal(size=(4, repetitions))
    limit = extrapolate(Law((1.0, 2.0)), SIZES, 0 * SIZES, truth + noise, sigma + 0 * noise)
    away, error = np.abs(limit.value + 1), 4 * (0.683 * 0.317 / repetitions) ** 0.5
    statistical = (away < limit.statistical).mean()
    if third:
        assert statistical < 0.683 - error
    else:
        assert abs(statistical - 0.683) < error
        assert limit.chi2.mean() == pytest.approx(1, abs=4 * (2 / repetitions) ** 0.5)
    assert (away < limit.error).mean() > 0.683
    assert (away < 3 * limit.error).mean() > 0.99
    if not third:
        assert np.median(limit.error) < 4 * np.median(limit.statistical)


def test_with_as_many_sizes_as_coefficients_there_is_no_model_error():
    limit = extrapolate(Law((1.0,)), SIZES[:2], [0, 0], [1.0, 2.0], [0.1, 0.1])
    assert limit.shorter == limit.value == pytest.approx(3.0) and limit.freedom == 0


@pytest.mark.parametrize(
    ("law", "sentence"),
    [
        (Law((1.0, 2.0)), "number of sizes = 2: must be at least 3"),
        (Law((0.0,)), "exponents"),
        (Law(()), "exponents"),
    ],
)
def test_a_law_that_the_sizes_do_not_determine_is_refused(law, sentence):
    with pytest.raises(UsageError, match=sentence):
        extrapolate(law, [8, 16], [0, 0], [1.0, 2.0], [0.1, 0.1])


def test_gaps_of_a_known_limit_give_the_coefficients():
    """Samples scattered around 3/N - 40/N^2, whose mean and error are made exact."""
    import xarray

    N = np.repeat(SIZES, 2)
    exact = 0.5 + 3 / N - 40 / N**2 + 0.01 * np.tile([1, -1], 4)
    samples = xarray.Dataset({"E": (("run", "t"), exact[:, None]), "N": ("run", N)})
    b, covariance, chi2 = fit_gaps(samples, "E", np.array([0.5]), Law((1.0, 2.0)))
    assert b[:, 0] == pytest.approx([3, -40]) and chi2[0] == pytest.approx(0, abs=1e-12)
    A = np.stack([1 / SIZES, 1 / SIZES**2], 1)
    assert covariance[..., 0] == pytest.approx(1e-4 * np.linalg.inv(A.T @ A))
