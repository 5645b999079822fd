"""Points, colours and axes of the panels."""

import numpy as np
import pytest
import xarray
from matplotlib.figure import Figure

from lightning_landscape.results.axes import logarithmic_time, points, shades


@pytest.fixture
def axes():
    return Figure().subplots()


def test_points_are_means_over_replicas_with_their_standard_errors(axes):
    values = xarray.DataArray([[1.0, 3.0], [2.0, 2.0]], dims=("t", "replica"))
    bars = points(axes, [1, 2], values, label="measured")
    assert bars.lines[0].get_xydata().tolist() == [[1, 2], [2, 2]]
    ends = [segment[:, 1].tolist() for segment in bars.lines[2][0].get_segments()]
    assert ends == [pytest.approx([1, 3]), [2, 2]]  # sd sqrt(2), over sqrt(2)
    assert bars.get_label() == "measured"


def test_one_replica_has_a_point_without_a_bar(axes):
    bars = points(axes, [1], xarray.DataArray([[4.0]], dims=("t", "replica")))
    assert bars.lines[0].get_ydata().tolist() == [4]
    assert bars.lines[2][0].get_segments()[0].size == 0


def test_time_zero_stays_on_a_logarithmic_axis(axes):
    logarithmic_time(xarray.Dataset(coords={"t": [0.0, 0.5, 10.0]}), axes)
    assert axes.get_xscale() == "symlog" and axes.get_xlim()[0] == 0
    assert axes.xaxis.get_transform().linthresh == 0.5


def test_a_record_of_time_zero_alone_has_a_linear_axis(axes):
    logarithmic_time(xarray.Dataset(coords={"t": [0.0]}), axes)
    assert axes.get_xscale() == "linear"


@pytest.mark.parametrize("colormap", ["viridis", "plasma"])
def test_shades_are_distinct_and_get_lighter_but_not_too_light(colormap):
    colors = shades(5, colormap)
    light = colors[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) > 0).all() and light[-1] < 0.9
    assert shades(1, colormap).shape == (1, 4) and shades(0).shape == (0, 4)
