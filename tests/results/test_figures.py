"""A figure is drawn once, and drawn again when the record is another one."""

import numpy as np
import pytest
import xarray

from lightning_landscape import records
from lightning_landscape.cli import report
from lightning_landscape.cli.report.runs import read
from lightning_landscape.results import figures
from lightning_landscape.results.axes import log_errorbar
from lightning_landscape.results.tick_artist import Ticks

ATTRIBUTES = {"probe": "EnergyRelaxation", "temperature": 0.0, "N": 5, "replicas": 2}


class Logger:
    """A logger that takes images, as that of TensorBoard does."""

    def __init__(self):
        self.experiment, self.images = self, []

    def add_image(self, tag, image, step, dataformats):
        self.images.append((tag, image, step, dataformats))


@pytest.fixture
def written(tmp_path):
    def write(level):
        energy = level + np.array([[1.0, 1.1], [0.5, 0.6]])
        values = {"energy": (("t", "replica"), energy)}
        dataset = xarray.Dataset(values, coords={"t": [1.0, 10.0]}, attrs=ATTRIBUTES)
        path = tmp_path / "probes" / "energy_relaxation.nc"
        records.write(dataset, path)
        return path, dataset

    return write


@pytest.fixture
def drawn(monkeypatch):
    """How often a figure was drawn."""
    calls, draw = [], figures.draw
    monkeypatch.setattr(figures, "draw", lambda dataset: calls.append(1) or draw(dataset))
    return calls


def test_logger_file_and_report_share_one_drawing(written, drawn, tmp_path):
    path, dataset = written(0.0)
    logger = Logger()
    figures.publish(dataset, path, [logger], step=7, final=True)
    ((tag, image, step, layout),) = logger.images
    assert (tag, step, layout) == ("EnergyRelaxation/relaxation", 7, "HWC")
    assert image.shape == (510, 660, 3)  # the panel, without the head of the figure
    png = tmp_path / "figures" / "energy_relaxation.png"
    assert figures.image(path, dataset) == png.read_bytes()
    figures.save_image(path, dataset)
    assert "base64" in report.page(read([tmp_path]))
    assert len(drawn) == 1


def test_another_record_is_drawn_again(written, drawn, tmp_path):
    path, dataset = written(0.0)
    figures.save_image(path, dataset)
    path, changed = written(3.0)
    png = tmp_path / "figures" / "energy_relaxation.png"
    before = png.read_bytes()
    fresh = figures.image(path, changed)
    assert fresh != before
    assert png.read_bytes() == before  # a report leaves the folders of runs as they are
    figures.save_image(path, changed)
    assert figures.image(path, changed) == png.read_bytes() != before
    assert len(drawn) == 3


def test_a_damaged_picture_is_drawn_again(written, drawn, tmp_path):
    path, dataset = written(0.0)
    figures.save_image(path, dataset)
    whole = (tmp_path / "figures" / "energy_relaxation.png").read_bytes()
    (tmp_path / "figures" / "energy_relaxation.png").write_bytes(b"no picture")
    drawn.clear()
    assert figures.image(path, dataset).startswith(whole[:8])
    assert len(drawn) == 1


def test_nothing_is_drawn_for_loggers_without_images(written, drawn, tmp_path):
    path, dataset = written(0.0)
    figures.publish(dataset, path, [type("Csv", (), {"experiment": object()})], 1, final=True)
    assert not drawn
    assert not (tmp_path / "figures").exists()


def test_a_record_of_nothing_has_no_figure(written):
    _, dataset = written(0.0)
    assert figures.draw(dataset.isel(t=[])) is None
    assert figures.draw(dataset.assign_attrs(probe="unknown")) is None


def test_bars_on_a_logarithmic_axis_stay_above_zero():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    log_errorbar(axes, [1, 2, 3], [1.0, 0.0, 2.0], [5.0, 1.0, 0.5])
    (bars,) = axes.containers
    assert bars.lines[0].get_xydata().tolist() == [[1, 1], [3, 2]]
    (segments,) = bars.lines[2]
    ends = [segment[:, 1].tolist() for segment in segments.get_segments()]
    assert ends[0] == pytest.approx([0.1, 6])
    assert ends[1] == pytest.approx([1.5, 2.5])


def drawn_axes(low, high):
    figure = figures.grid([lambda axes: axes.loglog([low, high], [1, 2])], (1, 1), ["head"])
    figures.png(figure)
    return figure.axes[0]


def picture(figure):
    return 255.0 - figures._pixels(figure).astype(float)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_ticks_are_drawn_as_matplotlib_draws_them(scale):
    """The same picture from the axes themselves, up to the lengths of ticks and rounding."""

    def panel(axes):
        axes.plot([1, 2, 500], [2e-7, 1e-7, 5e-7])
        axes.set(xscale=scale, xlabel="t", ylabel="E")

    figure = figures.grid([panel], (1, 1), ["head"])
    ours = picture(figure)
    (axes,) = figure.axes
    marks = [artist for artist in axes.artists if isinstance(artist, Ticks)]
    for artist in marks:
        artist.remove()
    without = picture(figure)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_visible(True)
        axis.set_tick_params(which="minor", length=2.5)
    theirs = picture(figure)
    assert len(marks) == 2
    assert np.abs(ours - theirs).sum() < 0.1 * np.abs(theirs - without).sum()


def test_a_cut_to_what_is_drawn_keeps_the_labels():
    figure = figures.grid([lambda axes: axes.plot([1, 2], [3, 4])], (1, 1), ["head"])
    box = figure.get_tightbbox()
    assert box.x0 == pytest.approx(0, abs=0.01) and box.y0 == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 1000, ["10⁻¹", "10⁰", "10¹", "10²", "10³"]),
        (0.5, 8, ["0.5", "1", "2", "5"]),  # one power of ten
        (0.3, 0.7, ["0.3", "0.35", "0.4", "0.45", "0.5", "0.55", "0.6", "0.65", "0.7"]),  # none
        (2.1, 3.4, ["2.2", "2.4", "2.6", "2.8", "3", "3.2", "3.4"]),  # one digit
    ],
)
def test_a_logarithmic_axis_of_any_length_has_labels(low, high, expected):
    axes = drawn_axes(low, high)
    first, last = axes.get_xlim()
    ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    assert [label.get_text() for x, label in ticks if first < x < last] == expected
