"""What panels share: points with error bars, logarithmic axes, colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_landscape.observables.statistics import mean_and_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import ErrorbarContainer
    from xarray import DataArray, Dataset

__all__ = ["lighten_minor_ticks", "log_errorbar", "logarithmic_time", "points", "shades"]

_LABELLED_BELOW = 1.0  # decades, up to which minor ticks of a logarithmic axis have labels

_LIGHTEST = {"viridis": 0.9, "plasma": 0.85}  # what is lighter is hard to see on white


def points(axes: Axes, x: ArrayLike, values: DataArray, **look: Any) -> ErrorbarContainer:
    """Draw means over replicas with their standard errors against ``x``."""
    mean, error = mean_and_error(values)
    return axes.errorbar(x, mean, error, **({"fmt": "o"} | look))


def log_errorbar(
    axes: Axes, x: ArrayLike, y: ArrayLike, error: ArrayLike, **look: Any
) -> ErrorbarContainer:
    """Draw the points with y > 0 for a logarithmic axis, which has no zero.

    A bar that would reach zero or below ends at a tenth of its point.
    """
    x, y, error = (np.asarray(values, float) for values in (x, y, error))
    shown = y > 0
    bars = np.stack([np.minimum(error, 0.9 * y), error])[:, shown]
    return axes.errorbar(x[shown], y[shown], bars, **({"fmt": "o"} | look))


def logarithmic_time(dataset: Dataset, axes: Axes) -> None:
    """Make the x axis logarithmic and keep time 0 on it; a record of time 0 alone stays linear."""
    later = dataset["t"].to_numpy()
    if (later > 0).any():
        axes.set_xscale("symlog", linthresh=later[later > 0].min())
        axes.set_xlim(left=0)


def lighten_minor_ticks(axes: Axes) -> None:
    """Draw the minor ticks of each logarithmic axis, where they have no labels, as one collection.

    As ticks, each of which consists of five artists, they take a third of the time of a figure.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.ticker import NullLocator

    for axis, transform in (
        (axes.xaxis, axes.get_xaxis_transform()),
        (axes.yaxis, axes.get_yaxis_transform()),
    ):
        low, high = axis.get_view_interval()
        if axis.get_scale() != "log" or np.log10(high / low) <= _LABELLED_BELOW:
            continue
        at = np.asarray(axis.get_minorticklocs())
        at = at[(at >= low) & (at <= high)]
        ends = np.stack([np.stack([at, 0 * at], 1), np.stack([at, 0 * at - 0.012], 1)], 1)
        segments = ends if axis is axes.xaxis else ends[..., ::-1]
        ticks = LineCollection(
            list(segments), transform=transform, clip_on=False, colors="black", linewidths=0.6
        )
        axes.add_collection(ticks, autolim=False)
        axis.set_minor_locator(NullLocator())


def shades(n: int, colormap: str = "viridis") -> NDArray[np.float64]:
    """Return ``n`` colours, shape (n, 4), from dark to light."""
    from matplotlib import colormaps

    return np.asarray(colormaps[colormap](np.linspace(0, _LIGHTEST[colormap], n)))
