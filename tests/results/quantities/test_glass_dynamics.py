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


def ladder(tw, **others):
    """Two replicas at each of T = 0.4, which ages, and T = 0.8, with Delta of known laws."""
    t = np.geomspace(0.1, 100, 24)
    tw = np.array(tw)
    aged = np.log1p(t / np.maximum(tw, 1e-9)[:, None] ** 0.8)
    still = np.broadcast_to(np.log1p(t), (len(tw), len(t)))
    wobble = 1 + 0.01 * np.random.default_rng(0).standard_normal((len(tw), len(t), 4))
    MSD = np.stack([aged, aged, still, still], -1) * wobble
    values = {"C": (TWO_TIMES, np.exp(-MSD)), "MSD": (TWO_TIMES, MSD)}
    values |= {name: (TWO_TIMES, value) for name, value in others.items()}
    temperature = [0.4, 0.4, 0.8, 0.8]
    return record("AgingCorrelation", values, {"tw": tw, "t": t}, temperature=temperature)


def test_several_temperatures_tell_where_aging_sets_in(panels):
    dataset = ladder([1.0, 10.0, 100.0])
    rows = table(dataset)
    for T, mu in ((0.4, 0.8), (0.8, 0.0)):
        row = rows[f"μ(T = {T}) of Δ(t / tw^μ)"]
        assert row.measured == pytest.approx(mu, abs=0.05)
    onset = rows["T at which aging sets in"]
    assert (onset.measured, onset.error) == pytest.approx((0.6, 0.2))
    assert onset.note == "0.4 … 0.8"
    # C = exp(-Delta) = 1/(1 + t) falls to 1/e at e - 1
    assert rows["τ(T = 0.8)"].measured == pytest.approx(np.e - 1, rel=0.05)
    correlation, tau, exponents = panels(dataset)
    assert labels(correlation) == ["0.4", "0.8"]
    assert [points[0, 0] for points in curves(exponents)] == [0.4, 0.8]
    assert tau.get_yscale() == "log"


def test_one_waiting_time_of_a_ladder_has_no_onset_and_two_replicas_no_susceptibility(panels):
    dataset = ladder([1.0])
    assert not [name for name in table(dataset) if "μ" in name or "sets in" in name or "χ₄" in name]
    *_, chi = panels(dataset)
    assert chi.get_ylabel() == "χ₄ = N Var C" and not curves(chi)


def test_a_temperature_that_does_not_decay_has_no_relaxation_time(panels):
    frozen = ladder([1.0])
    frozen = frozen.assign(C=frozen["C"] * 0 + 0.9)
    assert not [name for name in table(frozen) if name.startswith("τ")]
    _, tau, _ = panels(frozen)
    assert tau.get_yscale() == "linear"


def test_the_exact_relaxation_time_is_that_of_one_temperature():
    """Exact curves 1/(1 + t) and 1/(1 + 2t), which reach 1/e at (e - 1) and half of that."""
    dataset = ladder([1.0])
    t = dataset["t"].to_numpy()
    exact = np.stack([1 / (1 + 2 * t)] * 2 + [1 / (1 + t)] * 2, -1)[None]
    rows = table(dataset.assign(C_exact=(TWO_TIMES, exact)))
    assert rows["τ(T = 0.4)"].exact == pytest.approx((np.e - 1) / 2, rel=1e-2)
    assert rows["τ(T = 0.8)"].exact == pytest.approx(np.e - 1, rel=1e-2)


def test_the_exact_curves_of_a_ladder_have_one_column_for_each_replica():
    """In equilibrium at two temperatures: E = -1/(2T) each."""
    temperatures = [0.8, 0.8, 1.0, 1.0]
    values = {"energy": (("t", "replica"), np.full((2, 4), -0.6))}
    attributes = GLASS | {"temperature": temperatures, "start_temperature": temperatures}
    dataset = record("EnergyRelaxation", values, {"t": [1.0, 3.0]}, **attributes)
    found = with_exact(dataset)["energy_exact"]
    assert found.dims == ("t", "replica")
    assert found.values == pytest.approx(-0.5 / np.array([temperatures] * 2), abs=2e-4)
    rows = table(with_exact(dataset))
    assert rows["E(T = 1, t = 3)"].exact == pytest.approx(-0.5, abs=2e-4)


def test_a_run_whose_temperature_changes_has_no_exact_curve():
    for kind, name in (("EnergyRelaxation", "energy"), ("DamageSpreading", "d2")):
        values = {name: (("t", "replica"), replicas([0.7, 1.2], 0.02))}
        changing = GLASS | {"temperature_is_constant": 0}
        dataset = record(kind, values, {"t": [0.5, 2.5]}, **changing)
        assert f"{name}_exact" not in with_exact(dataset)
    dataset = two_times("LinearResponse", chi=np.ones((2, 2, 2)))
    dataset = dataset.assign_attrs(temperature_is_constant=0)
    assert not [name for name in with_exact(dataset) if name.endswith("_exact")]


