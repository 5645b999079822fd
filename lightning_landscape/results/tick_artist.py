"""Ticks of an axis as one artist. Importing this module imports matplotlib."""

from __future__ import annotations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axis import Axis
from matplotlib.backend_bases import RendererBase
from matplotlib.collections import LineCollection
from matplotlib.text import Text
from matplotlib.transforms import Bbox, Transform
from numpy.typing import NDArray

__all__ = ["Ticks"]

Places = NDArray[np.float64]

_LEFT, _BELOW = 0.85, 0.55  # inches that labels and name of an axis take at most
_OFFSET = 0.31, 0.04  # inches to the text that all labels share: below the axes, above them
_MAJOR, _MINOR, _PAD = 3.5, 2.5, 7.0  # points: the lengths of ticks, from the axis to a label
_GRID, _BLACK = (0.69, 0.69, 0.69, 0.25), (0.0, 0.0, 0.0, 1.0)


class Ticks(Artist):
    """Ticks, labels, grid and name of an axis, drawn in its place.

    Matplotlib makes five artists for each tick, which takes most of the time of a figure. This is
    one collection of lines, and one text that moves from tick to tick.

    Args:
        axis: of axes that are complete but for their ticks; it is made invisible.
    """

    def __init__(self, axis: Axis) -> None:
        super().__init__()
        self._of, self._horizontal = axis, axis is axis.axes.xaxis
        self._has_grid = bool(axis.get_tick_params().get("gridOn"))
        self.set(zorder=axis.get_zorder(), clip_on=False)
        axis.set_visible(False)

    def draw(self, renderer: RendererBase) -> None:
        """Draw them for the limits, locators and formatters that the axis has now."""
        axis, formatter = self._of, self._of.get_major_formatter()
        major = np.asarray(axis.get_majorticklocs(), float)
        labels = formatter.format_ticks(major.tolist())  # of all: a label may depend on its number
        shown = self._shown(major)
        minor = np.asarray(axis.get_minorticklocs(), float)
        self._lines(major[shown], minor[self._shown(minor)]).draw(renderer)
        text = self._moving_text()
        for x, label in zip(major[shown], np.asarray(labels, object)[shown], strict=True):
            text.set(text=label, **{"x" if self._horizontal else "y": x})
            text.draw(renderer)
        axis.label.draw(renderer)
        self._draw_offset(formatter.get_offset(), renderer)

    def get_tightbbox(self, renderer: RendererBase | None = None) -> Bbox:
        """Return the box of the axes with the margins that hold all labels."""
        box, inch = self._of.axes.bbox, self._inch
        return Bbox([[box.x0 - _LEFT * inch, box.y0 - _BELOW * inch], [box.x1, box.y1]])

    @property
    def _inch(self) -> float:
        return float(self._of.axes.figure.dpi)

    @property
    def _along(self) -> Transform:
        """Data along the axis, and in the other direction 0 on the axis and 1 at the far side."""
        axes = self._of.axes
        return axes.get_xaxis_transform() if self._horizontal else axes.get_yaxis_transform()

    def _outside(self, points: float) -> float:
        """Return where a distance below, or left of, the axis ends in those units."""
        box = self._of.axes.bbox
        return -points / 72 * self._inch / (box.height if self._horizontal else box.width)

    def _shown(self, places: Places) -> NDArray[np.bool_]:
        low, high = sorted(self._of.get_view_interval())
        tiny = 1e-9 * (high - low)
        return (places >= low - tiny) & (places <= high + tiny)

    def _lines(self, major: Places, minor: Places) -> LineCollection:
        grid = major if self._has_grid else major[:0]
        kinds = [(grid, 1.0), (major, self._outside(_MAJOR)), (minor, self._outside(_MINOR))]
        ends = [np.stack([[x, 0 * x], [x, 0 * x + end]]).transpose(2, 0, 1) for x, end in kinds]
        segments, counts = np.concatenate(ends), [len(x) for x, _ in kinds]
        lines = LineCollection(
            list(segments if self._horizontal else segments[..., ::-1]),
            transform=self._along,
            colors=np.repeat([_GRID, _BLACK, _BLACK], counts, 0),
            linewidths=np.repeat([0.5, 0.8, 0.6], counts),
        )
        lines.axes = self._of.axes
        lines.set_figure(self._of.axes.figure)
        return lines

    def _moving_text(self) -> Text:
        pad = self._outside(_PAD)
        text = Text(0, pad, ha="center", va="top", transform=self._along)
        if not self._horizontal:
            text = Text(pad, 0, ha="right", va="center_baseline", transform=self._along)
        text.axes = self._of.axes
        text.set_figure(self._of.axes.figure)
        return text

    def _draw_offset(self, offset: str, renderer: RendererBase) -> None:
        """Draw what all labels share, as ``1e-5``."""
        if offset:
            text, box, (below, above) = self._of.offsetText, self._of.axes.bbox, _OFFSET
            text.set_text(offset)
            text.set_y(
                box.y0 - below * self._inch if self._horizontal else box.y1 + above * self._inch
            )
            text.draw(renderer)
