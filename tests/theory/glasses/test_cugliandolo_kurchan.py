"""Three independent references: exact solutions, the uniform grid, and published curves.

The table of E and C(t, 0) was made with a uniform grid and one Richardson step; that of DYNAMITE
with its ratio grid of 256 nodes, that of Kim and Latz with their doubling grid.
"""

import math

import numpy as np
import pytest
from scipy.special import ive

from lightning_landscape.errors import UsageError
from lightning_landscape.theory.glasses import pspin
from lightning_landscape.theory.glasses.cugliandolo_kurchan import solve
from lightning_landscape.theory.glasses.equilibrium import equilibrium_correlation
from lightning_landscape.theory.glasses.log_time import integrate
from lightning_landscape.theory.glasses.quench import Quench
from lightning_landscape.theory.glasses.uniform_grid import solve_uniform

PURE, MIXED = {3: 0.5}, {3: 0.25, 4: 0.25}
QUENCH = solve(PURE, temperature=0.0, t_max=100.0, tolerance=1e-5)


class TwoSpin:
    """The exact solution for f = q^2/2, T = 0, random start: modes of a semicircle that grow.

    With I(s) = <exp(x s)> = I_1(2 s)/s over the semicircle of radius 2,
    C = I(t+t')/sqrt(I(2t) I(2t')), R = I(t-t') sqrt(I(2t')/I(2t)) and mu = d ln I(2t)/dt / 2.
    """

    def log_I(self, s):
        small = np.maximum(s, 1e-9)
        return np.where(s > 1e-6, np.log(ive(1, 2 * small) / small) + 2 * small, s**2 / 2)

    def correlation(self, t, tw):
        return np.exp(self.log_I(t + tw) - (self.log_I(2 * t) + self.log_I(2 * tw)) / 2)

    def response(self, t, tw):
        return np.exp(self.log_I(t - tw) + (self.log_I(2 * tw) - self.log_I(2 * t)) / 2)

    def energy(self, t):
        return -ive(2, 4 * t) / ive(1, 4 * t)


def test_quench_energies_and_correlations_table():
    t = [0.5, 1, 2, 3, 5, 10, 20, 30, 50, 100]
    E = [-0.57142, -0.78249, -0.92617, -0.98348, -1.03556]
    E += [-1.08149, -1.10939, -1.12036, -1.13042, -1.13946]
    C = [0.87010, 0.71369, 0.54805, 0.46496, 0.37724, 0.28469, 0.21603, 0.18433, 0.15134, 0.11628]
    assert QUENCH.energy(t) == pytest.approx(E, abs=2e-4)
    assert QUENCH.correlation(t, 0.0) == pytest.approx(C, abs=2e-4)


def test_quench_against_dynamite():
    t = [0.8, 1.6, 4, 8, 16, 24, 32, 40]
    E = [-0.72142, -0.88697, -1.01524, -1.06924, -1.10198, -1.11484, -1.12197, -1.12659]
    assert QUENCH.energy(t) == pytest.approx(E, abs=3e-5)


def test_aging_correlations_table():
    """These were not extrapolated in the step; 1 - C is known to a few 1e-4."""
    t = np.array([1, 5, 20])
    table = {
        2: (0.9728, 0.7814, 0.5046),
        10: (0.9980, 0.9591, 0.7748),
        30: (0.9999, 0.9921, 0.9188),
    }
    for tw, C in table.items():
        assert QUENCH.correlation(tw + t, tw) == pytest.approx(C, abs=7e-4)


def test_approach_to_the_threshold_is_a_power_near_two_thirds():
    E_th = pspin.threshold_energy(PURE)
    gap = QUENCH.energy([5, 10, 20, 40, 50, 100]) - E_th
    assert np.all(gap > 0)
    exponents = np.log(gap[::2] / gap[1::2]) / math.log(2)
    assert exponents == pytest.approx([0.702, 0.682, 0.672], abs=0.01)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-4, 1e-5])
def test_exact_2_spin_solution_agrees_within_the_estimated_error(tolerance):
    solution, exact = solve({2: 0.5}, 0.0, 1000.0, tolerance=tolerance), TwoSpin()
    t = np.geomspace(1e-3, 1000, 60)[:, None]
    tw = t * np.array([0.0, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1 - 1e-5, 1.0])
    assert 0 < solution.error <= tolerance
    assert np.abs(solution.correlation(t, tw) - exact.correlation(t, tw)).max() < solution.error
    assert np.abs(solution.energy(t) - exact.energy(t)).max() < solution.error
    assert np.abs(solution.response(t, tw) - exact.response(t, tw)).max() < 10 * solution.error


def test_exact_2_spin_integrated_response():
    """At T = 0 the field-cooled integral from tw = 0 is compared with a quadrature of R."""
    solution, exact = solve({2: 0.5}, 0.0, 50.0, tolerance=1e-5), TwoSpin()
    for tw in (0.0, 10.0, 49.0):
        s = np.linspace(tw, 50.0, 20_001)
        R = exact.response(50.0, s)
        trapezoid = (R.sum() - R[[0, -1]].sum() / 2) * (s[1] - s[0])
        assert solution.integrated_response(50.0, tw) == pytest.approx(trapezoid, abs=2e-5)


