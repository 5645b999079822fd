"""Cover's theorem and Gardner's capacity, against integers, integrals and simulated classifiers."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import linprog, nnls

from lightning_landscape.errors import UsageError
from lightning_landscape.theory.jamming import (
    NETWORKS,
    SPHERES,
    cover_probability,
    log_cover_probability,
    perceptron_capacity,
    perceptron_contacts,
    perceptron_jammed,
    perceptron_margin,
)


@pytest.mark.parametrize("P, N", [(1, 1), (36, 20), (40, 20), (44, 20), (3000, 20), (4000, 2010)])
def test_cover_is_exact_to_thousands_of_patterns(P, N):
    exact = Fraction(sum(math.comb(P - 1, k) for k in range(min(N, P))), 2 ** (P - 1))
    log = math.log(exact.numerator) - math.log(exact.denominator)
    assert log_cover_probability(P, N) == pytest.approx(log, rel=1e-11, abs=1e-11)
    assert cover_probability(P, N) == pytest.approx(float(exact), rel=1e-11)


def test_half_of_the_problems_are_solvable_at_two_patterns_per_dimension():
    for N in (1, 5, 100, 3000):
        assert cover_probability(2 * N, N) == pytest.approx(0.5, abs=1e-9)
        assert cover_probability(N, N) == 1.0


def is_linearly_separable(z):
    """Whether some w has z w >= 1 for the rows of z, patterns times labels: a linear program."""
    N = z.shape[1]
    program = linprog(np.zeros(N), A_ub=-z, b_ub=-np.ones(len(z)), bounds=(None, None))
    return program.status == 0


@pytest.mark.parametrize("P, probability", [(36, 0.750), (40, 0.500), (44, 0.271)])
def test_cover_agrees_with_linear_programs(P, probability):
    """Of 400 simulated classifiers in 20 dimensions, to 4 binomial standard errors."""
    rng, samples = np.random.default_rng(P), 400
    y = np.where(np.arange(P) % 2, 1, -1)[:, None]
    soluble = [is_linearly_separable(y * rng.normal(size=(P, 20))) for _ in range(samples)]
    error = (probability * (1 - probability) / samples) ** 0.5
    assert cover_probability(P, 20) == pytest.approx(probability, abs=5e-4)
    assert np.mean(soluble) == pytest.approx(cover_probability(P, 20), abs=4 * error)


@pytest.mark.parametrize("margin", [0.0, 0.3, 1.0, 4.0])
def test_capacity_is_gardners_integral(margin):
    def integrand(t):
        return math.exp(-(t**2) / 2) / math.sqrt(2 * math.pi) * (t + margin) ** 2

    exact = 1 / quad(integrand, -margin, 30)[0]
    assert perceptron_capacity(margin) == pytest.approx(exact, rel=1e-9)
    assert perceptron_margin(perceptron_capacity(margin)) == pytest.approx(margin, abs=1e-9)


def largest_margin(z):
    """The largest margin over |w|^2 = N, and the number of patterns on it.

    The shortest w with z w >= 1 by its dual, a non-negative least squares problem (Lawson and
    Hanson's least distance programming): the margin is sqrt(N) / |w| per unit of the patterns.
    """
    P, N = z.shape
    A, b = np.vstack([z.T, np.ones(P)]), np.append(np.zeros(N), 1.0)
    dual, _ = nnls(A, b, maxiter=50 * P)
    residual = A @ dual - b
    w = -residual[:N] / residual[N]
    assert (z @ w).min() > 1 - 1e-9
    return 1 / np.linalg.norm(w), int((dual > 0).sum())


@pytest.mark.parametrize("margin", [0.5, 1.0])
def test_capacity_and_contacts_of_the_perceptron(margin):
    """At capacity the largest margin of samples is this one, and so many patterns lie on it.

    Two sizes, extrapolated in 1/N, in which the corrections are 0.3 to 0.4; to 4 standard errors.
    """
    load, rng = perceptron_capacity(margin), np.random.default_rng(1)
    means, errors, sizes = [], [], (20, 80)
    for N, samples in zip(sizes, (4000, 1500), strict=True):
        P = round(load * N)
        found = np.array([largest_margin(rng.normal(size=(P, N))) for _ in range(samples)]) / [1, N]
        exact = perceptron_margin(P / N)  # P is a whole number
        means.append(found.mean(0) - [exact, perceptron_contacts(exact)])
        errors.append(found.std(0, ddof=1) / samples**0.5)
    small, large = sizes
    deviation = (large * means[1] - small * means[0]) / (large - small)
    error = np.hypot(large * errors[1], small * errors[0]) / (large - small)
    assert (abs(deviation) < 4 * error).all() and (error < [0.005, 0.002]).all()


@pytest.mark.parametrize("margin, factor", [(0.3, 1.05), (1.0, 1.5), (1.0, 4.0)])
def test_moments_of_the_gap_density_of_the_jammed_perceptron(margin, factor):
    """The density of gaps is normalized, and has the energy and N_Delta as its moments."""
    state = perceptron_jammed(factor * perceptron_capacity(margin), margin)
    density = state.gap_density
    positive = quad(density, 1e-12, 20)[0]
    assert positive + quad(density, -20, -1e-12)[0] == pytest.approx(1, abs=1e-6)
    assert state.load * positive == pytest.approx(state.unsatisfied, rel=1e-6)
    energy = quad(lambda x: x**2 / 2 * density(x), 0, 20)[0]
    assert state.load * energy == pytest.approx(state.energy, rel=1e-6)


def test_the_jammed_perceptron_is_continuous_at_capacity():
    capacity = perceptron_capacity(0.8)
    state = perceptron_jammed(capacity * (1 + 1e-9), 0.8)
    assert state.unsatisfied == pytest.approx(perceptron_contacts(0.8), rel=1e-6)
    assert state.energy == pytest.approx(0, abs=1e-17)
    with pytest.raises(UsageError, match="above the capacity"):
        perceptron_jammed(0.9 * capacity, 0.8)
    with pytest.raises(UsageError, match="too far above"):
        perceptron_jammed(100 * capacity, 0.8)


def test_a_negative_margin_is_refused_as_not_convex():
    with pytest.raises(UsageError, match=r"margin = -0.1.*convex"):
        perceptron_capacity(-0.1)
    with pytest.raises(UsageError, match=r"load = 2.1"):
        perceptron_margin(2.1)


def test_the_exponents_of_spheres_obey_their_relation():
    """By the stability of isostatic packings, gamma = 1 / (2 + theta); not so in networks."""
    assert 1 / (2 + SPHERES.theta) == pytest.approx(SPHERES.gamma, abs=1e-5)
    assert abs(1 / (2 + NETWORKS.theta) - NETWORKS.gamma) > 0.1
