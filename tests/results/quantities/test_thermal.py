"""Fluctuations at a temperature, equilibration from two starts, and the learning coefficient."""

import numpy as np
import pytest

from lightning_landscape.results.exact import with_exact
from lightning_landscape.results.registry import look_up
from lightning_landscape.theory.thermal.valleys import ExponentialWalls

from .conftest import curves, labels, record, table

T = np.array([0.1, 0.2])


def fluctuations():
    """A quadratic valley of 20 parameters, of which 6 are stiff: U = 3 T, Var U = 3 T^2."""
    rung, R = ("rung",), 2
    N = np.full(2, 6.0)
    values = {"temperature": ("replica", T), "curvatures": (("replica", "rank"), np.ones((R, 1)))}
    for name, value in {
        "U": 3 * T,
        "U_variance": 3 * T**2,
        "U_drift": 0 * T,
        "N_mean": N,
        "N_var": N,
        "tr_H": N,
        "highest": 0 * T + 2,
        "temperature_ratio": [1.02, 1.5],
    }.items():
        values |= {name: (rung, value), f"{name}_error": (rung, np.full(2, 0.01))}
    heat = {"T_heat": 0.15, "N_heat": 6.0, "N_heat_error": 0.1}
    values |= {name: (("interval",), [value]) for name, value in heat.items()}
    lag, f = np.array([0.1, 1.0]), np.array([0.0, 1.0, 2.0, 3.0])
    values |= {
        "block_means": (("block", "replica"), np.full((4, R), 0.3)),
        "power": (("frequency", "replica"), np.outer(1 / (1 + f**2), T**2)),
        "msd_stiff": (("lag", "replica"), np.outer([0.1, 1.0], T)),
        "msd_flat": (("lag", "replica"), 2 * np.outer(lag, T)),
    }
    x = np.linspace(0.5, 8, 16)
    density = np.stack([x**2 * np.exp(-x) / 2] * 2, 1)  # Gamma of N / 2 = 3
    values |= {
        "density": (("level", "rung"), density),
        "density_error": (("level", "rung"), 0.1 * density),
    }
    coords = {"T": ("rung", T), "lag": lag, "frequency": f, "U_over_T": ("level", x)}
    attributes = {"N": 20, "lowest_energy": 0.0, "lr": 0.1, "temperature": T.tolist()}
    return record("TemperatureFluctuations", values, coords, **attributes)


def test_fluctuations(panels):
    dataset = with_exact(fluctuations())
    assert dataset["density_gamma"].values == pytest.approx(dataset["density"].values)
    assert dataset["msd_flat_harmonic"].values == pytest.approx(dataset["msd_flat"].values)
    # one step of length lr = 0.1 in a valley of curvature 1: 2 T lr / (1 - lr/2)
    first = dataset["msd_stiff_harmonic"].isel(lag=0).values
    assert first == pytest.approx(2 * T * 0.1 / (1 - 0.1 / 2))
    rows = table(dataset)
    assert rows["⟨U⟩/T (T = 0.2)"].measured == pytest.approx(3)
    assert rows["⟨U⟩/T (T = 0.2)"].error == pytest.approx(0.01 / 0.2)
    assert rows["Var U/T² (T = 0.1)"].measured == pytest.approx(3)
    assert rows["N = 2 d⟨U⟩/dT (T = 0.15)"].measured == 6
    assert (rows["tr H (T = 0.2)"].exact, rows["tr H (T = 0.2)"].source) == (6, "quadratic")
    ratio = rows["⟨|∇U|²⟩/T⟨tr H⟩ (T = 0.2)"]
    assert (ratio.exact, ratio.note) == (1, "WARNING: not the state exp(-U/T)")
    assert rows["⟨|∇U|²⟩/T⟨tr H⟩ (T = 0.1)"].note == ""
    energy, dimensions, curvature, temperature, histogram, power, moved = panels(dataset)
    assert curves(energy)[0] == pytest.approx(np.stack([T, 3 * T], 1))
    assert [points[0, 1] for points in curves(dimensions)] == [6, 6, 6]
    assert curves(curvature)[1][:, 1] == pytest.approx([2, 2])
    assert curves(temperature)[0][:, 1] == pytest.approx([1.02, 1.5])
    assert (len(curves(histogram)), labels(power)) == (2, ["0.1", "0.2"])
    assert curves(moved)[1] == pytest.approx(np.array([[0.1, 0.1], [1, 1]]))  # flat: t


