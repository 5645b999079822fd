import numpy as np
import pytest

from lightning_landscape.errors import UsageError
from lightning_landscape.theory.glasses import pspin
from lightning_landscape.theory.glasses.equilibrium import equilibrium_correlation

PURE = {3: 0.5}


@pytest.mark.parametrize(
    ("temperature", "expected", "tau"),
    [
        (1.0, (0.91111, 0.69032, 0.54228, 0.37650, 0.15426, 0.03784, 0.0023, 0.0), 2.071),
        (0.8, (0.92948, 0.76073, 0.65377, 0.53812, 0.36908, 0.22436, 0.08789, 0.0054), 5.030),
    ],
)
def test_table_of_the_3_spin(temperature, expected, tau):
    times = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]
    found = equilibrium_correlation(PURE, temperature, times)
    assert found == pytest.approx(expected, abs=2e-5)
    assert equilibrium_correlation(PURE, temperature, tau) == pytest.approx(np.exp(-1), abs=1e-4)


def test_short_times():
    """C = 1 - T t + (T^2 + f'(1)) t^2 / 2."""
    t = np.array([1e-3, 1e-2])
    found = equilibrium_correlation({3: 0.25, 4: 0.25}, 0.7, t)
    assert found == pytest.approx(1 - 0.7 * t + (0.49 + 1.75) * t**2 / 2, abs=2e-6)


def test_high_temperature_is_an_exponential():
    t = np.linspace(0, 0.1, 11)
    found = equilibrium_correlation({3: 1e-9}, 20.0, t)
    assert found == pytest.approx(np.exp(-20 * t), abs=1e-6)


def test_plateau_between_both_transitions():
    """The larger root of f'(q)/T^2 = q/(1-q), between T_K and T_d: q (1-q) = T^2/1.5."""
    plateau = 0.5 + (0.25 - 0.6**2 / 1.5) ** 0.5
    above = equilibrium_correlation(PURE, 0.6, [100.0, 200.0]) - plateau
    assert 0 < above[1] < above[0] < 5e-3


def test_relaxation_slows_down_towards_the_dynamical_transition():
    T_d = pspin.dynamical_transition(PURE).temperature
    C = [equilibrium_correlation(PURE, T_d * scale, 20.0) for scale in (1.3, 1.1, 1.02)]
    assert C[0] < 0.1 < C[1] < 0.45 < C[2]


def test_misuse_is_one_sentence():
    with pytest.raises(UsageError, match="must be at least 0"):
        equilibrium_correlation(PURE, 0.5, [1.0])
    with pytest.raises(UsageError, match="times"):
        equilibrium_correlation(PURE, 1.0, [-1.0])
