"""Energy, aging, response and damage: in equilibrium at T = 0.8 all curves are known.

C(1) = 0.65377 and C(5) = 0.36908 solve the equation of the mode-coupling theory for p = 3; the
energy is -1/(2T), the response follows from the fluctuation-dissipation theorem.
"""

import numpy as np
import pytest

from lightning_landscape.results.exact import with_exact

from .conftest import curves, labels, record, replicas, table

T = 0.8
GLASS = {
    "theory": "pspin",
    "mixture": '{"3": 0.5}',
    "temperature": T,
    "start_temperature": T,
    "temperature_is_constant": 1,
}
C1, C5 = 0.65377, 0.36908
TWO_TIMES = ("tw", "t", "replica")


def two_times(kind, **others):
    C = np.stack([replicas([0.7, 0.4], 0.01)] * 2)
    values = {"C": (TWO_TIMES, C), "MSD": (TWO_TIMES, 2 - 2 * C)}
    values |= {name: (TWO_TIMES, value) for name, value in others.items()}
    return record(kind, values, {"tw": [0.0, 2.0], "t": [1.0, 5.0]}, extensive=1, **GLASS)


def test_energy(panels):
    t = [0.0, 1.0, 5.0]
    values = {"energy": (("t", "replica"), replicas([-0.5, -0.61, -0.63], 0.01))}
    dataset = with_exact(record("EnergyRelaxation", values, {"t": t}, extensive=1, **GLASS))
    assert dataset["energy_exact"].values == pytest.approx(-0.625, abs=1e-4)
    row = table(dataset)["E(t = 5)/N"]
    assert (row.measured, row.error) == pytest.approx((-0.63, 0.01))
    assert row.exact == pytest.approx(-0.625, abs=1e-4)
    (axes,) = panels(dataset)
    (points,) = curves(axes)
    assert points == pytest.approx(np.array([[1, -0.61], [5, -0.63]]))
    assert axes.get_lines()[0].get_ydata() == pytest.approx(-0.625, abs=1e-4)
    assert (axes.get_xscale(), labels(axes)) == ("log", ["exact", "measured"])


def test_energy_at_several_temperatures(panels):
    values = {"energy": (("t", "replica"), [[-1.0, -1.2, -3.0, -3.4]] * 2)}
    ladder = [0.5, 0.5, 0.2, 0.2]
    dataset = record("EnergyRelaxation", values, {"t": [1.0, 2.0]}, temperature=ladder)
    rows = table(dataset)
    assert list(rows) == ["E(T = 0.2, t = 2)", "E(T = 0.5, t = 2)"]
    assert rows["E(T = 0.2, t = 2)"].measured == pytest.approx(-3.2)
    (axes,) = panels(dataset)
    assert labels(axes) == ["0.2", "0.5"]
    assert [points[0, 1] for points in curves(axes)] == pytest.approx([-3.2, -1.1])


def test_aging(panels):
    dataset = with_exact(two_times("AgingCorrelation"))
    for tw in (0, 2):  # in equilibrium nothing ages
        exact = dataset["C_exact"].sel(tw=tw).values
        assert exact == pytest.approx([C1, C5], abs=2e-4)
    row = table(dataset)["C(tw = 2, t = 5)"]
    assert (row.measured, row.error) == pytest.approx((0.4, 0.01))
    assert row.deviation == pytest.approx((0.4 - C5) / 0.01, abs=0.05)
    correlation, displacement, collapse = panels(dataset)
    assert curves(correlation)[1][:, 1] == pytest.approx([0.7, 0.4])
    assert curves(displacement)[0][:, 1] == pytest.approx([0.6, 1.2])
    exact = displacement.get_lines()[1].get_ydata()
    assert exact == pytest.approx([2 - 2 * C1, 2 - 2 * C5], abs=4e-4)
    assert "at least two" in collapse.get_title()  # one waiting time > 0 has no collapse


def test_response_obeys_the_fluctuation_dissipation_theorem(panels):
    chi = np.stack([replicas([0.43, 0.78], 0.02)] * 2)
    dataset = with_exact(two_times("LinearResponse", chi=chi))
    for tw in (0, 2):
        exact = dataset["chi_exact"].sel(tw=tw).values
        assert exact == pytest.approx([(1 - C1) / T, (1 - C5) / T], abs=5e-4)
    rows = table(dataset)
    assert rows["χ(tw = 2, t = 1)"].measured == pytest.approx(0.43)
    shortest = rows["Δ/2χ(tw = 2, t = 1)"]
    assert shortest.measured == pytest.approx(0.3 / 0.43)
    assert shortest.exact == pytest.approx(T, abs=2e-3)
    response, against_decay, temperatures = panels(dataset)
    assert curves(response)[0][:, 1] == pytest.approx([0.43, 0.78])
    assert curves(against_decay)[0] == pytest.approx(np.array([[0.3, 0.43], [0.6, 0.78]]))
    assert curves(temperatures)[0][:, 1] == pytest.approx([0.3 / 0.43] * 2)
    nothing = dataset.assign(chi=dataset["chi"] * np.nan)
    assert not list(row for row in table(nothing).values())


def test_damage_in_equilibrium_is_one_path_of_twice_the_length(panels):
    values = {"d2": (("t", "replica"), replicas([0.7, 1.2], 0.02))}
    dataset = with_exact(record("DamageSpreading", values, {"t": [0.5, 2.5]}, **GLASS))
    exact = [2 - 2 * C1, 2 - 2 * C5]
    assert dataset["d2_exact"].values == pytest.approx(exact, abs=5e-4)
    row = table(dataset)["d²(t = 2.5)"]
    assert (row.measured, row.error, row.exact) == pytest.approx((1.2, 0.02, exact[1]), abs=5e-4)
    (axes,) = panels(dataset)
    assert curves(axes)[0][:, 1] == pytest.approx([0.7, 1.2])
    free = axes.get_lines()[-1]
    assert free.get_ydata()[0] == pytest.approx(4 * T * 0.5)
    quenched = record("DamageSpreading", values, {"t": [0.5, 2.5]}, **GLASS)
    assert "d2_exact" not in with_exact(quenched.assign_attrs(start_temperature=np.inf))


def test_a_law_that_does_not_describe_the_decay_has_no_deviation():
    t = np.geomspace(0.1, 40, 30)
    wiggles = -1 + 0.3 * t**-0.3 + 0.02 * np.sin(8 * np.log(t))
    values = {
        "energy": (("t", "replica"), replicas(wiggles, 0.001)),
        "energy_exact": ("t", wiggles),
    }
    rows = table(record("EnergyRelaxation", values, {"t": t}))
    law = rows["α of E∞ + A t^-α"]
    assert np.isfinite(law.exact)
    assert not law.holds
    assert np.isnan(law.deviation)
