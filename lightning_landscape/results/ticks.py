"""Ticks of panels: labels on logarithmic axes of any length, drawn fast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

__all__ = ["finish_axes"]

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_BELOW, _LEFT = 0.31, 0.6  # inches from an axis to the text that names it, in our margins


def finish_axes(axes: Axes) -> None:
    """Set ticks and labels of a panel whose data and scales are complete.

    A logarithmic axis that shows one power of ten, or none, gets labels between them. Axes whose
    ticks the panel has chosen itself keep them.
    """
    from matplotlib.ticker import FuncFormatter, LogFormatter, LogLocator

    for axis in (axes.xaxis, axes.yaxis):
        if type(axis.get_major_locator()) is LogLocator:
            _label_logarithmic(axis)
            _lighten_minor_ticks(axis)
        if isinstance(axis.get_major_formatter(), LogFormatter):
            axis.set_major_formatter(FuncFormatter(_power_of_ten))
    # to find the place of the names from the sizes of all labels takes a quarter of the drawing
    box = axes.get_window_extent()
    inch = axes.figure.dpi
    axes.xaxis.set_label_coords(0.5, -_BELOW * inch / box.height)
    axes.yaxis.set_label_coords(-_LEFT * inch / box.width, 0.5)


def _power_of_ten(x: float, position: int | None = None) -> str:
    """Return the label of a tick; superscripts are faster than formulas.

    >>> [_power_of_ten(x) for x in (0.001, -10, 0, 2)]
    ['10⁻³', '−10¹', '0', '2']
    """
    exponent = round(np.log10(abs(x))) if x else 0
    if x and np.isclose(abs(x), 10.0**exponent, rtol=1e-6):
        return f"{'−' if x < 0 else ''}10{str(exponent).translate(_SUPERSCRIPT)}"
    return f"{x:g}"


def _inside(axis: Axis, places: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = sorted(axis.get_view_interval())
    return places[(places >= low) & (places <= high)]


def _label_logarithmic(axis: Axis) -> None:
    """Label 1, 2 and 5 of each decade, or round numbers, where there are no two powers of ten."""
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    if len(_inside(axis, np.asarray(axis.get_majorticklocs()))) < 2:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _lighten_minor_ticks(axis: Axis) -> None:
    """Draw the minor ticks as one collection.

    As ticks, each of which consists of five artists, they take a third of the time of a figure.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.ticker import NullLocator

    axes = axis.axes
    at = _inside(axis, np.asarray(axis.get_minorticklocs()))
    ends = np.stack([np.stack([at, 0 * at], 1), np.stack([at, 0 * at - 0.012], 1)], 1)
    horizontal = axis is axes.xaxis
    ticks = LineCollection(
        list(ends if horizontal else ends[..., ::-1]),
        transform=axes.get_xaxis_transform() if horizontal else axes.get_yaxis_transform(),
        clip_on=False,
        colors="black",
        linewidths=0.6,
    )
    axes.add_collection(ticks, autolim=False)
    axis.set_minor_locator(NullLocator())
