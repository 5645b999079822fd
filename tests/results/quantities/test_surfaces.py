"""Rows and panels of loss surfaces and of paths."""

import numpy as np
import pytest
from xarray import Dataset

from lightning_landscape.results.figures import draw
from lightning_landscape.results.registry import look_up


def bowl(**more):
    """L = 1 + a^2 + 3 b^2 on a grid, directions of lengths 2 and 1, eigenvalues 0.5 and 6."""
    alpha, beta = np.linspace(-1, 1, 5), np.linspace(-2, 2, 9)
    loss = 1 + alpha[:, None] ** 2 + 3 * beta**2
    tables = {
        "loss": (("t", "alpha", "beta"), loss[None]),
        "length": (("t", "direction"), [[2.0, 1.0]]),
        "eigenvalue": (("t", "direction"), [[0.5, 6.0]]),
    } | more
    attributes = {"probe": "LossSurface", "N": 7, "directions": "hessian"}
    return Dataset(tables, {"t": [3.0], "alpha": alpha, "beta": beta}, attributes)


def rows(dataset):
    return {row.quantity: row for row in look_up(dataset.attrs["probe"]).rows(dataset)}


def test_curvatures_are_per_length_squared_and_stand_beside_the_eigenvalues():
    found = rows(bowl())
    assert found["loss at the weights"].measured == 1
    for name, value in (("α", 0.5), ("β", 6.0)):
        row = found[f"curvature along {name}"]
        assert row.measured == pytest.approx(value) and row.exact == value
    assert found["lowest loss on the surface"].note == "at α = 0, β = 0"


def test_the_panels_show_contours_profiles_and_a_view():
    dataset = bowl(path=(("point", "direction"), [[1.0, -1.0], [0.0, 0.0]]))
    figure = draw(dataset.assign(explained=(("t", "direction"), [[0.9, 0.1]])))
    contours = figure.axes[0]
    (profiles,) = (axes for axes in figure.axes if axes.get_ylabel() == "loss")
    assert "90%" in contours.get_xlabel()
    assert contours.lines[0].get_xydata().tolist() == [[1, -1], [0, 0]]
    assert profiles.lines[0].get_ydata() == pytest.approx([2, 1.25, 1, 1.25, 2])
    assert [axes.get_visible() for axes in figure.axes if axes.name != "3d"].count(False) == 1
    assert any(axes.name == "3d" for axes in figure.axes)


def test_a_line_has_a_profile_for_each_time():
    dataset = Dataset(
        {"loss": (("t", "alpha"), [[1.0, 0.0, 1.0], [2.0, 0.5, 2.0]])},
        {"t": [0.0, 1.0], "alpha": [-1.0, 0.0, 1.0]},
        {"probe": "LossSurface", "N": 2},
    )
    (axes,) = draw(dataset).axes
    assert [line.get_label() for line in axes.lines] == ["t = 0", "t = 1"]


def test_a_run_without_a_surface_has_nothing_to_show():
    dataset = Dataset({}, {"t": np.empty(0)}, {"probe": "LossSurface", "N": 2})
    assert rows(dataset) == {} and draw(dataset) is None


def test_the_paths_between_two_checkpoints():
    dataset = Dataset(
        {
            "line_loss": ("point", [0.1, 0.9, 0.2]),
            "line_length": ("point", [0.0, 1.0, 2.0]),
            "band_loss": ("image", [0.1, 0.3, 0.2]),
            "band_length": ("image", [0.0, 2.0, 4.0]),
        },
        attrs={
            "probe": "LossPath", "N": 2, "line_barrier": 0.7, "line_above_line": 0.75,
            "band_barrier": 0.1, "band_above_line": 0.15,
        },
    )  # fmt: skip
    found = rows(dataset)
    assert found["loss at the second end"].measured == 0.2
    assert found["barrier along the straight line"].measured == 0.7
    assert found["barrier along the elastic band"].measured == 0.1
    (axes,) = draw(dataset).axes
    assert all(line.get_xdata()[-1] == 1 for line in axes.lines)