def test_one_temperature_is_shown_in_time(panels):
    one = fluctuations().isel(rung=[0], replica=[0]).drop_dims("interval")
    blocks, *_ = panels(one.drop_vars(["msd_stiff", "msd_flat", "power_error"], errors="ignore"))
    assert blocks.get_lines()[-1].get_ydata() == pytest.approx([0.3] * 4)
    assert blocks.get_xlabel() == "block of the window"


def equilibration():
    """Two chains from above and two from below, 0.1 apart, at one temperature."""
    rng = np.random.default_rng(0)
    energy = rng.normal([1.1, 1.1, 1.0, 1.0], 0.001, size=(40, 4))
    values = {
        "energy": (("t", "replica"), energy),
        "temperature": (("t", "replica"), np.full((40, 4), 0.5)),
        "side": ("replica", [1, 1, -1, -1]),
        "acceptance_rate": ("replica", [0.5, 0.6, 0.7, 0.8]),
    }
    return record("Equilibration", values, {"t": np.arange(40.0)}, energy_unit="E / N")


def test_equilibration(panels):
    rows = table(equilibration())
    difference = rows["E(from above) - E(from below), T = 0.5"]
    assert (difference.measured, difference.exact) == pytest.approx((0.1, 0), abs=1e-3)
    assert difference.deviation > 10
    assert rows["R-hat of E, T = 0.5"].measured > 2
    rate = rows["acceptance rate, T = 0.5"]
    assert (rate.measured, rate.error) == pytest.approx((0.65, np.std([5, 6, 7, 8], ddof=1) / 20))
    starts, rates = panels(equilibration())
    assert labels(starts) == ["from above, T = 0.5", "from below, T = 0.5"]
    above, below = (line.get_ydata().mean() for line in starts.get_lines())
    assert (above, below) == pytest.approx((1.1, 1.0), abs=1e-3)
    assert rates.get_lines()[0].get_ydata() == pytest.approx([0.65])


def test_energies_below_zero_get_a_linear_axis(panels):
    dataset = equilibration()
    starts, *_ = panels(dataset.assign(energy=-dataset["energy"]))
    assert starts.get_yscale() == "linear"


def test_learning_coefficient_of_the_coldest_replicas(panels):
    values = {
        "learning_coefficient": (("t", "replica"), [[3.0, 5.0, 90.0]] * 2),
        "error": (("t", "replica"), [[0.3, 0.4, 9.0]] * 2),
        "temperature": (("t", "replica"), [[0.1, 0.1, 0.2]] * 2),
    }
    dataset = record("LearningCoefficient", values, {"t": [1.0, 2.0]}, chain_temperature=0.05)
    rows = table(dataset)
    coefficient = rows["learning coefficient λ(t = 2, from T = 0.1)"]
    assert (coefficient.measured, coefficient.error) == pytest.approx((4, 1))  # of their scatter
    assert rows["N = 2λ(t = 2, from T = 0.1; T = 0.05)"].measured == pytest.approx(8)
    (axes,) = panels(dataset)
    assert curves(axes)[0] == pytest.approx(np.array([[1, 4], [2, 4]]))
    assert axes.get_lines()[-1].get_ydata()[0] == 5  # N/2


def test_exponential_walls_are_found_where_they_are(panels):
    """U(T) of M independent exponential walls: the dimension of the mean, 2 <U>/T, is theirs."""
    temperatures = np.geomspace(1e-4, 1e-2, 6)
    walls = ExponentialWalls(number=20.0, steepness=3.0, length=4.0)
    of_mean, of_variance, of_heat = walls.dimensions(temperatures)
    values = {"temperature": ("replica", temperatures)}
    U, variance = walls.mean(temperatures), walls.variance(temperatures)
    for name, value in {
        "U": U,
        "U_variance": variance,
        "N_mean": of_mean,
        "N_var": of_variance,
        "tr_H": walls.curvature(temperatures),
        "highest": 0 * U + 2,
    }.items():
        values |= {name: ("rung", value), f"{name}_error": ("rung", 1e-3 * np.abs(value))}
    heat = {"T_heat": temperatures[1:], "N_heat": of_heat[1:], "N_heat_error": 0.1 * of_heat[1:]}
    values |= {name: ("interval", value) for name, value in heat.items()}
    values["power"] = (("frequency", "replica"), np.full((4, 6), np.nan))
    coords = {"T": ("rung", temperatures), "frequency": np.arange(4.0)}
    attributes = {"N": 50, "lowest_energy": 0.0, "temperature": temperatures.tolist()}
    dataset = with_exact(record("TemperatureFluctuations", values, coords, **attributes))
    assert dataset["N_mean_walls"].values == pytest.approx(of_mean, rel=0.02)
    assert dataset["U_walls"].values == pytest.approx(U, rel=0.02)
    assert dataset["tr_H_walls"].values == pytest.approx(dataset["tr_H"].values, rel=0.02)
    assert dataset.attrs["walls"].startswith("M = ")
    _, dimensions, curvature = panels(dataset)
    assert dataset.attrs["walls"] in labels(dimensions)
    assert "walls: ∝ ⟨U⟩" in labels(curvature)


