from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from lightning_landscape.errors import UsageError
from lightning_landscape.theory.random_matrices import (
    goe_density,
    goe_largest_eigenvalue,
    marchenko_pastur_density,
    marchenko_pastur_edges,
    mean_stationary_points,
    semicircle_density,
)


def goe(N, radius, samples, seed):
    """Symmetric matrices with off-diagonal variance radius^2/(4N), twice that on the diagonal."""
    g = np.random.default_rng(seed).normal(size=(samples, N, N))
    return (g + g.swapaxes(1, 2)) * radius / np.sqrt(8 * N)


@pytest.mark.parametrize(("power", "moment"), [(0, 1), (1, 3.0), (2, 9 + 4 / 4)])
def test_semicircle_moments(power, moment):
    value, _ = quad(lambda x: x**power * semicircle_density(x, 2.0, centre=3.0), 1, 5)
    assert value == pytest.approx(moment)


@pytest.mark.parametrize("ratio", [0.25, 0.9, 3.0])
def test_marchenko_pastur_moments(ratio):
    low, high = marchenko_pastur_edges(ratio, variance=2.0)
    moments = [
        quad(lambda x, k=k: x**k * marchenko_pastur_density(x, ratio, 2.0), low, high)[0]
        for k in range(3)
    ]
    # the trace of X^T X / n and of its square, per dimension; mass min(1, 1/ratio) is not at zero
    assert moments == pytest.approx([min(1, 1 / ratio), 2.0, 4 * (1 + ratio)], rel=1e-6)


def test_marchenko_pastur_against_a_sample():
    X = np.random.default_rng(0).normal(size=(2000, 500))
    eigenvalues = np.linalg.eigvalsh(X.T @ X / 2000)
    low, high = marchenko_pastur_edges(0.25)
    assert eigenvalues[[0, -1]] == pytest.approx([low, high], abs=0.03)
    below = quad(lambda x: marchenko_pastur_density(x, 0.25), low, 1.0)[0]
    assert (eigenvalues < 1).mean() == pytest.approx(below, abs=0.01)


def test_density_outside_the_spectrum_is_zero():
    assert semicircle_density([-2.1, 2.1], 2.0).tolist() == [0, 0]
    assert marchenko_pastur_density([-1.0, 0.0, 5.0], 0.25).tolist() == [0, 0, 0]


@pytest.mark.parametrize("N", [2, 3, 6, 7])
def test_exact_goe_density_has_the_exact_moments(N):
    """tr 1, tr H^2 and tr H^4 of the GOE, per dimension, with off-diagonal variance 1/2."""
    radius = np.sqrt(2 * N)
    moments = [
        quad(lambda x, k=k: x**k * goe_density(x, N, radius), -12, 12, limit=200)[0]
        for k in (0, 2, 4)
    ]
    fourth = (2 * N**2 + 5 * N + 5) / 4
    assert moments == pytest.approx([1, (N + 1) / 2, fourth], rel=1e-6)


@pytest.mark.parametrize("N", [2, 5])
def test_exact_goe_density_against_a_sample(N):
    """Counts in ten bins; 4 standard errors of a binomial with 60,000 draws."""
    eigenvalues = np.linalg.eigvalsh(goe(N, 1.0, 60_000 // N, seed=1)).ravel()
    edges = np.linspace(-1.2, 1.2, 11)
    counts = np.histogram(eigenvalues, edges)[0] / len(eigenvalues)
    expected = [quad(lambda x: goe_density(x, N, 1.0), a, b)[0] for a, b in pairwise(edges)]
    error = np.sqrt(np.array(expected) / len(eigenvalues))
    assert np.all(np.abs(counts - expected) < 4 * error * np.sqrt(N))


def test_largest_eigenvalue_of_a_finite_goe_matrix():
    """The next term is of relative order 1/N; 400 samples have a standard error of 0.004."""
    largest = np.linalg.eigvalsh(goe(100, 2.0, 400, seed=2))[:, -1]
    assert goe_largest_eigenvalue(100, 2.0) == pytest.approx(largest.mean(), abs=0.016 + 0.01)
    assert abs(largest.mean() - 2.0) > 0.04  # the correction is seen
    radius = 2 * 3**0.5
    expected = [3.332, 3.381, 3.412]
    assert [goe_largest_eigenvalue(N, radius) for N in (64, 128, 256)] == pytest.approx(
        expected, abs=1.5e-3
    )


def test_stationary_points_of_small_spherical_glasses():
    assert [mean_stationary_points(3, N) for N in (2, 3, 4)] == pytest.approx(
        [2 * 7**0.5, 10.55, 18.80], rel=1e-3
    )
    # a quadratic form on the sphere has N pairs of eigenvectors
    assert mean_stationary_points(2, 5) == pytest.approx(10)


@pytest.mark.parametrize("p", [3, 4])
def test_stationary_points_on_the_circle_by_brute_force(p):
    """N = 2: zeros of the derivative of a random trigonometric polynomial; 4 standard errors."""
    rng, samples = np.random.default_rng(3), 4000
    angles = np.linspace(0, 2 * np.pi, 721)[:-1]
    s = np.stack([np.cos(angles), np.sin(angles)]) * np.sqrt(2)
    energies = np.zeros((samples, 720))
    for index in np.ndindex(*[2] * p):
        energies += rng.normal(size=(samples, 1)) * np.prod([s[i] for i in index], axis=0)
    slopes = np.diff(energies, axis=1, append=energies[:, :1])
    counts = (slopes * np.roll(slopes, 1, axis=1) < 0).sum(1)
    error = counts.std() / np.sqrt(samples)
    assert counts.mean() == pytest.approx(mean_stationary_points(p, 2), abs=4 * error)


def test_misuse():
    with pytest.raises(UsageError, match="radius = 0"):
        semicircle_density(0.0, 0)
    with pytest.raises(UsageError, match="N = 1"):
        mean_stationary_points(3, 1)
