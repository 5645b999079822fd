"""Gaps, the parts of the Hessian, the critical load and a scan with data perturbations."""

import numpy as np
import pytest

from lightning_landscape.results.exact import with_exact
from lightning_landscape.results.quantities.jamming.perturbation import (
    avalanche_sizes,
    exit_ratios,
    is_decompressed,
    last_minima,
)
from lightning_landscape.results.quantities.jamming.runs import mean_of_each, mean_row
from lightning_landscape.theory.jamming import perceptron_capacity

from .conftest import curves, labels, record, replicas, table

EDGES = np.geomspace(1e-4, 10, 41)


def gaps(**attributes):
    """Two jammed networks of 10 weights whose gaps have the density x^0.3 and x^-0.6."""
    x, width = np.sqrt(EDGES[1:] * EDGES[:-1]), np.diff(EDGES)
    sides = {"positive_rescaled": x**0.3 * width, "negative": x**-0.6 * width}
    binned = ("t", "replica", "bin")
    values = {name: (binned, np.broadcast_to(1e4 * c, (2, 2, 40))) for name, c in sides.items()}
    values |= {
        "unsatisfied": (("t", "replica"), replicas([9.0, 7.5], 0.5)),
        "satisfied": (("t", "replica"), np.zeros((2, 2))),
        "loss": (("t", "replica"), replicas([1.0, 0.2], 0.01)),
        "became_satisfied": (("t", "replica"), [[0, 0], [2, 4]]),
        "became_unsatisfied": (("t", "replica"), [[0, 0], [1, 1]]),
    }
    for name, value in {"theta": 0.3, "gamma": 0.6, "tau": 2.0}.items():
        values |= {name: value, f"{name}_error": 0.05, f"{name}_p_value": 0.5}
    windows = {"theta_window": [1e-3, 1.0], "gamma_window": [1e-3, 1.0], "weights": 10}
    coords = {"t": [1.0, 10.0], "edge": EDGES, "pattern": np.arange(8)}
    return record("GapDistribution", values, coords, **(windows | attributes))


def test_gaps(panels):
    rows = table(gaps())
    assert rows["N_Δ/N(t = 10)"].measured == pytest.approx(0.75)
    assert rows["N_Δ/N(t = 10)"].error == pytest.approx(0.05)
    assert rows["replicas that fit"].measured == 0
    theta = rows["θ on [0.001, 1], p = 0.5"]
    assert (theta.measured, theta.error) == (0.3, 0.05)
    assert theta.source and np.isfinite(theta.exact)
    assert rows["τ of avalanche sizes, p = 0.5"].measured == 2
    in_time, distribution, avalanches, sizes = panels(gaps())
    assert curves(in_time)[0][:, 1] == pytest.approx([0.9, 0.75])
    for points, s in zip(curves(distribution), (0.3, -0.6), strict=True):
        slope = np.diff(np.log(points[[0, -1]]), axis=0)
        assert slope[0, 1] / slope[0, 0] == pytest.approx(s)
    fitted = [line for line in distribution.get_lines() if "propto" in str(line.get_label())]
    for line, s in zip(fitted, (0.3, -0.6), strict=True):
        (x0, y0), (x1, y1) = line.get_xydata()
        assert np.log(y1 / y0) / np.log(x1 / x0) == pytest.approx(s)
    assert curves(avalanches)[0][-1] == pytest.approx([10, 4])
    assert curves(sizes)[0][:, 0].min() <= 3 <= curves(sizes)[0][:, 0].max()


def test_the_ground_state_of_the_perceptron_is_normalized():
    load = 1.2 * perceptron_capacity(0.5)
    dataset = gaps(theory="perceptron", load=load, margin=0.5, N=100)
    fine = np.geomspace(1e-6, 50, 2001)
    dataset = with_exact(dataset.drop_dims("bin").assign_coords(edge=fine))
    for side in ("positive_rescaled_exact", "negative_exact"):
        assert (dataset[side] * np.diff(fine)).sum().item() == pytest.approx(1, abs=2e-3)
    assert 0 < dataset["unsatisfied_exact"] / 100 < load
    rows = table(dataset)
    assert rows["loss at the end"].exact == pytest.approx(dataset["loss_exact"].item())
    assert not [name for name in rows if name.startswith("θ")]  # not at the transition
    below = gaps(theory="perceptron", load=0.5, margin=0.5)
    assert "loss_exact" not in with_exact(below)


