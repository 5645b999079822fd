import numpy as np
import pytest
from scipy.special import ive

from lightning_landscape.errors import UsageError
from lightning_landscape.theory.glasses import pspin
from lightning_landscape.theory.glasses.equilibrium import equilibrium_correlation
from lightning_landscape.theory.glasses.uniform_grid import solve_uniform

PURE = {3: 0.5}


def exact_2_spin_energy(t):
    """T = 0, random start: -I_2(4t)/I_1(4t)."""
    return -ive(2, 4 * t) / ive(1, 4 * t)


def test_convergence_to_the_exact_2_spin_solution_is_of_high_order():
    errors = []
    for steps in (30, 60):
        solution = solve_uniform({2: 0.5}, 0.0, 10.0, steps=steps)
        t = solution.times[1:]
        errors.append(np.abs(solution.energy[1:] - exact_2_spin_energy(t)).max())
        assert errors[-1] < solution.error
    assert errors[0] / errors[1] > 7
    assert errors[1] < 2e-4


def test_equilibrium_start():
    solution = solve_uniform(PURE, 0.8, 5.0, start_temperature=0.8, steps=50)
    C = equilibrium_correlation(PURE, 0.8, solution.times)
    for j in (0, 20, 40):
        row = solution.correlation[j:, j]
        assert row == pytest.approx(C[: len(row)], abs=2e-4)
    assert solution.energy == pytest.approx(-0.625, abs=2e-4)


def test_the_limit_descends_and_stays_above_the_threshold_energy():
    solution = solve_uniform(PURE, 0.0, 40.0, steps=150)
    assert np.all(solution.energy > pspin.threshold_energy(PURE))
    assert np.all(np.diff(solution.energy) < 0)
    assert solution.energy[-1] == pytest.approx(-1.12659, abs=2e-5)  # DYNAMITE, 256 nodes


def test_correlation_is_symmetric_and_response_causal():
    solution = solve_uniform(PURE, 0.3, 2.0, steps=10)
    assert np.array_equal(solution.correlation, solution.correlation.T)
    assert np.array_equal(solution.response, np.tril(solution.response))
    assert np.array_equal(np.diag(solution.correlation), np.ones(11))
    assert np.abs(solution.multiplier - 0.3 + 3 * solution.energy).max() < 1e-12


def test_misuse_is_one_sentence():
    with pytest.raises(UsageError, match="steps = 1"):
        solve_uniform(PURE, 0.0, 1.0, steps=1)
    with pytest.raises(UsageError, match="temperature = -1"):
        solve_uniform(PURE, -1.0, 1.0)
