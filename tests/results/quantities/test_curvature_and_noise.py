"""Spectrum of the Hessian, gradient noise, its spectrum, and stationarity."""

import numpy as np
import pytest
import xarray

from lightning_landscape.results.exact import with_exact
from lightning_landscape.results.quantities.gradient_noise import strength_at

from .conftest import curves, labels, record, replicas, table

BY_REPLICA = ("t", "replica")


def spectrum(**attributes):
    """All of a spectrum of four eigenvalues -1, 1, 2, 4, twice in time, the same in replicas."""
    edges = np.array([-2.0, 0.0, 1.5, 3.0, 5.0])
    fraction = np.array([0.25, 0.25, 0.25, 0.25])
    shape, one = (2, 2), np.ones((2, 2))
    values = {
        "highest": (("t", "replica", "rank"), np.broadcast_to([4.0, 2.0], (*shape, 2))),
        "lowest": (("t", "replica", "rank"), np.broadcast_to([-1.0, 1.0], (*shape, 2))),
        "fraction": (("t", "replica", "bin"), np.broadcast_to(fraction, (*shape, 4))),
        "fraction_scatter": (("t", "replica", "bin"), np.full((*shape, 4), 0.01)),
        "resolution": (("t", "replica", "bin"), np.full((*shape, 4), 0.1)),
        "edges": (("t", "edge"), np.stack([edges] * 2)),
        "negative": (BY_REPLICA, 0.25 * one),
        "negative_lower": (BY_REPLICA, 0.20 * one),
        "negative_upper": (BY_REPLICA, 0.30 * one),
        "trace": (BY_REPLICA, replicas([6.0, 6.0], 0.1)),
        "trace_error": (BY_REPLICA, 0.02 * one),
        "zero": (BY_REPLICA, 0 * one),
    }
    for end in ("highest", "lowest"):
        values[f"{end}_residual"] = (("t", "replica", "rank"), np.full((*shape, 2), 0.001))
        values[f"{end}_converged"] = (("t", "replica", "rank"), np.ones((*shape, 2), bool))
    return record("HessianSpectrum", values, {"t": [0.0, 1.0]}, **attributes)


def test_spectrum(panels):
    dataset = spectrum()
    everything = np.broadcast_to([-1.0, 1.0, 2.0, 4.0], (2, 2, 4))
    complete = dataset.assign(eigenvalues=(("t", "replica", "eigenvalue"), everything))
    rows = table(complete)
    assert (rows["λ_max(t = 1)"].measured, rows["λ_max(t = 1)"].exact) == (4, 4)
    assert (rows["λ_min(t = 1)"].measured, rows["λ_min(t = 1)"].exact) == (-1, -1)
    assert (rows["negative fraction(t = 1)"].measured, rows["tr H(t = 1)"].exact) == (0.25, 6)
    ends, density, negative = panels(complete)
    assert labels(ends) == ["highest $\\lambda$", "lowest $\\lambda$"]
    assert [points[1, 1] for points in curves(ends)] == [4, -1]
    heights = density.patches[0].get_data().values
    assert heights == pytest.approx(0.25 / np.array([2, 1.5, 1.5, 2]))
    assert curves(negative)[0] == pytest.approx(np.array([[0, 0.25], [1, 0.25]]))


def test_outliers_of_a_classifier_by_rank(panels):
    *_, outliers = panels(spectrum(classes=1))
    assert curves(outliers)[-1] == pytest.approx(np.array([[1, 4], [2, 2]]))
    assert "1 classes" in labels(outliers)


def test_the_semicircle_of_the_glass_at_a_random_point():
    """p = 3 and mu = 0: radius 2 sqrt(3), half of the eigenvalues negative, tr H^2 = 3 (N - 1)."""
    glass = {"theory": "pspin", "mixture": '{"3": 0.5}'}
    dataset = spectrum(**glass).assign(multiplier=(BY_REPLICA, np.zeros((2, 2))))
    edges = np.linspace(-4, 4, 5)
    dataset = with_exact(dataset.assign(edges=(("t", "edge"), np.stack([edges] * 2))))
    assert dataset["upper_edge_exact"].values == pytest.approx(2 * 3**0.5)
    assert dataset["lower_edge_exact"].values == pytest.approx(-2 * 3**0.5)
    assert dataset["negative_exact"].values == pytest.approx(0.5)
    assert dataset["trace_of_square_exact"].values == pytest.approx(3 * 9)
    weight = dataset["density_exact"].isel(t=0).values * 2
    assert weight.sum() == pytest.approx(1, abs=0.01)
    assert weight[0] == pytest.approx(0.1437, abs=0.01)  # of x < -2: arccos and half a chord


