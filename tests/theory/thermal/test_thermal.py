from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import exp1
from scipy.stats import gamma, kstest

from lightning_landscape.errors import UsageError
from lightning_landscape.theory.thermal.boundary_fit import fit_walls
from lightning_landscape.theory.thermal.valleys import (
    ExponentialWalls,
    QuadraticValley,
    unconfined_wall,
)

T = 0.01


def moments_of_a_wall(wall, temperature):
    """Raw moments of U by quadrature over x, with the Boltzmann weight of the wall itself."""

    def weighted(k):
        def integrand(x):
            U = wall.height * np.exp(-wall.steepness * x)
            return U**k * np.exp(-U / temperature)

        hot = -np.log(temperature * 50 / wall.height) / wall.steepness  # U = 50 T
        mid = -np.log(temperature / wall.height) / wall.steepness
        points = sorted({min(hot, wall.length), min(mid, wall.length), wall.length})
        edges = [points[0] - 3 / wall.steepness, *points]
        return sum(
            quad(integrand, a, b, epsabs=0, epsrel=1e-11, limit=500)[0]
            for a, b in pairwise(edges)
            if b > a
        )

    Z = weighted(0)
    return [weighted(k) / Z for k in range(5)]


def cumulants(m):
    return [
        m[1],
        m[2] - m[1] ** 2,
        m[3] - 3 * m[2] * m[1] + 2 * m[1] ** 3,
        m[4] - 4 * m[3] * m[1] - 3 * m[2] ** 2 + 12 * m[2] * m[1] ** 2 - 6 * m[1] ** 4,
    ]


@pytest.mark.parametrize(
    "wall",
    [
        ExponentialWalls(length=20),
        ExponentialWalls(length=3, steepness=2.0, height=0.5),
        ExponentialWalls(length=0, height=0.02),
    ],
)
def test_cumulants_of_a_wall_against_quadrature(wall):
    expected = cumulants(moments_of_a_wall(wall, T))
    got = [wall.cumulant(k, T) for k in (1, 2, 3, 4)]
    assert got == pytest.approx(expected, rel=1e-8)
    assert wall.curvature(T) == pytest.approx(wall.steepness**2 * expected[0], rel=1e-8)


def test_reference_values():
    """Mean and variance at L = 20, kappa = eps = 1."""
    wall, temperatures = ExponentialWalls(length=20), np.array([1e-4, 1e-3, 1e-2, 1e-1])
    mean, variance = wall.mean(temperatures), wall.variance(temperatures)
    assert mean / temperatures == pytest.approx([0.09792, 0.07990, 0.06749, 0.05841], abs=1e-5)
    assert variance / temperatures**2 == pytest.approx(
        [0.08833, 0.07352, 0.06293, 0.05500], abs=1e-5
    )


@pytest.mark.parametrize(
    "law",
    [
        QuadraticValley(7),
        ExponentialWalls(length=6),
        ExponentialWalls(number=12, length=4),
        QuadraticValley(3) + ExponentialWalls(number=4, length=5),
        QuadraticValley(300) + ExponentialWalls(number=40, length=20),
    ],
    ids=["valley", "wall", "walls", "sum", "large sum"],
)
def test_the_density_has_the_cumulants(law):
    lowest = law.least(T) * T
    width = float(law.variance(T)) ** 0.5

    # trapezoids in log(U - lowest): the density of walls has its weight over many decades
    above = np.exp(np.linspace(-30, 0, 3001)) * (law.mean(T) - lowest + 30 * (width + T))
    weight = law.density(lowest + above, T) * above * 0.01

    def moment(k, about=0.0):
        return ((lowest + above - about) ** k * weight).sum()

    mean = moment(1)
    central = [moment(k, mean) for k in (2, 3, 4)]
    assert moment(0) == pytest.approx(1, abs=1e-6)
    assert mean == pytest.approx(law.mean(T), rel=1e-6)
    assert central[0] == pytest.approx(law.variance(T), rel=1e-6)
    assert central[1] == pytest.approx(law.cumulant(3, T), rel=1e-5)
    assert central[2] - 3 * central[0] ** 2 == pytest.approx(law.cumulant(4, T), rel=1e-4)


