"""What TensorBoard gets beside scalars over the step."""

from functools import partial

import numpy as np
import pytest
import pytorch_lightning as pl
import xarray
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_landscape import LandscapeModule, Langevin, Quadratic
from lightning_landscape.callbacks import AgingCorrelation, probe
from lightning_landscape.results import figures, tensorboard


class Writer:
    def __init__(self):
        self.scalars, self.layouts = [], []

    def add_scalar(self, tag, value, step):
        self.scalars.append((tag, value, step))

    def add_custom_scalars(self, layout):
        self.layouts.append(layout)


def test_scalars_are_written_over_log_time_and_the_layout_once():
    writer = Writer()
    groups = {"aging": ["C", "MSD"], "energy": []}
    for t in (0.0, 10.0, 100.0):
        tensorboard.log(writer, {"energy/E": -t}, t, groups)
    tag = "energy over 1000 log10 t/E"  # time 0 has no logarithm
    assert writer.scalars == [(tag, -10.0, 1000), (tag, -100.0, 2000)]
    assert [list(layout) for layout in writer.layouts] == [["aging over 1000 log10 t"]]
    assert list(writer.layouts[0]["aging over 1000 log10 t"]) == ["C", "MSD"]


def test_functions_of_two_times_are_counted_from_the_waiting_time():
    ((tag, value, step),) = tensorboard.in_log_time({"aging/C/tw=1e+02": 0.5}, 101.0)
    assert (tag, value, step) == ("aging over 1000 log10 t/C/tw=1e+02", 0.5, 0)


def test_other_loggers_get_nothing():
    tensorboard.log(object(), {"a/b": 1.0}, 1.0, {"a": ["C"]})


def test_each_panel_is_an_image_with_a_name(tmp_path):
    images = {}

    class Pictures:
        experiment = property(lambda self: self)

        def add_image(self, tag, image, step, dataformats):
            images[tag] = image

    t = np.geomspace(0.1, 100, 12)
    MSD = t[None, :, None] * np.array([0.9, 1.1]) / np.array([1.0, 2.0])[:, None, None]
    dims = ("tw", "t", "replica")
    attributes = {"temperature": 0.1, "time_step": 0.1, "N": 5, "replicas": 2}
    dataset = xarray.Dataset(
        {"C": (dims, np.exp(-MSD)), "MSD": (dims, MSD)},
        {"tw": [1.0, 10.0], "t": t},
        attributes | {"probe": "AgingCorrelation"},
    )
    figures.publish(dataset, tmp_path / "probes" / "aging.nc", [Pictures()], step=3)
    assert list(images) == [f"AgingCorrelation/{name}" for name in ("C", "MSD", "collapse")]
    assert {image.shape for image in images.values()} == {(510, 660, 3)}
    whole = figures.draw(dataset)
    pixels = figures._pixels(whole)
    assert (pixels[-510:, 660 : 2 * 660] == images["AgingCorrelation/MSD"]).all()


@pytest.mark.parametrize("panels", [1, 4, 5, 9])
def test_panels_are_cut_where_they_are_drawn(panels):
    across = min(panels, 4)
    figure = figures.grid([None] * panels, (-(-panels // across), across), ["head"])
    cut = figures._cut(figures._pixels(figure), panels)
    assert [picture.shape for picture in cut] == [(510, 660, 3)] * panels


def test_a_run_has_them(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "_SECONDS_BETWEEN_WRITES", -1.0)  # a record at each measurement
    trainer = pl.Trainer(
        max_steps=40,
        accelerator="cpu",
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=pl.loggers.TensorBoardLogger(tmp_path),
        callbacks=[AgingCorrelation([1.0, 2.0], first=0.5, last=2.0, per_decade=4)],
    )
    dynamics = partial(Langevin, lr=0.1, temperature=0.5, seed=1)
    trainer.fit(LandscapeModule(Quadratic([1.0] * 5, replicas=4), dynamics))
    found = EventAccumulator(trainer.log_dir, {"images": 0, "tensors": 0}).Reload()
    steps = [image.step for image in found.Images("AgingCorrelation/MSD")]
    assert len(steps) == len(set(steps)) > 1 and max(steps) == 40
    tag = "aging_correlation over 1000 log10 t/C/tw=1"
    assert [scalar.step for scalar in found.Scalars(tag)][-1] == 301  # t = 2
    (layout,) = found.Tensors("custom_scalars__config__")
    assert b"aging_correlation" in layout.tensor_proto.string_val[0]