def test_parts_of_the_hessian(panels):
    """H0 has rank 2 of 4; Hp has eigenvalues +-1, and no trace."""
    parts = np.array([[5.0, 3.0, -1.0, 1.0], [5.0, 3.0, 0.0, 0.0], [1.0, -1.0, 1.0, -1.0]])
    values = {
        "eigenvalues": (("t", "replica", "part", "eigenvalue"), np.stack([[parts] * 2])),
        "unsatisfied": (("t", "replica"), [[2.0, 2.0]]),
        "effective_parameters": (("t", "replica"), [[3.0, 3.0]]),
        "zero": (("t", "replica", "part"), [[[0, 2, 0]] * 2]),
        "negative": (("t", "replica", "part"), [[[1, 0, 2]] * 2]),
    }
    coords = {"t": [1.0], "part": ["H", "H0", "Hp"]}
    dataset = record("JammingHessian", values, coords, zero_below=1e-6)
    rows = table(dataset)
    for name, value in {
        "N_Δ": 2,
        "N_eff of 4 parameters": 3,
        "rank of H0": 2,
        "negative modes of Hp": 2,
        "negative modes of H": 1,
        "largest |tr Hp|/tr|Hp|": 0,
    }.items():
        assert rows[name].measured == value
    branches, curvature, modes = panels(dataset)
    of_H0 = branches.get_lines()[2].get_ydata()
    assert of_H0[:2] == pytest.approx([5, 3])
    assert np.isnan(of_H0[2:]).all()
    assert labels(curvature) == ["H", "Hp"]
    assert [points[0, 1] for points in curves(modes)] == pytest.approx([0.5, 0.5, 0.5, 0.25])


def transition():
    """Two sizes with P*/N = 2 and 2 sqrt 2: P = c N^1.5 for the line through them."""
    ratio, N = np.array([2.0, 2 * 2**0.5]), np.array([100, 200])
    P = np.outer(N, [1, 2, 4])
    values = {
        "ratio": ("points", ratio),
        "ratio_error": ("points", 0.05 * ratio),
        "spread": ("points", [0.1, 0.1]),
        "bound": ("points", [False, True]),
        "point_N": ("points", N),
        "point_P": ("points", (ratio * N).astype(int)),
        "point_depth": ("points", [3, 3]),
        "point": ("run", np.repeat([0, 1], 3)),
        "N": ("run", np.repeat(N, 3)),
        "P": ("run", P.ravel()),
        "jammed": ("run", [False, True, True, False, False, True]),
    }
    config = {"config": "data: RandomData", "varied": "P"}
    return record("JammingTransition", values, **config)


def test_transition(panels):
    rows = table(transition())
    first = rows["r_c = P*/N (depth 3, N = 100)"]
    assert (first.measured, first.error, first.exact) == pytest.approx((2, 0.1, 3))
    assert rows["r_c = P*/N (depth 3, N = 200)"].note == "a bound: widen the ratios"
    line = rows["b of the line P ∝ N^b (depth 3)"]
    assert (line.measured, line.exact) == pytest.approx((1.5, 1))
    assert line.error == pytest.approx(0.05 * 2**0.5 / np.log(2))
    share, places = panels(transition())
    assert curves(share)[0] == pytest.approx(np.array([[1, 0], [2, 1], [4, 1]]))
    law = share.get_lines()[1].get_xydata()
    assert np.interp(2.0, law[:, 0], law[:, 1]) == pytest.approx(0.5, abs=0.02)
    assert curves(places)[0] == pytest.approx(np.array([[100, 200], [200, 565]]))


