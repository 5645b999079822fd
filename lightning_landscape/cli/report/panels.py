"""The panels of a report as SVG, with a class for each run by which a script shows and hides it."""

from __future__ import annotations

import html
import io
import re

from lightning_landscape.cli.report.runs import Run
from lightning_landscape.results import comparison
from lightning_landscape.results.comparison import Overlay
from lightning_landscape.results.figures import grid
from lightning_landscape.results.registry import guarded

__all__ = ["legend", "same_axes"]

_REFERRED = re.compile(r"(?:url\(#|href=\"#)([^)\"]+)")
_ID = re.compile(r' id="([^"]+)"')


def same_axes(runs: list[Run]) -> str:
    """Return the section in which all runs share the axes; empty for one run."""
    if len(runs) < 2:
        return ""
    colors = comparison.colors(run.name for run in runs)
    found = comparison.overlays({run.name: run.datasets for run in runs})
    panels = "".join(_panel(panel, colors, found, runs) for panel in found)
    return f"<h2>On the same axes</h2>{legend(runs, colors)}<div class='panels'>{panels}</div>"


def legend(runs: list[Run], colors: dict[str, str]) -> str:
    """Return the list of runs with their colours, and boxes that show and hide them."""
    boxes = "".join(
        f"<label data-run='{k}'><input type='checkbox' checked>"
        f"<span class='swatch' style='background:{colors[run.name]}'></span>"
        f"<span class='path'>{html.escape(run.name)}</span></label>"
        for k, run in enumerate(runs)
    )
    return (
        f"<div class='legend'>{boxes}</div>"
        "<p class='note controls'><button data-all='1'>all</button> "
        "<button data-all=''>none</button> Point at a run to bring it out. In a panel: drag to "
        "zoom in, double-click to zoom out, click to enlarge.</p>"
    )


def _panel(panel: Overlay, colors: dict[str, str], found: list[Overlay], runs: list[Run]) -> str:
    several = sum(other.name == panel.name for other in found) > 1
    title = f"{panel.name}: {panel.system}" if several and panel.system else panel.name
    datasets = next(run.datasets for run in runs if run.name in panel.curves)
    with guarded(next(iter(datasets.values())), "comparison"):
        figure = grid([lambda axes: comparison.draw(panel, colors, axes)], (1, 1), [])
        return f"<figure><figcaption>{html.escape(title)}</figcaption>{_svg(figure)}</figure>"
    return ""


def _svg(figure: object) -> str:
    """Return a figure as SVG for a page: without ids of its own, in the colours of the page."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    # texts stay texts: smaller, and in the fonts of the page
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.patch.set_visible(False)  # type: ignore[attr-defined]
        for axes in figure.axes:  # type: ignore[attr-defined]
            axes.patch.set_alpha(0.0)
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})  # type: ignore[arg-type]
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r' id="run-(\d+)"', r' class="run run-\1"', text)
    referred = set(_REFERRED.findall(text))
    text = _ID.sub(lambda match: match[0] if match[1] in referred else "", text)
    text = re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', r'<svg viewBox="\1">', text, count=1)
    return text.replace("#000000", "currentColor").replace("xlink:href", "href")