def test_of_a_temperature_of_zero_or_without_errors_no_walls_are_fitted():
    cold = fluctuations().assign_coords(T=("rung", [0.0, 0.2]))
    assert "walls" not in with_exact(cold.drop_vars(["density", "msd_stiff"])).attrs
    sharp = fluctuations().assign(U_error=("rung", [0.0, 0.1]))
    assert "walls" not in with_exact(sharp).attrs


def test_a_step_beyond_the_stability_of_the_valley_has_no_stationary_law():
    steep = fluctuations().assign_attrs(lr=2.5)
    found = with_exact(steep)
    assert np.isnan(found["msd_stiff_harmonic"]).all()
    free = found["msd_flat_harmonic"].isel(lag=1)  # 10 steps of lr: 2 T lr each
    assert free.values == pytest.approx(2 * T * 10 * 2.5)


def test_the_energy_of_mini_batches_has_no_power_spectrum_and_nothing_no_panel():
    kind = look_up("TemperatureFluctuations")
    noisy = fluctuations().assign_attrs(mini_batches=True)
    assert len(kind.panels(noisy)) == len(kind.panels(fluctuations())) - 1
    nothing = fluctuations().drop_dims(["rung", "interval"])
    assert kind.panels(nothing) == [] and list(kind.rows(nothing)) == []


def test_replicas_that_differ_in_their_step_have_lags_of_their_own(panels):
    dataset = fluctuations().assign_attrs(lr=[0.1, 0.2], time_step=0.1)
    *_, moved = panels(dataset)
    first, second = curves(moved)[0], curves(moved)[2]
    assert second[:, 0] == pytest.approx(2 * first[:, 0])


def test_the_drift_is_relative_to_the_energy_and_zero_energy_has_none():
    dataset = fluctuations()
    dataset["U_drift"].values[:] = [0.03, 0.0]
    dataset["U"].values[1] = 0.0
    rows = table(dataset)
    first = rows["drift of U/⟨U⟩ in the window (T = 0.1)"]
    assert (first.measured, first.error, first.exact) == pytest.approx((0.1, 0.01 / 0.3, 0))
    assert rows["drift of U/⟨U⟩ in the window (T = 0.2)"].measured == 0


def test_a_single_start_has_no_difference_and_a_short_run_no_R_hat(panels):
    one = equilibration().assign(side=("replica", [0, 0, 0, 0]))
    names = list(table(one))
    assert not [name for name in names if name.startswith("E(from above)")]
    assert "R-hat of E, T = 0.5" in names
    starts, _ = panels(one)
    assert labels(starts) == ["one start, T = 0.5"]
    short = table(equilibration().isel(t=slice(6)))
    assert not [name for name in short if name.startswith("R-hat")]
    assert len([name for name in short if name.startswith("E(from above)")]) == 1


def test_only_the_time_at_the_last_temperatures_counts():
    """Cooling from T = 1: the energies before, 100 higher, are left out."""
    dataset = equilibration()
    dataset["temperature"][:20] = 1.0
    dataset["energy"][:20] += 100.0
    difference = table(dataset)["E(from above) - E(from below), T = 0.5"]
    assert difference.measured == pytest.approx(0.1, abs=2e-3)


def test_one_chain_has_a_rate_without_an_error():
    rows = table(equilibration().isel(replica=[0]))
    rate = rows["acceptance rate, T = 0.5"]
    assert rate.measured == 0.5 and np.isnan(rate.error)


def test_at_zero_temperature_the_learning_coefficient_has_no_ladder(panels):
    values = {
        "learning_coefficient": (("t", "replica"), [[-1.0, 1.0]]),
        "error": (("t", "replica"), [[3.0, 4.0]]),
        "temperature": (("t", "replica"), [[0.0, 0.0]]),
    }
    dataset = record("LearningCoefficient", values, {"t": [1.0]}, chain_temperature=0.05)
    row = table(dataset)["learning coefficient λ(t = 1)"]
    assert (row.measured, row.error) == pytest.approx((0, 2.5))  # their own errors are larger
    (axes,) = panels(dataset)
    assert axes.get_yscale() == "linear"
    bars = axes.containers[0].lines[2][0].get_segments()[0][:, 1]
    assert bars == pytest.approx([-2.5, 2.5])