@pytest.mark.parametrize("n", [1, 2, 25, 400, 4000])
def test_the_density_of_a_valley_is_the_gamma_density_into_the_tail(n):
    x = np.linspace(0.05, 4, 40) * n / 2 * T
    assert QuadraticValley(n).density(x, T) == pytest.approx(gamma(n / 2, scale=T).pdf(x), rel=1e-9)


def test_the_density_of_a_wall_is_its_formula_into_the_tail():
    wall = ExponentialWalls(length=9)
    u = np.exp(-9)
    x = u + np.logspace(-6, np.log10(40 * T), 30)
    exact = np.exp(-x / T) / (x * exp1(u / T))
    assert wall.density(x, T) == pytest.approx(exact, rel=1e-7)
    assert wall.density([0.0, u / 2], T).tolist() == [0, 0]


def test_the_distribution_of_a_sum_against_sampling():
    """Kolmogorov-Smirnov distance of a sum of walls and a valley, drawn part by part."""
    rng, n, number = np.random.default_rng(1), 20_000, 5
    wall = ExponentialWalls(length=5)
    z = np.exp(-5) / T
    grid = z * np.exp(np.linspace(0, np.log(60 / z), 4000))
    below = 1 - exp1(grid) / exp1(z)
    draws = np.interp(rng.random((number, n)), below, grid).sum(0) + rng.gamma(1.5, size=n)
    law = QuadraticValley(3) + ExponentialWalls(number, length=5)
    x = number * z + np.exp(np.linspace(-12, np.log(80), 2000))
    mass = law.density(x * T, T) * T
    cdf = np.append(0, np.cumsum((mass[1:] + mass[:-1]) / 2 * np.diff(x)))
    assert cdf[-1] == pytest.approx(1, abs=1e-4)
    assert kstest(draws, lambda v: np.interp(v, x, cdf)).pvalue > 1e-3
    assert law.cumulant(3, T) == pytest.approx(
        2 * 1.5 * T**3 + number * wall.cumulant(3, T), rel=1e-12
    )


def simulated(wall, temperature, walkers, lr, steps, burn_in):
    """Moments <U^k> of Langevin walkers, with the reflection at L."""
    rng, x = np.random.default_rng(0), np.full(walkers, wall.length / 2)
    sums = np.zeros((4, walkers))
    for step in range(steps):
        U = wall.height * np.exp(-wall.steepness * x)
        x = x + lr * wall.steepness * U + np.sqrt(2 * lr * temperature) * rng.normal(size=walkers)
        x = np.minimum(x, 2 * wall.length - x)
        if step >= burn_in:
            U = wall.height * np.exp(-wall.steepness * x)
            sums += np.stack([U, U**2, U**3, U**4])
    sums /= steps - burn_in
    return sums.mean(1), sums.std(1, ddof=1) / walkers**0.5


def test_moments_of_a_wall_against_langevin_walkers():
    """L = 3 at T = 0.05: four moments within 4 standard errors of 4000 walkers."""
    wall, temperature = ExponentialWalls(length=3), 0.05
    mean, error = simulated(wall, temperature, 4000, lr=0.05, steps=6000, burn_in=3000)
    c = [float(wall.cumulant(k, temperature)) for k in (1, 2, 3, 4)]
    exact = [
        c[0],
        c[1] + c[0] ** 2,
        c[2] + 3 * c[1] * c[0] + c[0] ** 3,
        c[3] + 4 * c[2] * c[0] + 3 * c[1] ** 2 + 6 * c[1] * c[0] ** 2 + c[0] ** 4,
    ]
    assert (abs(mean - exact) < 4 * error).all()
    assert (error < 0.05 * np.array(exact)).all()


