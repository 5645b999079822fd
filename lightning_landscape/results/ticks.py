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
# inches from an axis to the text that names it, in our margins, and of one more digit of a label
_BELOW, _LEFT, _DIGIT = 0.31, 0.6, 0.07


def finish_axes(axes: Axes) -> None:
    """Set ticks and labels of a panel whose data and scales are complete.

    A logarithmic axis that shows one power of ten, or none, gets labels between them. Axes whose
    ticks the panel has chosen itself keep them, and those that are switched off get none.
    """
    if not axes.axison:
        return
    from matplotlib.ticker import FuncFormatter, LogFormatter, LogLocator

    from lightning_landscape.results.tick_artist import Ticks

    for axis in (axes.xaxis, axes.yaxis):
        if type(axis.get_major_locator()) is LogLocator:
            _label_logarithmic(axis)
        if isinstance(axis.get_major_formatter(), LogFormatter):
            axis.set_major_formatter(FuncFormatter(_power_of_ten))
    # to find the place of the names from the sizes of all labels takes a quarter of the drawing
    box = axes.get_window_extent()
    inch = axes.figure.dpi
    axes.xaxis.set_label_coords(0.5, -_BELOW * inch / box.height)
    left = _LEFT + _DIGIT * max(0, _digits(axes.yaxis) - 5)
    axes.yaxis.set_label_coords(-left * inch / box.width, 0.5)
    for axis in (axes.xaxis, axes.yaxis):
        axes.add_artist(Ticks(axis))


def _digits(axis: Axis) -> int:
    """Return the length of the longest label."""
    places = _inside(axis, np.asarray(axis.get_majorticklocs()))
    return max(map(len, axis.get_major_formatter().format_ticks(list(places))), default=0)


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