@pytest.mark.parametrize(
    ("mixture", "temperature", "start", "t_max"),
    [
        (PURE, 0.0, math.inf, 20.0),
        (PURE, 0.3, math.inf, 20.0),
        (MIXED, 0.2, 1.0, 10.0),
        ({2: 0.2, 4: 0.3}, 0.0, math.inf, 10.0),
    ],
)
def test_both_solvers_agree_in_all_functions(mixture, temperature, start, t_max):
    uniform = solve_uniform(mixture, temperature, t_max, start, steps=150)
    solution = solve(mixture, temperature, t_max, start, tolerance=1e-5)
    t = uniform.times
    late, early = np.meshgrid(t, t, indexing="ij")
    assert uniform.error < 3e-4
    assert np.abs(solution.energy(t) - uniform.energy).max() < 6e-5
    assert np.abs(solution.multiplier(t) - uniform.multiplier).max() < 2e-4
    assert np.abs(solution.correlation(late, early) - uniform.correlation).max() < 4e-5
    assert np.abs(solution.response(late, early) - uniform.response).max() < 5e-4
    assert solution.energy(t_max) == pytest.approx(uniform.energy[-1], abs=1e-5)


@pytest.mark.parametrize(("mixture", "temperature"), [(PURE, 0.8), (PURE, 0.6), (MIXED, 0.7)])
def test_an_equilibrium_start_stays_in_equilibrium(mixture, temperature):
    """Stationarity, the fluctuation-dissipation theorem and one equation in one time; also
    between T_K and T_d (0.6), where the correlation ends on a plateau."""
    solution = solve(mixture, temperature, 200.0, temperature, tolerance=1e-5)
    times = np.geomspace(0.01, 200, 50)
    E = pspin.equilibrium_energy(mixture, temperature)
    assert solution.energy(times) == pytest.approx(E, abs=2e-5)
    tau = np.array([0.0, 0.1, 1.0, 10.0, 50.0])
    C = equilibrium_correlation(mixture, temperature, tau)
    for tw in (0.0, 3.0, 100.0):
        assert solution.correlation(tw + tau, tw) == pytest.approx(C, abs=2e-5)
        chi = solution.integrated_response(tw + tau, tw)
        assert chi == pytest.approx((1 - C) / temperature, abs=5e-5)
        T_eff = solution.effective_temperature(tw + tau[:4], tw)
        assert T_eff == pytest.approx(temperature, rel=5e-3)


def test_equilibrium_table_of_the_3_spin():
    """The numbers at T = 0.8 that a solver with unextrapolated steps had to 1e-4."""
    solution = solve(PURE, 0.8, 5.0, 0.8)
    found = solution.correlation(5.0, [4.0, 0.0])
    assert found == pytest.approx([0.65377, 0.36908], abs=1e-4)
    assert float(solution.energy(5.0)) == pytest.approx(-0.625, abs=1e-4)
    assert float(solution.response(5.0, 4.0)) == pytest.approx(0.2020, abs=3e-4)


@pytest.mark.parametrize("temperature", [0.0, 0.4])
def test_multiplier_of_a_pure_model_follows_from_the_energy(temperature):
    solution = solve({4: 0.5}, temperature, 100.0)
    t = np.geomspace(0.01, 100, 30)
    assert np.abs(solution.multiplier(t) - temperature + 4 * solution.energy(t)).max() < 1e-12


@pytest.mark.parametrize("mixture", [PURE, MIXED, {2: 0.3, 6: 0.2}])
def test_first_descent_from_a_random_start_is_minus_the_force(mixture):
    solution = solve(mixture, 0.0, 1.0)
    force = float(pspin.Mixture(mixture)(1.0, 1))
    assert solution.energy(0.0) == 0
    assert float(solution.energy(1e-4)) / 1e-4 == pytest.approx(-force, rel=1e-3)


def test_energy_of_a_planted_start_and_its_first_descent():
    """E(0) = -f(1)/T_0 and dE/dt(0) = -f'(1) (1 - T/T_0)."""
    solution = solve(MIXED, 0.2, 1.0, start_temperature=0.7)
    assert float(solution.energy(0.0)) == pytest.approx(-0.5 / 0.7)
    descent = (solution.energy(1e-4) - solution.energy(0.0)) / 1e-4
    assert float(descent) == pytest.approx(-1.75 * (1 - 0.2 / 0.7), rel=2e-3)


