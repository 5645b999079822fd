"""The record of a FiniteSize study: its rows and its three panels."""

import numpy as np
import pytest

from .conftest import curves, labels, record, table

SIZES = np.array([10, 20, 40])
T, TW = np.array([1.0, 10.0, 100.0]), np.array([0.5, 2.0])


def study(**attributes):
    """Two samples of each size around E = -1 + 1/N at every t, 0.02 apart, and known limits."""
    N = np.repeat(SIZES, 2)
    E = -1 + 1 / N + 0.01 * np.tile([1, -1], 3)
    shape = (2, 3)
    C = np.broadcast_to([0.9, 0.5, np.nan], shape)
    chi = np.broadcast_to([0.2, 1.0, np.nan], shape)
    two = ("tw", "t")
    values = {
        "N": ("run", N),
        "time_step": ("run", np.full(6, 0.1)),
        "E": (("run", "t"), np.broadcast_to(E[:, None], (6, 3))),
        "E_limit": ("t", [-1.0, -1.01, -1.02]),
        "E_error": ("t", [0.01, 0.01, 0.02]),
        "E_exact": ("t", [-1.0, -1.0, -1.0]),
        "E_chi2": ("t", [0.5, 1.5, 2.5], {"freedom": 1}),
        "C_limit": (two, C),
        "C_error": (two, 0 * C + 0.01),
        "C_exact": (two, C - 0.02),
        "C_chi2": (two, 0 * C, {"freedom": 0}),
        "MSD_limit": (two, 2 - 2 * C),
        "MSD_error": (two, 0 * C + 0.02),
        "MSD_exact": (two, 2 - 2 * C),
        "chi_limit": (two, chi),
        "chi_error": (two, 0 * chi + 0.1),
        "chi_exact": (two, chi),
        "T_eff_limit": (("tw", "window"), [[0.5, 0.8], [0.4, 0.7]]),
        "T_eff_error": (("tw", "window"), [[0.05, 0.1]] * 2),
        "T_eff_exact": (("tw", "window"), [[0.5, 1.0]] * 2),
    }
    coords = {"t": T, "tw": TW, "window": ["first quarter", "second half"]}
    return record("FiniteSize", values, coords, **attributes)


def test_rows_have_limit_error_exact_value_and_the_quality_of_the_fit():
    rows = table(study())
    last = rows["E(t = 100)"]
    assert (last.measured, last.error, last.exact) == (-1.02, 0.02, -1.0)
    assert last.deviation == pytest.approx(-1)
    assert last.note == "N → ∞, χ² = 2.5 of 1"
    C = rows["C(tw = 2, t = 10)"]
    assert C.deviation == pytest.approx(2) and C.note == "N → ∞"  # no degree of freedom left
    assert "C(tw = 2, t = 100)" not in rows  # which no run has reached
    assert rows["χ(tw = 0.5, t = 1)"].error == pytest.approx(0.1)
    hot = rows["T_eff(tw = 2), second half of the decay"]
    assert (hot.measured, hot.exact) == (0.7, 1.0)
    assert len(rows) == 3 + 2 * (2 + 2 + 2)


def test_without_a_theory_there_is_no_exact_value():
    known = [name for name in study() if name.endswith("_exact")]
    rows = table(study().drop_vars(known))
    assert all(np.isnan(row.exact) and np.isnan(row.deviation) for row in rows.values())


def test_before_all_sizes_have_two_samples_there_is_nothing(panels):
    first = study()[["N", "time_step", "E"]]
    assert table(first) == {}
    from lightning_landscape.results import figures

    assert figures.draw(first) is None


def test_panels_show_all_sizes_and_the_limit(panels):
    energies, approach, response = panels(study())
    assert labels(energies) == ["N = 10", "N = 20", "N = 40", "exact", r"$N \to \infty$"]
    assert energies.get_lines()[2].get_ydata() == pytest.approx(-1 + 1 / 40)
    places = [tuple(points[0]) for points in curves(approach)]
    assert places[:3] == [pytest.approx((1 / N, -1 + 1 / N)) for N in SIZES]
    assert places[3] == pytest.approx((0, -1.02))
    bars = approach.containers[0].lines[2][0].get_segments()[0][:, 1]
    assert np.diff(bars) == pytest.approx(2 * 0.01)  # sd 0.01 sqrt 2, of two samples
    assert [points[0].tolist() for points in curves(response)] == [[pytest.approx(0.1), 0.2]] * 2


def test_samples_at_half_the_step_are_left_out_of_the_figure(panels):
    fine = study().assign(time_step=("run", [0.1, 0.1, 0.1, 0.1, 0.05, 0.05]))
    _, approach, _ = panels(fine)
    assert [points[0, 0] for points in curves(approach)] == pytest.approx([0.1, 0.05, 0])


def test_a_run_without_noise_has_no_response(panels):
    cold = study().drop_vars([n for n in study() if n.startswith(("chi", "T_eff"))])
    assert len(panels(cold)) == 2
    assert not [name for name in table(cold) if name.startswith(("χ", "T_eff"))]