def test_a_family_of_sizes_ends_with_its_extrapolation():
    """r_c = 3 - 10 N^-1/2: the line through the sizes meets 1/width = 0 at 3."""
    N = np.array([100, 400, 1600])
    values = {
        "ratio": ("points", 3 - 10 / N**0.5),
        "ratio_error": ("points", [0.1, 0.1, 0.1]),
        "bound": ("points", [False] * 3),
        "point_N": ("points", N),
        "point_P": ("points", 2 * N),
        "point_depth": ("points", [3] * 3),
    }
    dataset = record("JammingTransition", values, config="data: RandomData", varied="P")
    rows = table(dataset)
    assert np.isnan(rows["r_c = P*/N (depth 3, N = 400)"].deviation)  # published at another size
    limit = rows["r_c, N → ∞, depth 3"]
    x = N**-0.5
    error = 0.1 * (1 / 3 + x.mean() ** 2 / np.square(x - x.mean()).sum()) ** 0.5
    assert (limit.measured, limit.error, limit.exact) == pytest.approx((3, error, 3))
    assert limit.deviation == pytest.approx(0, abs=1e-9)
    bounds = dataset.assign(bound=("points", [False, False, True]))
    assert "r_c, N → ∞, depth 3" not in table(bounds)


def scan():
    """Three networks at P/N = 2, which fit, and three at 4, which jam and are decompressed."""
    N, P = np.full(6, 10), np.repeat([20, 40], 3)
    jammed = P == 40
    unsatisfied = np.outer(np.where(jammed, 1, 0), [8, 8, 0])
    gap = np.full((6, 4), np.nan)
    gap[3:] = [1.0, 1.0, -0.1, -0.2]  # the loss is sum gap^2 / 2P
    change = ("run", "change")
    values = {
        "N": ("run", N),
        "P": ("run", P),
        "depth": ("run", np.full(6, 3)),
        "jammed": ("run", jammed),
        "unsatisfied": ("run", np.where(jammed, [8, 8, 8, 7, 8, 9], 0)),
        "loss": ("run", np.where(jammed, 0.5, 0.0)),
        "test_error": ("run", np.where(jammed, 0.3, 0.1)),
        "early_test_error": ("run", np.full(6, 0.2)),
        "avalanche": (change, np.outer(np.where(jammed, 1, 0), [0, 4, 2])),
        "change_unsatisfied": (change, unsatisfied),
        "change_loss": (change, 0.1 * unsatisfied),
        "change_P": (change, np.outer(P, [1.0, 0.9, 0.8])),
        "gap": (("run", "pattern"), gap),
    }
    return record("JammingScan", values, config="RandomData")


def test_scan(panels):
    rows = table(scan())
    assert rows["jammed share (depth 3, N = 10, P/N = 2.00)"].measured == 0
    jump = rows["N_Δ/N of the jammed (depth 3, N = 10, P/N = 4.00)"]
    assert (jump.measured, jump.error, jump.exact) == pytest.approx((0.8, 0.1 / 3**0.5, 0.75))
    place = "(depth 3, N = 10, P/N = 4.00)"
    assert rows[f"avalanche {place}"].measured == 3
    assert rows[f"the same without a change {place}"].measured == 0
    left = rows[f"P/N where they ceased to jam {place}"]
    assert (left.measured, left.note) == (pytest.approx(3.2), "of the 3 of 3 that did")
    assert rows[f"N_Δ/N of the last minima {place}"].measured == pytest.approx(0.2)
    assert rows[f"test error {place}"].measured == pytest.approx(0.3)
    drawn = panels(scan())
    number, loss, errors, along, along_loss, minima, avalanches = drawn
    assert curves(number)[0] == pytest.approx(np.array([[2, 0], [4, 0.8]]))
    assert curves(loss)[0][1, 1] == pytest.approx(0.5)
    assert labels(errors) == ["at the end", "early stopping"]
    assert along.get_lines()[0].get_xydata() == pytest.approx(
        np.array([[4, 0.8], [3.6, 0.8], [3.2, 0]])
    )
    assert np.isnan(along_loss.get_lines()[0].get_ydata()[-1])
    assert len(curves(minima)) == 2
    after = curves(avalanches)[0]
    assert len(after) == 2  # sizes 2 and 4


