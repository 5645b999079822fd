"""The law of the guesses of wide random networks, against sampling and its limits."""

import numpy as np
import pytest
from scipy.integrate import quad

from lightning_landscape.errors import UsageError
from lightning_landscape.theory.wide_networks import repeated_guess, share_density


@pytest.mark.parametrize("classes", [1, 2, 3, 10])
def test_uncorrelated_and_equal_outputs(classes):
    found = repeated_guess([0.0, 1.0], classes)
    assert found == pytest.approx([1 / max(classes, 2), 1.0], abs=1e-9)


@pytest.mark.parametrize(("classes", "rho"), [(3, 0.3), (3, -0.5), (10, 0.8), (10, 0.98)])
def test_the_probability_is_that_of_sampled_outputs(classes, rho):
    rng = np.random.default_rng(1)
    a = rng.standard_normal((100_000, classes))
    b = rho * a + np.sqrt(1 - rho**2) * rng.standard_normal(a.shape)
    same = a.argmax(1) == b.argmax(1)
    error = same.std() / len(same) ** 0.5
    assert abs(same.mean() - repeated_guess(rho, classes)) < 4 * error


@pytest.mark.parametrize("rho", [0.1, 1 / np.pi, 0.6])
def test_the_density_has_the_variance_that_pairs_of_inputs_have(rho):
    """Var G = E G^2 - 1/4, and the sum of both squared shares repeats with E G^2 = S / 2."""
    norm = quad(lambda G: float(share_density(G, rho)), 0, 1, limit=200)[0]
    square = quad(lambda G: G**2 * float(share_density(G, rho)), 0, 1, limit=200)[0]
    assert norm == pytest.approx(1, rel=1e-4)
    assert 2 * square == pytest.approx(float(repeated_guess(rho, 2)), rel=1e-4)


def test_a_correlation_out_of_range_is_refused():
    with pytest.raises(UsageError, match="between -1 and 1"):
        repeated_guess(1.5, 3)
    with pytest.raises(UsageError, match="between 0 and 1"):
        share_density(0.5, 1.0)
