"""What a run prints at its end: the table, what has to be known of it, and where everything is."""

import numpy as np
import pytest
import xarray

from lightning_landscape import records
from lightning_landscape.results.summary import rows, shortened, summarize
from lightning_landscape.results.table import Row

T = np.array([1.0, 10.0])
GLASS = {
    "probe": "EnergyRelaxation",
    "energy": "SphericalPSpin",
    "theory": "pspin",
    "theory_reference": "somebody",
    "mixture": '{"3": 0.5}',
    "N": 128,
    "replicas": 3,
    "temperature": 0.3,
    "temperature_is_constant": 1,
    "start_temperature": np.inf,
    "time_step": 0.02,
    "config": "model: {optimizer: {class_path: Langevin}}",
    "extensive": 1,
}


def run(folder, *datasets):
    (folder / "probes").mkdir()
    for k, dataset in enumerate(datasets):
        records.write(dataset, folder / "probes" / f"{k}.nc")
    return summarize(folder).full


def energy(**attributes):
    values = np.array([-0.7, -0.9])[:, None] + [-0.01, 0.0, 0.01]
    variables = {"energy": (("t", "replica"), values), "energy_exact": ("t", [-0.71, -0.92])}
    return xarray.Dataset(variables, {"t": T}, GLASS | attributes)


def network():
    dataset = energy().drop_vars("energy_exact")
    return dataset.drop_attrs().assign_attrs(probe="EnergyRelaxation", N=9, replicas=3)


def test_a_glass_has_its_shifts_and_says_from_where_deviations_are_counted(tmp_path):
    text = run(tmp_path, energy())
    assert "finite N, dt" in text and "(1/N fit)" in text
    assert "σ is counted from exact + finite N, dt" in text
    assert "deviations are correlated" in text
    assert "raise N" not in text
    assert (tmp_path / "figures" / "0.png").exists()


def test_without_a_tabulated_shift_a_reader_is_told_what_the_deviation_contains(tmp_path):
    text = run(tmp_path, energy(temperature=0.5))
    assert "is not tabulated, and part of the deviation" in text
    assert "finite N, dt" not in text


def test_without_theory_nothing_is_said_of_it(tmp_path):
    text = run(tmp_path, network())
    assert "E(t = 10)" in text and "exact:" not in text and "correlated" not in text
    assert f"records      {tmp_path / 'probes'}" in text
    assert f"report {tmp_path}" in text and "TensorBoard" not in text


def test_TensorBoard_is_named_where_it_has_something(tmp_path):
    (tmp_path / "events.out.tfevents.1").touch()
    assert f"tensorboard --logdir {tmp_path.parent}" in run(tmp_path, network())


def series(name, size):
    return [Row(f"{name}(t = {t})", 1.0, 0.1) for t in range(size)]


def test_the_short_table_has_ten_rows_and_says_where_the_others_are(tmp_path):
    dataset = xarray.Dataset(
        {"energy": (("t", "replica"), np.geomspace(9, 1, 20)[:, None] * [1.0, 1.01])},
        {"t": np.geomspace(1, 100, 20)},
        {"probe": "EnergyRelaxation", "N": 9, "replicas": 2, "temperature": 0.0},
    )
    (tmp_path / "probes").mkdir()
    for k in range(3):
        records.write(dataset, tmp_path / "probes" / f"{k}.nc")
    found = summarize(tmp_path)
    assert str(found) == found.short and found.short.count("\n| ") == 10
    rows_of_all = found.full.count("\n| ")
    assert rows_of_all > 20
    assert f"all {rows_of_all} rows  {tmp_path / 'results.md'}" in found.short


def test_the_short_table_prefers_laws_then_last_values_and_keeps_the_order():
    first = [*series("E", 8), Row("exponent", 1.0, 0.1)]
    kept = [row.quantity for row in shortened([first, series("C", 9)], most=5)]
    assert kept == ["E(t = 0)", "E(t = 7)", "exponent", "C(t = 0)", "C(t = 8)"]
    assert shortened([first], most=100) == first


def test_a_run_without_records_has_no_table(tmp_path):
    text = run(tmp_path)
    assert text.splitlines()[0].startswith("records")


def test_a_record_that_its_kind_cannot_read_costs_its_own_rows_only(tmp_path, caplog):
    broken = network().rename(energy="something else")
    text = run(tmp_path, broken, network())
    assert "no rows of EnergyRelaxation: KeyError" in caplog.text
    assert text.count("E(t = 10)") == 1


@pytest.mark.parametrize("kind", ["", "NoSuchProbe"])
def test_a_record_of_an_unknown_kind_has_no_rows(kind):
    assert list(rows(network().assign_attrs(probe=kind))) == []


def test_the_limits_of_a_study_contain_neither_size_nor_step(tmp_path):
    values = {"E_limit": ("t", [-0.7]), "E_error": ("t", [0.01]), "E_exact": ("t", [-0.71])}
    values |= {"N": ("run", [8, 8]), "time_step": ("run", [0.1, 0.1])}
    values["E"] = (("run", "t"), [[-0.6], [-0.7]])
    attributes = GLASS | {"probe": "FiniteSize", "N": "8"}
    text = run(tmp_path, xarray.Dataset(values, {"t": [1.0], "tw": []}, attributes))
    assert "E(t = 1), N → ∞" in text and "exact: theory" in text
    assert "tabulated" not in text and "σ is counted" not in text
