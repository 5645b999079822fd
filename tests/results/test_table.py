import math

import numpy as np
import pytest
import xarray

from lightning_landscape.results import figures
from lightning_landscape.results.summary import rows
from lightning_landscape.results.table import Row, Shift, cells, estimate, markdown, row, with_error


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (-0.77812, 0.0093, "-0.778(9)"),
        (12.34, 0.17, "12.34(17)"),
        (0.5, 0.0996, "0.50(10)"),
        (0.123456, 0.00195, "0.123(2)"),
        (1234.5, 30.0, "1234(30)"),
        (0.25, math.nan, "0.25"),
        (0.25, 0.0, "0.25"),
    ],
)
def test_the_error_stands_on_the_last_digits(value, error, text):
    assert with_error(value, error) == text


def test_deviation_is_in_units_of_the_error():
    assert Row("E", -1.0, 0.02, -1.05).deviation == pytest.approx(2.5)
    assert math.isnan(Row("E", -1.0, math.nan, -1.05).deviation)
    assert cells([Row("E", 1.0, 0.1)])[1] == ["E", "1.00(10)", "none known", ""]
    published = Row("θ", 0.35, 0.05, 0.3, source="Geiger 2019")
    assert cells([published])[1] == ["θ", "0.35(5)", "0.3 (Geiger 2019)", "+1.0"]


def test_what_was_published_at_another_size_is_shown_with_it_and_without_sigmas():
    small = Row("r_c", 1.96, 0.05, 3.0, source="Geiger 2019", elsewhere="N ~ 8000")
    assert math.isnan(small.deviation)
    assert cells([small])[1] == ["r_c", "1.96(5)", "3 (Geiger 2019, N ~ 8000)", ""]


def test_a_shift_is_taken_off_before_the_deviation_is_counted():
    shifted = Row("E", -1.0, 0.03, -1.25, shift=Shift(0.05, 0.04, "1/N fit"))
    assert shifted.deviation == pytest.approx((-1.0 + 1.25 - 0.05) / 0.05)
    table = cells([shifted, Row("C", 0.5, 0.1, 0.6)])
    assert table[0][3:] == ["finite N, dt", "deviation / σ"]
    assert table[1] == ["E", "-1.00(3)", "-1.25000", "0.05(4) (1/N fit)", "+4.0"]
    assert table[2][3:] == ["", "-1.0"]
    assert len(cells([Row("C", 0.5, 0.1, 0.6)])[0]) == 4
    assert "finite N, dt" in markdown([shifted])


def test_a_row_without_a_law_has_no_deviation():
    bad = Row("b", 0.3, 0.01, 0.2, note="χ²/dof = 19", holds=False)
    assert cells([bad])[1] == ["b, χ²/dof = 19, the law does not hold", "0.300(10)", "0.20000", ""]


def test_a_shift_belongs_to_an_exact_value():
    values = xarray.DataArray([1.0, 3.0], dims="replica")
    exact = xarray.DataArray(1.5)
    assert row("x", values, exact, Shift(0.5, 0.0)).deviation == pytest.approx(0)
    assert row("x", values, None, Shift(0.5, 0.0)).shift is None


def test_estimates_have_the_larger_of_scatter_and_own_error():
    values, small, large = (
        xarray.DataArray(x, dims="replica") for x in ([1.0, 3.0], [0.1, 0.1], [3.0, 4.0])
    )
    assert estimate("x", values, small).error == pytest.approx(1)
    assert estimate("x", values, large).error == pytest.approx(2.5)
    each = estimate("x", values, small, xarray.DataArray([1.0, 2.9], dims="replica"))
    assert (each.exact, each.error) == pytest.approx((1.95, 0.1 / 2**0.5))


def test_rows_put_the_exact_value_beside_the_measured_one():
    t = np.array([0.0, 1.0, 10.0, 100.0])
    energy = -np.array([0.0, 0.5, 0.9, 1.0])[:, None] + [[-0.01, 0.0, 0.01]]
    dataset = xarray.Dataset(
        {"energy": (("t", "replica"), energy), "energy_exact": ("t", -t / (1 + t))},
        coords={"t": t},
        attrs={"probe": "EnergyRelaxation", "extensive": 1},
    )
    table = list(rows(dataset))
    assert [row.quantity for row in table] == ["E(t = 1)/N", "E(t = 10)/N", "E(t = 100)/N"]
    assert table[0].measured == pytest.approx(-0.5)
    assert table[0].error == pytest.approx(0.01 / math.sqrt(3))
    assert table[0].exact == -0.5
    assert markdown(table).count("\n") == 4