def test_the_edges_of_a_finite_glass_lie_inside_the_semicircle():
    """Against the largest eigenvalues of 400 tangent Hessians at random points, N = 64."""
    N, samples = 64, 400
    glass = {"theory": "pspin", "mixture": '{"3": 0.5}', "N": N}
    dataset = spectrum(**glass).assign(multiplier=(BY_REPLICA, np.zeros((2, 2))))
    dataset = dataset.assign(
        trace_of_square=(BY_REPLICA, np.full((2, 2), 3.0 * (N - 1))),
        trace_of_square_error=(BY_REPLICA, np.full((2, 2), 0.1)),
    )
    rows = table(with_exact(dataset))
    upper, lower = (rows[f"{end}(t = 1)"].shift for end in ("λ_max", "λ_min"))
    assert upper.value == -lower.value < 0
    assert upper.source == "Tracy-Widom"
    A = np.random.default_rng(0).standard_normal((samples, N - 1, N - 1))
    H = (A + A.transpose(0, 2, 1)) * (3 / (2 * N)) ** 0.5  # f''(1)/N off the diagonal
    ends = np.linalg.eigvalsh(H)[:, -1]
    error = ends.std() / samples**0.5
    expected = rows["λ_max(t = 1)"].exact + upper.value
    assert abs(ends.mean() - expected) < 4 * error + 0.01  # next order in N
    assert rows["λ_max(t = 1)"].exact - ends.mean() > 10 * error
    assert rows["tr H²(t = 1)/N"].measured == pytest.approx(3 * 63 / 64)


def test_ends_that_are_not_converged_are_named():
    dataset = spectrum()
    dataset["lowest_converged"][1, 0, 0] = False
    rows = table(dataset)
    assert "λ_min(t = 1), not converged" in rows and "λ_min(t = 0)" in rows
    assert np.isnan(rows["λ_max(t = 1)"].exact)
    negative = rows["negative fraction(t = 1)"]
    assert negative.error == pytest.approx(0.05 / 2**0.5)  # half of the bounds, two replicas


def gradient_noise():
    values = {
        "D": (BY_REPLICA, replicas([2.0, 4.0], 0.1)),
        "D_part": (("t", "replica", "part"), np.full((2, 2, 3), 2.0)),
        "gradient_square": (BY_REPLICA, replicas([1.0, 0.5], 0.1)),
        "noise_scale": (BY_REPLICA, replicas([8.0, 16.0], 1.0)),
        "temperature_of_sgd": (BY_REPLICA, replicas([0.1, 0.2], 0.01)),
        "kurtosis": (("t", "replica", "direction"), np.full((2, 2, 5), 1.5)),
    }
    return record("GradientNoise", values, {"t": [0.0, 10.0], "part": list("abc")})


def test_gradient_noise(panels):
    rows = table(gradient_noise())
    assert rows["D(t = 10)"].measured == pytest.approx(4)
    assert rows["T = lr D / 2(t = 10)"].measured == pytest.approx(0.2)
    assert rows["batch size of equal signal(t = 10)"].error == pytest.approx(1)
    assert rows["excess kurtosis of g_B(t = 0)"].measured == pytest.approx(1.5)
    strength, kurtosis = panels(gradient_noise())
    assert [points[:, 1].tolist() for points in curves(strength)] == [[2, 4], [1, 0.5]]
    assert len(strength.get_lines()) == 5  # of three layers, and the two of all
    assert kurtosis.get_lines()[0].get_ydata() == pytest.approx([1.5, 1.5])
    assert len(panels(gradient_noise().drop_vars("kurtosis"))) == 1


def test_noise_spectrum(panels):
    ranked = ("t", "replica", "rank")
    values = {
        "eigenvalues": (ranked, np.broadcast_to([3.0, 1.0], (2, 2, 2))),
        "curvatures": (ranked, np.broadcast_to([5.0, 2.0], (2, 2, 2))),
        "residuals": (ranked, np.full((2, 2, 2), 0.2)),
        "converged": (ranked, np.ones((2, 2, 2), bool)),
        "overlap": (ranked, np.broadcast_to([0.9, 0.7], (2, 2, 2))),
        "trace": (BY_REPLICA, np.full((2, 2), 8.0)),
        "cosine": (BY_REPLICA, replicas([0.6, 0.5], 0.0)),
        "cosine_error": (BY_REPLICA, np.full((2, 2), 0.02)),
    }
    dataset = record("NoiseSpectrum", values, {"t": [0.0, 1.0]}, random_overlap=0.1)
    rows = table(dataset)
    assert rows["λ_max of C(t = 1)"].measured == 3
    assert rows["λ_max of C(t = 1)"].error == pytest.approx(0.2 / 2**0.5)
    assert rows["share of tr C in 2(t = 1)"].measured == pytest.approx(0.5)
    assert rows["overlap of 2 with H(t = 1)"].measured == pytest.approx(0.7)
    assert rows["cosine of C and H(t = 1)"].error == pytest.approx(0.02 / 2**0.5)
    eigenvalues, overlap, cosine = panels(dataset)
    assert eigenvalues.get_lines()[0].get_ydata() == pytest.approx([3, 3])
    assert curves(overlap)[0][:, 1] == pytest.approx([0.9, 0.7])
    assert overlap.get_lines()[-1].get_ydata() == pytest.approx([0.1, 0.2])
    assert curves(cosine)[0][:, 1] == pytest.approx([0.6, 0.5])


