import numpy as np
import pytest
import xarray

from lightning_landscape.results import figures
from lightning_landscape.results.summary import rows

SYSTEM = {"temperature": 0.5, "N": 10, "replicas": 2, "time_step": 0.1}


def record(kind, variables, coords=None, **attributes):
    """A record as a probe leaves it, at one temperature unless told otherwise."""
    return xarray.Dataset(variables, coords=coords, attrs={"probe": kind} | SYSTEM | attributes)


def table(dataset):
    return {row.quantity: row for row in rows(dataset)}


def curves(axes):
    """The points of each error bar of a panel, in the order in which they were drawn."""
    return [container.lines[0].get_xydata() for container in axes.containers]


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.fixture
def panels():
    """``panels(dataset)``: the drawn axes, rendered too, since a bad axis fails only then."""

    def draw(dataset):
        figure = figures.draw(dataset)
        assert figures.png(figure).startswith(b"\x89PNG")
        return figure.axes

    return draw


def replicas(mean, spread):
    """Two replicas with this mean; the standard error of the mean is ``spread``."""
    mean = np.asarray(mean, float)
    return np.stack([mean - spread, mean + spread], -1)