def test_replicas_that_fit_have_no_unsatisfied_patterns(panels):
    """Their gaps approach zero from above: the count of 15 says nothing."""
    dataset = gaps()
    dataset["satisfied"][1, 0] = 1
    rows = table(dataset)
    assert rows["replicas that fit"].measured == 0.5
    assert rows["N_Δ/N(t = 10)"].measured == pytest.approx(0.4)  # (0 + 8) / 2 / 10
    in_time, distribution, *_ = panels(dataset)
    assert curves(in_time)[0][:, 1] == pytest.approx([0.9, 0.4])
    assert in_time.get_lines()[-1].get_ydata().tolist() == [0, 0.5]
    k, width = 35, np.diff(EDGES)
    x = np.sqrt(EDGES[1:] * EDGES[:-1])
    counts = 1e4 * x**0.3 * width  # of the one replica that is jammed
    bars = distribution.containers[0].lines[2][0].get_segments()[k][:, 1]
    assert np.diff(bars) == pytest.approx(2 * counts[k] ** 0.5 / (counts.sum() * width[k]))


def test_exponents_that_were_not_fitted_have_no_row_and_no_law(panels):
    nothing = gaps().assign(theta=np.nan, gamma=np.nan, tau=np.nan)
    assert not [name for name in table(nothing) if name.startswith(("θ", "γ", "τ"))]
    _, distribution, _, sizes = panels(nothing)
    assert not [text for text in labels(distribution) if "propto" in text]
    assert labels(sizes) == ["all times"]


def test_without_avalanches_and_without_gaps_there_is_less_to_draw(panels):
    quiet = gaps().drop_vars(["became_satisfied", "became_unsatisfied", "tau"])
    assert len(panels(quiet)) == 2
    empty = quiet.assign(negative=0 * quiet["negative"])
    _, distribution = panels(empty)
    assert len(curves(distribution)) == 1  # nothing on the satisfied side
    assert table(gaps().isel(t=slice(0))) == {}


def test_the_exponents_of_the_perceptron_are_those_of_spheres():
    theta = table(gaps(theory="perceptron", load=0.5, margin=0.5))["θ on [0.001, 1], p = 0.5"]
    assert theta.exact == pytest.approx(0.42311, abs=1e-4)
    assert theta.source != table(gaps())["θ on [0.001, 1], p = 0.5"].source


def in_width():
    """Three P at which P/N* = 2 P^0.2, so that N* = P^0.8 / 2 and P = (2 N)^1.25."""
    P = np.array([100, 400, 1600])
    ratio = 2.0 * P**0.2
    return transition().drop_dims(["points", "run"]).assign(
        ratio=("points", ratio),
        ratio_error=("points", 0.02 * ratio),
        spread=("points", [0.1] * 3),
        bound=("points", [False, False, True]),
        point_N=("points", P / ratio),
        point_P=("points", P),
        point_depth=("points", [2, 2, 2]),
        point=("run", [0, 0, 1, 1, 2, 2]),
        N=("run", np.repeat(P / ratio, 2) * np.tile([0.5, 2.0], 3)),
        P=("run", np.repeat(P, 2)),
        jammed=("run", [True, False] * 3),
    )  # fmt: skip


def test_where_the_width_was_varied_the_line_has_its_error_in_N(panels):
    dataset = in_width().assign_attrs(varied="h", config="Digits")
    rows = table(dataset)
    assert rows["r_c = P/N* (depth 2, P = 1600)"].note == "a bound: widen the widths"
    assert np.isnan(rows["r_c = P/N* (depth 2, P = 100)"].exact)  # published for random data
    b = rows["b of the line P ∝ N^b (depth 2)"]
    assert b.measured == pytest.approx(1.25)
    x = np.log([100, 400, 1600])
    of_slope = 0.02 / np.sqrt(np.square(x - x.mean()).sum())
    assert b.error == pytest.approx(of_slope * 1.25**2)
    share, places = panels(dataset)
    assert "depth 2, P = 400" in labels(share)
    (bar, *_) = places.containers[0].lines[2][0].get_segments()
    N = float(dataset["point_N"][0])
    assert bar[:, 0] == pytest.approx([N * 0.98, N * 1.02])


def test_one_size_has_no_line():
    single = transition().isel(points=[0], run=slice(3))
    assert list(table(single)) == ["r_c = P*/N (depth 3, N = 100)"]


