"""Panels in which several runs share the axes, and the colours that tell the runs apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lightning_landscape.results.comparison.charts import Chart, Curve, Frame, few
from lightning_landscape.results.registry import Records, guarded, kinds, look_up
from lightning_landscape.results.ticks import finish_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Overlay", "colors", "draw", "overlays"]

# Okabe and Ito, Color Universal Design (2008): told apart with any kind of colour vision. Their
# yellow and black are left out, since each is invisible on one of a light and a dark page.
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_VISIBLE = (0.2, 0.85)  # the part of viridis that is seen on a dark and on a light page
_MARKERS = "os^Dv*"  # by the label of a curve
_MOST_WITH_BARS = 12  # runs in a panel whose error bars can still be read


class Overlay(NamedTuple):
    """A panel of a comparison: its name, its axes, the system, and the curves of each run in it."""

    name: str
    frame: Frame
    system: str
    curves: dict[str, list[Curve]]


def overlays(named: Mapping[str, Records]) -> list[Overlay]:
    """Return the panels of runs, by name: one for each quantity, frame and system.

    Their order is that in which the kinds of records are registered. Runs whose charts of one
    name differ in frame or system, as an energy per spin and a loss, get panels side by side.

    Args:
        named: the records of each run.
    """
    found: dict[tuple[str, Frame, str], dict[str, list[Curve]]] = {}
    for name, run in named.items():
        for chart in _charts(run):
            found.setdefault((chart.name, chart.frame, chart.system), {})[name] = chart.curves
    order = list(dict.fromkeys(name for name, _, _ in found))
    panels = [Overlay(*key, curves) for key, curves in found.items()]
    return sorted(panels, key=lambda panel: order.index(panel.name))


def _charts(run: Records) -> Iterable[Chart]:
    """Return the charts of a run; of two with one name that of the kind registered first."""
    found: dict[str, Chart] = {}
    results = {kind: look_up(kind) for kind in run}  # which registers the kinds from outside
    for kind in kinds():
        if kind not in run or run[kind].sizes.get("t") == 0:
            continue
        with guarded(run[kind], "comparison"):
            for chart in results[kind].charts(run[kind], run):
                if chart.curves:
                    found.setdefault(chart.name, chart)
    return found.values()


def colors(names: Iterable[str]) -> dict[str, str]:
    """Return the colour of each run: of a palette for the colour-blind, or of a scale for many.

    >>> colors(["a", "b"])
    {'a': '#0072B2', 'b': '#D55E00'}
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    names = list(names)
    if len(names) <= len(_PALETTE):
        return dict(zip(names, _PALETTE, strict=False))
    scale = colormaps["viridis"](np.linspace(*_VISIBLE, len(names)))
    return dict(zip(names, map(to_hex, scale), strict=True))


def draw(panel: Overlay, colors: Mapping[str, str], axes: Axes) -> None:
    """Draw a panel; the artists of run k, in the order of ``colors``, have the gid ``run-k``.

    Points are measured, lines in the colour of a run are exact. Markers tell the curves of a run
    apart; of many runs only the last curve is drawn, without error bars.
    """
    many = len(panel.curves) > _MOST_WITH_BARS
    numbers = {name: k for k, name in enumerate(colors)}
    drawn = {name: few(curves, 1 if many else 3) for name, curves in panel.curves.items()}
    labels = dict.fromkeys(curve.label for curves in drawn.values() for curve in curves)
    markers = dict(zip(labels, cycle(_MARKERS), strict=False))
    for name, curves in drawn.items():
        look = {"color": colors[name], "gid": f"run-{numbers[name]}"}
        for curve in curves:
            _draw_curve(axes, curve, markers[curve.label], many, panel.frame, look)
    _set_frame(panel.frame, axes)
    shown = {} if many else {label: marker for label, marker in markers.items() if label}
    _legend(axes, shown if len(shown) <= len(_MARKERS) else {}, panel.frame)
    finish_axes(axes)


def _draw_curve(
    axes: Axes, curve: Curve, marker: str, many: bool, frame: Frame, look: dict[str, Any]
) -> None:
    x, y = np.asarray(curve.x, float), np.asarray(curve.y, float)
    shown = np.isfinite(x) & np.isfinite(y)
    for values, scale in ((x, frame.xscale), (y, frame.yscale)):
        if scale == "log":
            shown &= values > 0
    if many:
        axes.plot(x[shown], y[shown], linewidth=0.8, **look)
        return
    if curve.error is not None:
        error = np.nan_to_num(np.asarray(curve.error, float))[shown]
        low = np.minimum(error, 0.9 * y[shown]) if frame.yscale == "log" else error
        ends = np.stack([y[shown] - low, y[shown] + error])
        axes.vlines(x[shown], *ends, linewidth=1, **look)
    axes.plot(x[shown], y[shown], marker, markersize=3.5, **look)
    if curve.exact is not None:
        axes.plot(x[shown], np.asarray(curve.exact, float)[shown], linewidth=1, **look)


def _set_frame(frame: Frame, axes: Axes) -> None:
    for axis, scale in (("x", frame.xscale), ("y", frame.yscale)):
        options = {"linthresh": frame.linear_below} if scale == "symlog" else {}
        axes.set(**{f"{axis}label": getattr(frame, axis)})
        getattr(axes, f"set_{axis}scale")(scale, **options)
        if scale == "symlog":
            _thin_ticks(axes, axis, frame.linear_below)
    if frame.guide == "zero":
        axes.axhline(0, color="gray", linewidth=0.5)
    if frame.guide == "diagonal":
        ends = np.array(axes.get_xlim())
        axes.set(xlim=ends, ylim=axes.get_ylim())  # which the diagonal does not change
        axes.plot(ends, ends, color="gray", linestyle="--", linewidth=1)


def _thin_ticks(axes: Axes, axis: str, linear_below: float) -> None:
    """Label 0 and every second power of ten of a symlog axis, whose labels would overlap."""
    low, high = getattr(axes, f"get_{axis}lim")()
    top = np.floor(np.log10(max(abs(low), abs(high), linear_below)) + 1e-9)
    powers = 10.0 ** np.arange(top, np.log10(linear_below) - 1e-9, -2)
    ticks = np.array([*-powers, 0.0, *powers[::-1]])
    getattr(axes, f"set_{axis}ticks")(ticks[(ticks >= low) & (ticks <= high)])


def _legend(axes: Axes, labels: Mapping[str, str], frame: Frame) -> None:
    """Say which marker is which curve; the runs are named once, above all panels."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color="gray", marker=marker, linestyle="", markersize=4, label=label)
        for label, marker in labels.items()
    ]
    if frame.guide_label:
        handles.append(Line2D([], [], color="gray", linestyle="--", label=frame.guide_label))
    if handles:
        axes.legend(handles=handles)
