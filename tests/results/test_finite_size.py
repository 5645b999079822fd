"""What the column of shifts says of a record, against the table that it is made of."""

import numpy as np
import pytest
import xarray

from lightning_landscape.observables.response import effective_temperature
from lightning_landscape.results.finite_size import expected_shift
from lightning_landscape.results.summary import rows
from lightning_landscape.results.table import Row, cells
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


def test_one_sample_of_the_couplings_adds_its_scatter_to_the_error(record, shifts):
    """Var_J = d / N^2: a fourth of the variance at twice the size."""
    shared = record.assign_attrs(disorder="shared")
    found = expected_shift(shared, "energy", t=10.0)
    assert found.value == shifts.at("E", 10.0)[0]
    added = [
        expected_shift(shared.assign_attrs(N=N), "energy", t=10.0).error ** 2
        - expected_shift(record.assign_attrs(N=N), "energy", t=10.0).error ** 2
        for N in (128, 256)
    ]
    assert added[0] == pytest.approx(4 * added[1], rel=1e-3) and found.error**2 > added[0] > 0
    assert 0.05 < added[0] * 128**2 < 1
    independent = record.assign_attrs(disorder="independent")
    assert expected_shift(independent, "energy", t=10.0) == expected_shift(record, "energy", t=10.0)


def test_where_the_scatter_of_one_sample_is_not_known_there_is_no_deviation(record):
    cold = record.assign_attrs(disorder="shared", temperature=0.1)
    shift = expected_shift(cold, "energy", t=10.0)
    row = Row("E", -1.0, 0.01, -1.1, shift=shift)
    assert np.isnan(row.deviation)
    assert cells([row])[1][3:] == ["not known (one sample of the couplings)", ""]
    assert expected_shift(cold.assign_attrs(theory=""), "energy", t=10.0) is None
    late = expected_shift(cold.assign_attrs(temperature=0.3), "energy", t=100.0)
    assert np.isnan(late.value)


def test_laws_of_decay_are_compared_with_those_of_the_shifted_curve():
    """A measured curve that is exact + shift deviates in neither law; exact alone would."""
    t = np.geomspace(0.1, 40, 30)
    exact = -0.99 + 0.25 * t**-0.7
    shifted = exact + shifts_of({3: 0.5}, 0.3, 128, 0.02, "Langevin").at("E", t)[0]
    noise = np.random.default_rng(0).normal(scale=1e-4, size=(30, 8))
    energy = shifted[:, None] + noise - noise.mean(1, keepdims=True)
    values = {"energy": (("t", "replica"), energy), "energy_exact": ("t", exact)}
    dataset = xarray.Dataset(values, {"t": t}, ATTRIBUTES | {"probe": "EnergyRelaxation"})
    laws = [row for row in rows(dataset) if "E∞" in row.quantity or "ln t" in row.quantity]
    for law in laws:
        assert law.measured == pytest.approx(law.exact + law.shift.value, rel=1e-3)
        assert abs(law.shift.value) > 5 * law.error and law.shift.error > 0
    unknown = dataset.assign_attrs(disorder="shared", temperature=0.1)
    assert all(np.isnan(row.deviation) for row in rows(unknown))