def test_stationarity(panels):
    t, relations = np.arange(9.0), ["FDR1", "FDR2"]
    sides = np.ones((9, 2, 2))
    by_window = ("relation", "window")
    values = {
        "left": (("t", "replica", "relation"), 2 * sides),
        "right": (("t", "replica", "relation"), sides),
        "since": ("window", [2.0, 4.0]),
        "until": ("window", [4.0, 8.0]),
        "ratio": (by_window, [[2.0, 1.1], [1.5, 1.0]]),
        "ratio_error": (by_window, [[0.1, 0.1], [0.1, 0.1]]),
        "stationary": (by_window, [[False, True], [False, True]]),
    }
    dataset = record("Stationarity", values, {"t": t, "relation": relations})
    rows = table(dataset)
    row = rows["FDR1 ratio, t = 2 … 4: not stationary"]
    assert (row.measured, row.exact, row.deviation) == pytest.approx((2, 1, 10))
    assert "FDR2 ratio, t = 4 … 8: stationary" in rows
    both, ratios = panels(dataset)
    assert [line.get_ydata()[-1] for line in both.get_lines()] == [2, 1, 2, 1]
    assert curves(ratios)[0][:, 1] == pytest.approx([2, 1.1])
    assert len(panels(dataset.isel(window=[]))) == 1


def test_the_strength_of_the_noise_is_read_between_its_measurements():
    """D = 2 at t = 0, which has no logarithm, and 4 at t = 10: constant beyond the ends."""
    aging = record("AgingCorrelation", {}, {"tw": [1.0, 10.0, 100.0]})
    strength = strength_at(aging, {"GradientNoise": gradient_noise()})
    assert strength.values.tolist() == [4, 4, 4]
    three = gradient_noise().assign_coords(t=[10.0, 20.0])
    strength = strength_at(aging.assign_coords(tw=[5.0, 15.0, 40.0]), {"GradientNoise": three})
    assert strength.values == pytest.approx([2, 3, 4])
    assert strength_at(aging, {}) == pytest.approx(2 * 0.5 / 0.1)  # 2 T / lr
    assert strength_at(aging.assign_attrs(temperature=0.0), {}) is None
    early = gradient_noise().isel(t=[0])
    assert strength_at(aging, {"GradientNoise": early}) is None


def test_a_short_run_has_no_ratio(panels):
    dataset = xarray.Dataset(
        {name: (("t", "replica", "relation"), np.zeros((3, 2, 1))) for name in ("left", "right")},
        {"t": [0.0, 1.0, 2.0], "relation": ["FDR1"]},
        {"probe": "Stationarity"},
    )
    dataset = dataset.assign(since=("window", np.zeros(0)))
    assert table(dataset) == {}
    (sides,) = panels(dataset.assign_attrs(temperature=0.5, N=10, replicas=2))
    assert labels(sides) == ["FDR1, left side", "FDR1, right side"]


def test_a_noise_that_is_not_converged_is_named_and_negative_eigenvalues_are_not_drawn(panels):
    ranked = ("t", "replica", "rank")
    values = {
        "eigenvalues": (ranked, np.broadcast_to([3.0, 1.0], (1, 2, 2))),
        "curvatures": (ranked, np.broadcast_to([5.0, -2.0], (1, 2, 2))),
        "residuals": (ranked, np.full((1, 2, 2), 0.2)),
        "converged": (ranked, np.array([[[True, True], [False, True]]])),
        "overlap": (ranked, np.broadcast_to([0.9, 0.7], (1, 2, 2))),
        "trace": (BY_REPLICA, np.full((1, 2), 8.0)),
        "cosine": (BY_REPLICA, replicas([0.6], 0.0)),
        "cosine_error": (BY_REPLICA, np.full((1, 2), 0.02)),
    }
    dataset = record("NoiseSpectrum", values, {"t": [1.0]}, random_overlap=0.1)
    rows = table(dataset)
    assert rows["λ_max of C(t = 1), not converged"].error == pytest.approx(0.2 / 2**0.5)
    assert rows["share of tr C in 2(t = 1)"].measured == pytest.approx(0.5)
    eigenvalues, overlap, cosine = panels(dataset)
    assert np.isnan(eigenvalues.get_lines()[-1].get_ydata()).all()
    assert overlap.get_lines()[-1].get_ydata() == pytest.approx([0.1, 0.2])
    bars = cosine.containers[0].lines[2][0].get_segments()[0][:, 1]
    assert np.diff(bars) == pytest.approx(2 * 0.02 / 2**0.5)