def test_the_fraction_that_jams_has_an_error_where_all_or_none_do(panels):
    """(n + 1)/(R + 2) has the variance (n + 1)(R - n + 1)/((R + 2)^2 (R + 3)), R = 1 here."""
    share, _ = panels(transition())
    bars = share.containers[0].lines[2][0].get_segments()
    assert np.diff(bars[0][:, 1]) == pytest.approx(2 * (1 * 2 / 9 / 4) ** 0.5)


def test_a_scan_of_one_load_without_predictions_shows_the_loss(panels):
    kept = ["N", "P", "depth", "jammed", "unsatisfied", "loss"]
    single = scan()[kept].isel(run=slice(3, 6))
    (loss,) = panels(single)
    assert curves(loss)[0][0] == pytest.approx([4, 0.5])
    rows = table(single)
    assert list(rows) == [
        "jammed share (depth 3, N = 10, P/N = 4.00)",
        "N_Δ/N of the jammed (depth 3, N = 10, P/N = 4.00)",
    ]


def test_the_published_jump_stands_once_where_half_of_the_networks_jam():
    three = scan().isel(run=[0, 1, 2, 3, 4, 5, 3, 4, 5])
    three["P"].values[6:] = 60
    exact = [row.exact for name, row in table(three).items() if name.startswith("N_Δ/N of the j")]
    assert exact[0] == 0.75 and np.isnan(exact[1])
    other = table(scan().assign_attrs(config="Digits"))
    assert np.isnan(other["N_Δ/N of the jammed (depth 3, N = 10, P/N = 4.00)"].exact)


def test_avalanches_count_while_a_network_is_jammed():
    """N = 10 is jammed above one unsatisfied pattern: changes 1 and 2 of the last three runs."""
    sizes = avalanche_sizes(scan()).to_numpy()
    assert np.isnan(sizes[:3]).all()
    assert sizes[3:].tolist() == [[4, 2]] * 3
    ratios = exit_ratios(scan()).to_numpy()
    assert np.isnan(ratios[:3]).all() and ratios[3:] == pytest.approx([3.2] * 3)
    assert is_decompressed(scan())
    same = scan().assign(change_P=(("run", "change"), np.full((6, 3), 40)))
    assert not is_decompressed(same)
    never = scan().assign(gap=(("run", "pattern"), np.full((6, 4), np.nan)))
    gap, loss = last_minima(never)
    assert not is_decompressed(never) and len(gap) == len(loss) == 0


def test_the_loss_of_a_last_minimum_is_that_of_its_own_patterns():
    """A half of the mean of the squares of the positive gaps, over patterns that are not nan."""
    dataset = scan()
    dataset["gap"][3] = [1.0, -1.0, np.nan, np.nan]
    gap, loss = last_minima(dataset)
    assert loss.tolist() == pytest.approx([0.25, 0.25, 0.25])  # 1/(2 * 2), 2/(2 * 4)
    assert gap.shape == (3, 4)


def test_means_over_networks():
    row = mean_row("x", np.array([1.0, 3.0]), 2.5)
    assert (row.measured, row.error, row.exact) == pytest.approx((2, 1, 2.5))
    single, none = mean_row("x", np.array([4.0])), mean_row("x", np.array([]))
    assert single.measured == 4 and np.isnan(single.error)
    assert np.isnan(none.measured)
    x, mean, error = mean_of_each(np.array([2.0, 1.0, 2.0]), np.array([1, 5, 3]))
    assert (x.tolist(), mean.tolist()) == ([1, 2], [5, 2])
    assert error == pytest.approx([0, 1])


def test_the_region_of_the_transition_is_shaded_between_two_sizes(panels):
    """Networks of 10 weights jam and those of 20 do not."""
    sizes = scan().assign(N=("run", np.array([20, 20, 20, 10, 10, 10])))
    sizes = sizes.drop_dims(["change", "pattern"])
    *_, errors = panels(sizes)
    (shade,) = errors.patches
    assert shade.get_x() == 10 and shade.get_width() == 10
    assert curves(errors)[0] == pytest.approx(np.array([[10, 0.3], [20, 0.1]]))
