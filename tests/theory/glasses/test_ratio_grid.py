import numpy as np
import pytest
from scipy.integrate import quad

from lightning_landscape.theory.glasses.memory import Memory, time_stencil
from lightning_landscape.theory.glasses.ratio_grid import RatioGrid

GRID = RatioGrid(smallest=1e-4, spacing=0.1)


def waiting(theta):
    """A function with structure at both ends, at all scales between 1e-3 and 1."""
    return np.log(1e-3 + theta) - np.exp(-(1 - theta) / 1e-3)


def test_nodes_resolve_both_ends():
    assert GRID.theta[0] == GRID.complement[-1] == 0
    assert GRID.theta[-1] == GRID.complement[0] == 1
    assert np.allclose(GRID.theta + GRID.complement, 1, atol=1e-15)
    assert np.all(np.diff(GRID.theta) > 0)
    assert GRID.theta[1] < 1e-4
    assert GRID.complement[-2] < 1e-4


def test_integral_and_derivative():
    value, _ = quad(waiting, 0, 1, points=[0.01, 0.99], epsabs=1e-12, limit=500)
    assert GRID.weights @ waiting(GRID.theta) == pytest.approx(value, abs=1e-8)
    rest = GRID.integral @ waiting(GRID.theta)
    expected = [quad(waiting, a, 1, points=[0.99], limit=500)[0] for a in GRID.theta[[0, 20, 60]]]
    assert rest[[0, 20, 60]] == pytest.approx(expected, abs=1e-6)
    assert rest[-1] == 0
    slope = GRID.derivative @ waiting(GRID.theta)
    exact = 1 / (1e-3 + GRID.theta) - 1e3 * np.exp(-GRID.complement / 1e-3)
    assert np.abs(slope - exact).max() < 1e-4 * np.abs(exact).max()


@pytest.mark.parametrize(("smallest", "spacing"), [(1e-2, 0.3), (1e-4, 0.1), (1e-6, 0.15)])
def test_advection_from_the_diagonal_is_stable(smallest, spacing):
    """With equidistant nodes and the same order the real parts reach 1/smallest."""
    grid = RatioGrid(smallest, spacing)
    advection = (grid.theta[:, None] * grid.derivative)[:-1, :-1]
    assert np.linalg.eigvals(advection).real.max() < 1e-9


def test_stencil_interpolates_and_its_adjoint_is_the_adjoint():
    rng = np.random.default_rng(0)
    theta = 10.0 ** -rng.uniform(0, 5, size=(3, 40))
    theta[1] = 1 - theta[1]
    stencil = GRID.stencil(theta, 1 - theta)
    assert stencil(waiting(GRID.theta)) == pytest.approx(waiting(theta), abs=1e-5)
    factors, values = rng.normal(size=(3, 40)), rng.normal(size=len(GRID.theta))
    matrix = stencil.adjoint(factors, len(values))
    assert matrix @ values == pytest.approx((factors * stencil(values)).sum(1), abs=1e-9)


def test_time_stencil_reaches_back_and_ends_at_zero():
    step, n = 0.1, 200
    times = np.append(0.0, np.exp(step * np.arange(-n + 1, 1)))
    offset, weights = time_stencil(np.array([1.0, 0.97, 0.2, 1e-3, 0.0]), step)
    first = np.maximum(n + offset, 0)
    assert np.all(first + 5 <= n)
    values = np.cos(times)[first[:, None] + np.arange(6)]
    expected = np.cos([1.0, 0.97, 0.2, 1e-3, 0.0])
    assert (weights * values).sum(1) == pytest.approx(expected, abs=1e-6)


def test_memory_integrals_against_adaptive_quadrature():
    """Every integral of the equations, for C, R and kernels that are known functions."""
    step, t = 0.05, 3.0
    grid = RatioGrid(1e-3, 0.1)
    steps = 300
    times = np.append(0.0, t * np.exp(step * np.arange(-steps + 1, 1)))[:, None]

    def C(t, s):
        return np.exp(-np.abs(t - s)) * (1 + np.minimum(t, s)) / (1 + np.maximum(t, s))

    def R(t, s):
        return np.exp(-3 * (t - s)) + 0.1 * (t - s) / (1 + t)

    def sigma(s):
        return 3 * C(t, s) * R(t, s)

    def noise(s):
        return 1.5 * C(t, s) ** 2

    def integral(function, low, high, tw):
        return quad(function, low, high, points=[tw], epsabs=1e-11)[0]

    slices_C, slices_R = (values(times, times * grid.theta) for values in (C, R))
    late, theta = t * grid.theta, grid.theta
    op = Memory(grid, step).operators(t, steps, slices_C, slices_R, sigma(late), noise(late))
    for j in (0, 9, len(theta) // 2, len(theta) - 9, len(theta) - 2):
        tw = late[j]
        whole = integral(lambda s, tw=tw: sigma(s) * C(s, tw), 0, t, tw)
        before = integral(lambda s, tw=tw: noise(s) * R(tw, s), 0, tw, tw)
        after = integral(lambda s, tw=tw: sigma(s) * R(s, tw), tw, t, tw)
        assert op.C_sigma[j] @ sigma(late) == pytest.approx(whole, abs=2e-7)
        assert op.C_noise[j] @ noise(late) == pytest.approx(before, abs=2e-7)
        assert op.R_sigma[j] @ sigma(late) == pytest.approx(after, abs=2e-7)


def test_memory_derivatives_against_finite_differences():
    step, t, steps = 0.1, 2.0, 150
    grid = RatioGrid(1e-2, 0.2)
    memory, L = Memory(grid, step), len(grid.theta)
    times = np.append(0.0, t * np.exp(step * np.arange(-steps + 1, 1)))[:, None]
    tau = times * grid.complement
    C, R, rng = np.exp(-tau), np.exp(-2 * tau), np.random.default_rng(1)
    sigma, noise, change = rng.normal(size=(3, L))

    def integrals(scale):
        C_new, R_new = C.copy(), R.copy()
        C_new[-1] += scale * change
        R_new[-1] += scale * change[::-1]
        op = memory.operators(t, steps, C_new, R_new, sigma, noise)
        return op.C_sigma @ sigma + op.C_noise @ noise, op.R_sigma @ sigma

    op = memory.operators(t, steps, C, R, sigma, noise)
    expected = op.C_C @ change + op.C_R @ change[::-1], op.R_R @ change[::-1]
    for up, down, derivative in zip(integrals(1.0), integrals(-1.0), expected, strict=True):
        assert (up - down) / 2 == pytest.approx(derivative, abs=1e-10)