def test_rows_of_an_aging_run_skip_what_was_not_reached():
    C = np.full((2, 3, 4), np.nan)
    C[0] = 0.9
    dataset = xarray.Dataset(
        {"C": (("tw", "t", "replica"), C)},
        coords={"tw": [1.0, 100.0], "t": [1.0, 2.0, 3.0]},
        attrs={"probe": "AgingCorrelation", "theory": "pspin"},
    )
    assert [row.quantity for row in rows(dataset)] == [f"C(tw = 1, t = {t})" for t in (1, 2, 3)]


def test_replicas_at_several_temperatures_get_a_row_each():
    t, R = np.geomspace(0.1, 100, 25), 6
    tau = np.repeat([8.0, 2.0], 3)
    wobble = np.tile([-0.01, 0.0, 0.01], 2)
    C = np.exp(-t[:, None] / tau) + wobble
    dataset = xarray.Dataset(
        {
            "C": (("tw", "t", "replica"), C[None]),
            "C_exact": (("tw", "t", "replica"), C[None] - wobble),
        },
        coords={"tw": [0.0], "t": t},
        attrs={"probe": "AgingCorrelation", "temperature": [0.7] * 3 + [1.0] * 3, "N": 100},
    )
    table = {row.quantity: row for row in rows(dataset)}
    assert table["τ(T = 0.7)"].measured == pytest.approx(8.0, rel=1e-2)
    assert table["τ(T = 1)"].exact == pytest.approx(2.0, rel=1e-2)
    (chi,) = [row for name, row in table.items() if name.startswith("largest χ₄(T = 1)")]
    assert chi.measured == pytest.approx(100 * 0.01**2)
    assert figures.draw(dataset.assign_attrs(replicas=R)) is not None


def test_a_decay_and_a_collapse_stand_beside_their_exact_exponents():
    rng, t = np.random.default_rng(0), np.geomspace(0.1, 200, 40)
    law = -1.0 + 0.4 * t**-0.5
    energy = law[:, None] + rng.normal(scale=0.001, size=(40, 8))
    decaying = xarray.Dataset(
        {"energy": (("t", "replica"), energy), "energy_exact": ("t", law)},
        coords={"t": t},
        attrs={"probe": "EnergyRelaxation", "temperature": 0.0},
    )
    (alpha,) = [row for row in rows(decaying) if row.quantity.startswith("α")]
    assert "t = 6.32 … 200, χ²/dof" in cells([alpha])[1][0]
    assert alpha.exact == pytest.approx(0.5, abs=1e-3)
    assert abs(alpha.deviation) < 4
    tw = np.array([0.0, 3.0, 30.0])
    MSD = np.log1p(t / np.maximum(tw, 0.1)[:, None] ** 0.6)
    noise = np.exp(rng.normal(scale=0.02, size=(3, 40, 8)))
    aging = xarray.Dataset(
        {"MSD": (("tw", "t", "replica"), MSD[..., None] * noise), "MSD_exact": (("tw", "t"), MSD)},
        coords={"tw": tw, "t": t},
        attrs={"probe": "AgingCorrelation", "temperature": 0.0},
    )
    (mu,) = [row for row in rows(aging) if row.quantity.startswith("μ")]
    assert mu.exact == pytest.approx(0.6, abs=1e-2)
    assert abs(mu.deviation) < 4


def test_a_plateau_of_the_displacement_is_named_with_its_waiting_time():
    rng, t = np.random.default_rng(0), np.geomspace(0.01, 1e4, 50)
    caged = 0.4 * t / (0.1 + t)
    MSD = np.stack([t**0.5, caged])
    noise = np.exp(rng.normal(scale=0.02, size=(2, 50, 8)))
    dataset = xarray.Dataset(
        {"MSD": (("tw", "t", "replica"), MSD[..., None] * noise), "MSD_exact": (("tw", "t"), MSD)},
        coords={"tw": [1.0, 100.0], "t": t},
        attrs={"probe": "AgingCorrelation", "temperature": 0.0},
    )
    (plateau,) = [row for row in rows(dataset) if row.quantity.startswith("plateau")]
    assert plateau.measured == pytest.approx(0.4, rel=0.03)
    assert plateau.exact == pytest.approx(0.4, rel=0.03)
    assert plateau.note.startswith("tw = 100, ")
