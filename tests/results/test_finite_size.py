"""What the column of shifts says of a record, against the table that it is made of."""

import numpy as np
import pytest
import xarray

from lightning_landscape.observables.response import effective_temperature
from lightning_landscape.results.finite_size import expected_shift
from lightning_landscape.theory.glasses.finite_size import shifts_of

CONFIG = "model: {optimizer: {class_path: lightning_landscape.dynamics.Langevin}}"
ATTRIBUTES = {
    "theory": "pspin",
    "mixture": '{"3": 0.5}',
    "temperature": np.float32(0.3),
    "temperature_is_constant": 1,
    "start_temperature": np.inf,
    "N": 128,
    "time_step": 0.02,
    "config": CONFIG,
}


@pytest.fixture
def record():
    """C and chi of one temperature, T = 0.5, up to 1 - C = 0.4."""
    t = np.geomspace(0.1, 20, 12)
    decay = 0.4 * t / (1 + t)
    curves = {"C_exact": 1 - decay, "chi_exact": decay / 0.5}
    variables = {name: (("tw", "t"), values[None]) for name, values in curves.items()}
    return xarray.Dataset(variables, {"tw": [2.0], "t": t}, ATTRIBUTES)


@pytest.fixture
def shifts():
    return shifts_of({3: 0.5}, 0.3, 128, 0.02, "Langevin")


def test_energy_correlation_and_response_are_those_of_the_table(record, shifts):
    E, error = shifts.at("E", 10.0)
    shift = expected_shift(record, "energy", t=10.0)
    assert (shift.value, shift.error, shift.source) == (E, error, "1/N fit")
    C = shifts.at("C", 5.0, 2.0)[0]
    assert expected_shift(record, "C", tw=2.0, t=5.0).value == C
    assert expected_shift(record, "MSD", tw=2.0, t=5.0).value == -2 * C
    assert expected_shift(record, "chi", tw=2.0, t=5.0).value == shifts.at("chi", 5.0, 2.0)[0]


@pytest.mark.parametrize("one_curve", [True, False])
def test_effective_temperatures_are_those_of_the_shifted_curves(record, shifts, one_curve):
    t = record["t"].to_numpy()
    decay = 1 - record["C_exact"].to_numpy()[0] - shifts.at("C", t, 2.0)[0]
    chi = record["chi_exact"].to_numpy()[0] + shifts.at("chi", t, 2.0)[0]
    given = record.sel(tw=2.0) if one_curve else record
    found = expected_shift(given, "T_eff", tw=2.0, low=0.5, high=1.0)
    assert found.value == pytest.approx(effective_temperature(decay, chi, (0.5, 1.0))[0] - 0.5)
    assert found.error > 0
    ratio = expected_shift(given, "T_ratio", tw=2.0, t=0.1)
    assert ratio.value == pytest.approx(decay[0] / chi[0] - 0.5)


@pytest.mark.parametrize(
    "changed",
    [
        {"theory": ""},
        {"temperature": 0.5},
        {"temperature": [0.3, 0.4]},
        {"start_temperature": 0.8},
        {"temperature_is_constant": 0},
        {"N": 16},
        {"config": ""},
        {"config": "model: {optimizer: {class_path: SGD}}"},
    ],
)
def test_of_other_runs_nothing_is_expected(record, changed):
    assert expected_shift(record.assign_attrs(changed), "energy", t=10.0) is None
    assert expected_shift(record, "d2", t=10.0) is None
    assert expected_shift(record, "energy", t=100.0) is None
    assert expected_shift(record, "C", tw=4.0, t=1.0) is None