def test_the_unconfined_wall_against_its_exact_solution_along_paths():
    """r = e^(sqrt(2) W) / int e^(sqrt(2) W) from r(0) = infinity; 4 standard errors."""
    rng, n, dt = np.random.default_rng(0), 40_000, 0.004
    W, A, seen = np.zeros(n), np.zeros(n), {}
    for step in range(1, 1001):
        new = W + np.sqrt(2 * dt) * rng.normal(size=n)
        A, W = A + dt * (np.exp(W) + np.exp(new)) / 2, new
        if step in (100, 1000):
            seen[step * dt] = np.exp(W) / A
    for tau, r in seen.items():
        mean, variance = unconfined_wall(tau / (4 * 0.3), temperature=0.3, steepness=2.0)
        error = r.std() / n**0.5
        assert abs(r.mean() - mean / 0.3) < 4 * error
        square_error = ((r - r.mean()) ** 2).std() / n**0.5
        assert abs(r.var() - variance / 0.09) < 4 * square_error


def test_the_unconfined_wall_ends_in_diffusion():
    """<r> = 1/sqrt(pi tau) + pi^(3/2)/(6 tau^(3/2)), Var r -> <r>; and 1/tau + 1/6 at first."""
    tau = np.array([1e3, 1e5])
    mean, variance = unconfined_wall(tau, 1.0)
    assert mean == pytest.approx(1 / np.sqrt(np.pi * tau) + np.pi**1.5 / 6 / tau**1.5, rel=1e-5)
    assert variance[1] / mean[1] == pytest.approx(1, abs=0.002)
    early = unconfined_wall(1e-4, 1.0)[0]
    assert early - 1e4 == pytest.approx(1 / 6, abs=1e-3)


def test_the_variance_of_the_unconfined_wall_follows_from_its_mean():
    """<r^2> = <r> - d<r>/dtau, which is Ito's formula for the mean of r."""
    tau, h = np.array([0.3, 1.0, 5.0, 40.0]), 1e-4
    mean, variance = unconfined_wall(tau, 1.0)
    slope = (unconfined_wall(tau * (1 + h), 1.0)[0] - unconfined_wall(tau * (1 - h), 1.0)[0]) / (
        2 * h * tau
    )
    assert variance + mean**2 == pytest.approx(mean - slope, rel=1e-6)


def test_walls_look_quadratic_but_their_curvature_does_not():
    """2 <U>/T and 2 Var U/T^2 agree within 10 % and move by less than 40 % over three decades."""
    walls, temperatures = ExponentialWalls(number=100, length=20), np.logspace(-4, -1, 4)
    from_mean, from_variance, from_heat = walls.dimensions(temperatures)
    assert from_variance == pytest.approx(from_mean, rel=0.1)
    assert from_mean.min() > 0.59 * from_mean.max()
    h = 1e-5
    slope = (walls.mean(T * (1 + h)) - walls.mean(T * (1 - h))) / (2 * h * T)
    assert 2 * slope == pytest.approx(walls.dimensions(T)[2], rel=1e-6)
    curvature = walls.curvature(temperatures)
    assert curvature[3] / curvature[0] > 500
    assert from_heat == pytest.approx(from_variance)


def test_invalid_arguments_are_refused():
    with pytest.raises(UsageError, match=r"directions = 0: must be greater than 0"):
        QuadraticValley(0)
    with pytest.raises(UsageError, match=r"steepness = -1: must be greater than 0"):
        ExponentialWalls(steepness=-1)
    with pytest.raises(UsageError, match=r"temperature = 0"):
        ExponentialWalls().mean(0)
    with pytest.raises(UsageError, match=r"times"):
        unconfined_wall([0.0], 1.0)


def test_walls_are_fitted_only_where_they_describe_the_data():
    """Dimensions that rise with T are not described by walls."""
    T = np.geomspace(1e-5, 1e-3, 5)
    mean, variance, _ = ExponentialWalls(number=25, length=14).dimensions(T)
    fitted = fit_walls(T, (mean, 0.05 * mean), (variance, 0.05 * variance), 4.0)
    assert fitted.number == pytest.approx(25, rel=1e-3)
    assert fitted.steepness * fitted.length == pytest.approx(14, rel=1e-3)
    assert fitted.curvature(T) == pytest.approx(4 * fitted.mean(T))
    rising = 10 + 5 * np.log10(T / T[0])
    assert fit_walls(T, (rising, 0.05 * rising), (rising, 0.05 * rising)) is None
