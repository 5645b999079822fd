import math

import numpy as np
import pytest
from scipy.integrate import quad

from lightning_landscape.errors import UsageError
from lightning_landscape.theory.glasses import pspin
from lightning_landscape.theory.glasses.pspin import Mixture

PURE, MIXED = {3: 0.5}, {3: 0.25, 4: 0.25}


def test_thresholds_of_the_pure_3_spin():
    T_d, q_d = pspin.dynamical_transition(PURE)
    T_K, q_K = pspin.static_transition(PURE)
    assert (T_d, q_d) == pytest.approx((0.612372, 0.5), abs=1e-6)
    assert (T_K, q_K) == pytest.approx((0.586054, 0.645007), abs=1e-6)
    assert pspin.threshold_energy(PURE) == pytest.approx(-1.154701, abs=1e-6)
    assert pspin.ground_state_energy(PURE) == pytest.approx(-1.171675, abs=1e-6)
    assert pspin.threshold_multiplier(PURE) == pytest.approx(3.464102, abs=1e-6)
    assert pspin.equilibrium_energy(PURE, T_d) == pytest.approx(-0.816497, abs=1e-6)
    assert pspin.equilibrium_energy(PURE, T_K) == pytest.approx(-0.853164, abs=1e-6)


@pytest.mark.parametrize("p", [3, 4, 7])
def test_pure_closed_forms_of_any_p(p):
    T_d, q_d = pspin.dynamical_transition({p: 0.5})
    assert T_d == pytest.approx(math.sqrt(p * (p - 2) ** (p - 2) / (2 * (p - 1) ** (p - 1))))
    assert q_d == pytest.approx((p - 2) / (p - 1))
    assert pspin.threshold_energy({p: 0.5}) == pytest.approx(-math.sqrt(2 * (p - 1) / p))


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [
        (0.1, (0.94047, 0.0633, 1.5797, -1.10419)),
        (0.2, (0.87668, 0.14067, 1.4217, -1.05251)),
        (0.3, (0.80722, 0.23882, 1.2562, -0.99939)),
        (0.4, (0.72964, 0.37054, 1.0795, -0.94437)),
        (0.5, (0.63882, 0.56538, 0.88437, -0.88669)),
        (0.6, (0.51928, 0.92573, 0.64814, -0.82467)),
    ],
)
def test_aging_state_table(temperature, expected):
    assert pspin.aging_state(PURE, temperature) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("mixture", [PURE, {5: 0.5}, MIXED])
def test_aging_state_is_continuous_at_both_ends_of_its_range(mixture):
    T_d, q_d = pspin.dynamical_transition(mixture)
    top = pspin.aging_state(mixture, T_d * (1 - 1e-9))
    assert top.overlap == pytest.approx(q_d, abs=1e-4)
    assert top.violation == pytest.approx(1, abs=1e-3)
    assert top.energy == pytest.approx(pspin.equilibrium_energy(mixture, T_d), abs=1e-3)
    zero, cold = pspin.aging_state(mixture, 0.0), pspin.aging_state(mixture, 1e-6)
    assert cold.energy == pytest.approx(zero.energy, abs=1e-5)
    assert cold.effective_temperature == pytest.approx(zero.effective_temperature, rel=1e-5)


def test_complexity_ends_at_the_ground_state_and_its_slope_is_an_inverse_temperature():
    E_th, E_gs = pspin.threshold_energy(PURE), pspin.ground_state_energy(PURE)
    assert pspin.complexity(PURE, E_gs) == pytest.approx(0, abs=1e-9)
    assert pspin.complexity(PURE, E_th) == pytest.approx(0.013240, abs=1e-6)
    slope = (pspin.complexity(PURE, E_th) - pspin.complexity(PURE, E_th - 1e-8)) / 1e-8
    T_eff = pspin.aging_state(PURE, 0.0).effective_temperature
    assert slope == pytest.approx(1 / T_eff, abs=2e-3)  # the slope ends with a square root


def test_complexity_scales_with_the_units_of_energy():
    assert pspin.complexity({3: 2.0}, -2.32) == pytest.approx(pspin.complexity(PURE, -1.16))


@pytest.mark.parametrize("mixture", [PURE, {6: 0.5}, MIXED])
def test_static_transition_is_where_the_overlap_potential_touches_zero(mixture):
    T, q = pspin.static_transition(mixture)
    f, overlaps = Mixture(mixture), np.linspace(0.01, 0.99, 981)
    potential = f(overlaps) / T**2 + np.log1p(-overlaps) + overlaps
    assert potential.max() < 1e-9
    assert f(q) / T**2 + math.log1p(-q) + q == pytest.approx(0, abs=1e-9)
    assert pspin.dynamical_transition(mixture).temperature > T


def test_a_strong_2_spin_makes_both_transitions_continuous_and_equal():
    mixture = {2: 0.25, 4: 0.25}
    assert pspin.dynamical_transition(mixture) == (pytest.approx(math.sqrt(0.5)), 0.0)
    assert pspin.static_transition(mixture) == (pytest.approx(math.sqrt(0.5)), 0.0)
    assert pspin.ground_state_energy({2: 0.5}) == -1.0
    with pytest.raises(UsageError, match="continuous"):
        pspin.aging_state(mixture, 0.1)


def test_hessian_of_marginal_minima_starts_at_zero():
    low, high = pspin.hessian_edges(PURE, multiplier=-3 * pspin.threshold_energy(PURE))
    assert (low, high) == pytest.approx((0, 4 * math.sqrt(3)))


def test_equilibrium_energy_is_the_integral_of_minus_the_covariance_derivative():
    """Annealed average: ln Z = N f(1) / (2 T^2), E = -d(ln Z)/d(1/T) = -f(1)/T."""
    value, _ = quad(lambda beta: pspin.equilibrium_energy(PURE, 1 / beta), 1e-9, 1.0)
    assert value == pytest.approx(-Mixture(PURE)(1.0) / 2)


@pytest.mark.parametrize("derivative", [1, 2, 3])
def test_derivatives_of_the_covariance(derivative):
    f, q, h = Mixture({2: 0.3, 3: 0.2, 7: 0.1}), np.linspace(-1, 1, 9), 1e-5
    lower = (f(q + h, derivative - 1) - f(q - h, derivative - 1)) / (2 * h)
    assert np.allclose(f(q, derivative), lower, atol=1e-7)


def test_mixture_is_a_mapping_and_round_trips_through_json():
    f = Mixture({4: 0.25, 3: 0.25})
    assert list(f) == [3, 4]
    assert Mixture(f) == f == {3: 0.25, 4: 0.25}
    assert pspin.mixture_from_json(pspin.mixture_to_json(f)) == f
    assert Mixture.pure(5).p == 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Mixture({}), "mixture = {}"),
        (lambda: Mixture({1: 0.5}), "p = 1: must be an integer of at least 2"),
        (lambda: Mixture({3: -0.5}), r"mixture\[3\] = -0.5: must be a positive number"),
        (lambda: pspin.complexity(MIXED, -1.2), "only for pure models"),
        (lambda: pspin.complexity(PURE, -1.0), "energy = -1.0"),
        (lambda: pspin.aging_state(PURE, 0.7), "temperature = 0.7: ages in"),
        (lambda: pspin.equilibrium_energy(PURE, 0.0), "temperature = 0.0"),
    ],
)
def test_misuse_is_one_sentence(call, message):
    with pytest.raises(UsageError, match=message):
        call()
