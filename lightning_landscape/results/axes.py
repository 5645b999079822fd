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

__all__ = ["log_errorbar", "logarithmic_time", "points", "shades"]

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


def shades(n: int, colormap: str = "viridis") -> NDArray[np.float64]:
    """Return ``n`` colours, shape (n, 4), from dark to light."""
    from matplotlib import colormaps

    return np.asarray(colormaps[colormap](np.linspace(0, _LIGHTEST[colormap], n)))