def test_low_temperature_aging_approaches_the_asymptotic_energy():
    """Within 1e-3 of the published run at 1e2, 1e3, 1e4, and on a power law to the limit."""
    solution = solve(PURE, 0.3, 1e4, tolerance=1e-4)
    early, late = solution.energy([2, 4, 8, 16, 40]), solution.energy([1e2, 1e3, 1e4])
    assert early == pytest.approx([-0.78125, -0.86039, -0.91118, -0.94341, -0.96862], abs=1e-4)
    assert late == pytest.approx([-0.98259, -0.99596, -0.99884], abs=6e-4)
    gap = late - pspin.aging_state(PURE, 0.3).energy
    assert gap[0] / gap[1] == pytest.approx(gap[1] / gap[2], rel=0.02)
    assert np.log10(gap[0] / gap[1]) == pytest.approx(0.65, abs=0.02)


def test_aging_plateau_and_violation_of_fluctuation_dissipation():
    """X(C) at t = 100 from an unextrapolated solver, and its two regimes."""
    solution = solve(PURE, 0.5, 100.0, tolerance=1e-5)
    tw = np.linspace(0, 100, 4001)[:-1]
    C, X = solution.correlation(100.0, tw), 0.5 / solution.effective_temperature(100.0, tw)
    at = np.interp([0.4, 0.5, 0.55, 0.6, 0.7, 0.8], C, X)
    assert at == pytest.approx([0.489, 0.516, 0.549, 0.625, 0.94, 0.98], abs=0.02)


def test_interpolation_is_exact_on_the_diagonal_and_near_it():
    solution = solve(PURE, 0.5, 50.0)
    tw = np.array([0.0, 0.3, 7.0, 30.0, 49.0])
    assert np.abs(solution.correlation(tw, tw) - 1).max() < 1e-12
    assert np.abs(solution.response(tw, tw) - 1).max() < 1e-12
    assert np.abs(solution.integrated_response(tw, tw)).max() < 1e-12
    for delta in (1e-6, 1e-4, 1e-3):
        # just above the diagonal dC/dt = -T and dR/dt = -mu
        slope = (1 - solution.correlation(tw + delta, tw)) / delta
        assert slope == pytest.approx(0.5, abs=3e-3)
        slope = (1 - solution.response(tw + delta, tw)) / delta
        assert slope == pytest.approx(solution.multiplier(tw), abs=1e-2 + 10 * delta)


def test_symmetry_causality_and_shapes():
    assert QUENCH.correlation(3.0, 7.0) == QUENCH.correlation(7.0, 3.0)
    assert QUENCH.response(3.0, 7.0) == QUENCH.integrated_response(3.0, 7.0) == 0
    assert QUENCH.correlation(np.ones((4, 1)), np.zeros(3)).shape == (4, 3)
    assert QUENCH.energy(2.0).shape == ()
    assert QUENCH.correlation(0.0, 0.0) == 1


def test_units_of_energy_rescale_time():
    """f -> k f: energies times sqrt(k), times divided by it."""
    k = 9.0
    other = solve({3: 0.5 * k}, 0.3 * 3, 10 / 3)
    ours = solve(PURE, 0.3, 10.0)
    assert float(other.energy(10 / 3)) / 3 == pytest.approx(float(ours.energy(10.0)), abs=1e-5)
    found = float(other.correlation(3.0, 1.0))
    assert found == pytest.approx(float(ours.correlation(9.0, 3.0)), abs=2e-5)


@pytest.mark.slow
def test_hundred_thousand_time_units():
    """E - E_th = 0.3227 t^(-2/3) over two decades; C stays a function of t'/t."""
    solution = solve(PURE, 0.0, 1e5, tolerance=1e-5)
    t = np.array([1e3, 1e4, 1e5])
    gap = solution.energy(t) - pspin.threshold_energy(PURE)
    assert gap * t ** (2 / 3) == pytest.approx([0.3227, 0.3225, 0.3227], abs=3e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": -0.1}, "temperature = -0.1: must be at least 0"),
        ({"t_max": 0.0}, "t_max = 0.0: must be positive"),
        ({"t_max": 1e9}, "t_max = 1000000000.0: must be at most 1.15e"),
        ({"tolerance": 1e-9}, "tolerance = 1e-09"),
        ({"start_temperature": 0.5}, "start_temperature = 0.5: must be at least T_K = 0.586054"),
        ({"mixture": {1: 0.5}}, "p = 1"),
    ],
)
def test_misuse_is_one_sentence(arguments, message):
    with pytest.raises(UsageError, match=message):
        solve(**{"mixture": PURE, "temperature": 0.0, "t_max": 1.0, **arguments})


def test_a_grid_too_coarse_for_t_max_is_an_error():
    with pytest.raises(ArithmeticError, match="the ratios are too coarse"):
        integrate(Quench.of(PURE, 0.0, math.inf), 1e5, spacing=0.4, step=0.2)


def test_times_outside_the_solution_are_refused():
    with pytest.raises(UsageError, match="t_max = 100"):
        QUENCH.energy(101.0)
    with pytest.raises(UsageError, match="tw"):
        QUENCH.correlation(1.0, -1.0)