def test_times_that_were_not_reached_have_no_exact_value():
    chi = np.stack([replicas([0.43, 0.78], 0.02)] * 2)
    chi[1, 1] = np.nan
    dataset = two_times("LinearResponse", chi=chi)
    dataset["C"][1, 1] = np.nan
    found = with_exact(dataset)
    for name in ("C_exact", "MSD_exact", "chi_exact"):
        assert np.isnan(found[name][1, 1]) and np.isfinite(found[name].values.ravel()[:3]).all()
    assert [row for row in table(found) if row.startswith("χ(tw = 2")] == ["χ(tw = 2, t = 1)"]


def test_nothing_measured_has_no_exact_correlation():
    nothing = two_times("AgingCorrelation")
    nothing = nothing.assign(C=nothing["C"] * np.nan)
    assert "C_exact" not in with_exact(nothing)


def test_in_units_of_the_noise_free_diffusion_is_the_number_of_steps():
    """Langevin at T: D = 2 T / lr, and Delta = 2 T t = lr^2 D t/lr."""
    from lightning_landscape.results.registry import look_up

    t = np.array([0.1, 1.0, 10.0])
    MSD = np.broadcast_to(2 * 0.5 * t[:, None], (1, 3, 2))
    values = {"C": (TWO_TIMES, 0 * MSD), "MSD": (TWO_TIMES, MSD)}
    dataset = record("AgingCorrelation", values, {"tw": [1.0], "t": t})
    charts = look_up("AgingCorrelation").charts(dataset, {"AgingCorrelation": dataset})
    *others, in_units = charts
    assert [chart.name for chart in others] == ["displacement", "displacement in units of its age"]
    (curve,) = in_units.curves
    assert np.asarray(curve.x) == pytest.approx([1, 10, 100])
    assert np.asarray(curve.y) == pytest.approx(np.asarray(curve.x))
    cold = dataset.assign_attrs(temperature=0.0)  # without noise there is no unit
    assert len(look_up("AgingCorrelation").charts(cold, {})) == 2


def test_the_plateau_of_the_exact_curve_stands_beside_the_measured_one():
    t = np.geomspace(0.01, 1e4, 40)
    caged = 0.4 * t / (0.1 + t)
    values = {
        "MSD": (TWO_TIMES, caged[None, :, None] * np.array([0.99, 1.01])),
        "C": (TWO_TIMES, 1 - caged[None, :, None] * np.array([0.5, 0.5])),
        "MSD_exact": (("tw", "t"), 1.5 * caged[None]),
    }
    rows = table(record("AgingCorrelation", values, {"tw": [10.0], "t": t}))
    plateau = rows["plateau of Δ"]
    assert plateau.measured == pytest.approx(0.4, rel=0.03)
    assert plateau.exact == pytest.approx(0.6, rel=0.03)


def test_damage_without_noise_has_no_free_diffusion(panels):
    values = {"d2": (("t", "replica"), replicas([0.7, 1.2], 0.02))}
    (axes,) = panels(record("DamageSpreading", values, {"t": [0.5, 2.5]}, temperature=0.0))
    assert labels(axes) == ["measured"]


def test_a_decay_that_is_not_seen_and_a_window_of_few_points_have_no_law():
    t = np.geomspace(0.1, 40, 30)
    flat = {"energy": (("t", "replica"), replicas(np.zeros(30), 1e-3))}
    assert not [n for n in table(record("EnergyRelaxation", flat, {"t": t})) if "ln t" in n]
    few = {"energy": (("t", "replica"), replicas(-np.log(t[-4:]), 1e-3))}
    assert len(table(record("EnergyRelaxation", few, {"t": t[-4:]}))) == 4


def test_test_data_have_a_curve_and_a_row_of_their_own(panels):
    values = {
        name: (("t", "replica"), replicas([a, b], 0.01))
        for name, (a, b) in {
            "energy": (2.0, 1.0),
            "test_energy": (2.5, 1.5),
            "test_accuracy": (0.2, 0.8),
        }.items()
    }
    dataset = record("EnergyRelaxation", values, {"t": [1.0, 10.0]})
    rows = table(dataset)
    accuracy = rows["test accuracy(t = 10)"]
    assert (accuracy.measured, accuracy.error) == pytest.approx((0.8, 0.01))
    (axes,) = panels(dataset)
    assert labels(axes) == ["measured", "test data"]
    assert curves(axes)[1][:, 1] == pytest.approx([2.5, 1.5])
