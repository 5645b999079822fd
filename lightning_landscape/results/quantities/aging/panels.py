"""Panels of functions of two times, one curve for each waiting time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.results.axes import points, shades
from lightning_landscape.results.registry import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray
    from xarray import Dataset

__all__ = ["DELTA", "two_times", "waiting_times"]

DELTA = r"$\Delta(t_w, t_w + t)$"


def two_times(name: str, label: str, scale: str) -> Panel:
    """Return the panel of a function of two times, one curve for each waiting time."""

    def panel(dataset: Dataset, axes: Axes) -> None:
        reached = dataset.dropna("tw", how="all", subset=["C"])
        for curve, color in waiting_times(reached):
            points(axes, curve["t"], curve[name], color=color, label=f"{float(curve['tw']):g}")
            if f"{name}_exact" in curve:
                axes.plot(curve["t"], curve[f"{name}_exact"], color=color, linewidth=1)
        axes.set(xscale="log", yscale=scale, xlabel="t", ylabel=label)
        if reached.sizes["tw"]:
            axes.legend(title="$t_w$")

    panel.__name__ = name
    return panel


def waiting_times(dataset: Dataset) -> Iterator[tuple[Dataset, NDArray[np.float64]]]:
    """Yield the curve of each waiting time with its colour."""
    colors = shades(dataset.sizes["tw"])
    for k, color in enumerate(colors):
        yield dataset.isel(tw=k), color
