"""Figures of records, drawn from the record alone, once: for the loggers, as PNG, for a report."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lightning_landscape import __version__, records
from lightning_landscape.results.registry import kind_of, look_up
from lightning_landscape.results.system import title
from lightning_landscape.results.ticks import finish_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from xarray import Dataset

__all__ = ["draw", "grid", "image", "panel_names", "png", "publish", "save_image"]

Pixels = NDArray[np.uint8]

_MOST_ACROSS = 4  # panels in a row
# A panel and its margins in inches, and the space above all. Fixed margins fit our labels; to
# measure all texts first, as layout engines do, takes longer than to draw them.
_WIDTH, _HEIGHT = 4.4, 3.4
_LEFT, _RIGHT, _BOTTOM, _TOP, _HEAD = 0.85, 0.15, 0.55, 0.15, 0.5
_DPI = 150
_KEY = "Record"  # of the text in a PNG that says which record it shows
_STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "legend.fontsize": "small",
    "legend.frameon": False,
    "lines.markersize": 3,
}


def draw(dataset: Dataset) -> Figure | None:
    """Return the figure of a record, or None if there is nothing to draw.

    Points are means over replicas with standard errors; lines are exact.
    """
    if dataset.sizes.get("t") == 0:  # stopped before the first measurement
        return None
    panels = look_up(kind_of(dataset)).panels(dataset)
    if not panels:
        return None
    exact = any(str(name).endswith("_exact") for name in dataset)
    legend = "\npoints: measured, lines: exact for N = ∞" if exact else ""
    head = title(dataset) + legend
    return grid([_bound(panel, dataset) for panel in panels], _shape(len(panels)), [head])


def _shape(panels: int) -> tuple[int, int]:
    """Return rows and columns, with as few empty places as there can be.

    >>> _shape(3), _shape(5), _shape(8)
    ((1, 3), (2, 3), (2, 4))
    """
    rows = -(-panels // _MOST_ACROSS)
    return rows, -(-panels // rows)


def _bound(panel: Callable[[Dataset, Axes], None], dataset: Dataset) -> Callable[[Axes], None]:
    return lambda axes: panel(dataset, axes)


def grid(
    panels: Sequence[Callable[[Axes], None] | None], shape: tuple[int, int], heads: Sequence[str]
) -> Figure:
    """Return a figure of panels in rows and columns, with heads evenly spread above them.

    Args:
        panels: one for each place, row by row, the last ones may be missing; each draws into its
            axes, and None leaves its place empty.
        shape: rows and columns.
        heads: texts of at most two lines, one for the whole figure or one for each column; none
            takes no room.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    rows, columns = shape
    width, height = _WIDTH * columns, _HEIGHT * rows + (_HEAD if heads else _TOP)
    inside = (_WIDTH - _LEFT - _RIGHT) / width, (_HEIGHT - _BOTTOM - _TOP) / height
    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), dpi=_DPI)
        for k, panel in enumerate(panels):
            if panel is not None:
                left = _WIDTH * (k % columns) + _LEFT
                bottom = _HEIGHT * (rows - 1 - k // columns) + _BOTTOM
                axes = figure.add_axes((left / width, bottom / height, *inside))
                panel(axes)
                finish_axes(axes)
        for k, head in enumerate(heads):
            x, y = (k + 0.5) / len(heads), 1 - 0.08 / height
            figure.text(x, y, head, ha="center", va="top", fontsize="medium")
    return figure


def publish(
    dataset: Dataset, record: Path, loggers: Iterable[Any], step: int, final: bool = False
) -> None:
    """Draw a record once and give the image of each panel to every logger that takes images.

    Their tags are ``<kind>/<panel>``. The whole figure of the final record also becomes
    ``figures/<name>.png`` of the run, from which `image` reads it. Nothing is drawn where no logger
    takes images.
    """
    takers = [x.experiment for x in loggers if hasattr(x.experiment, "add_image")]
    figure = draw(dataset) if takers else None
    if figure is None:
        return
    pixels = _pixels(figure)
    names = panel_names(look_up(kind_of(dataset)).panels(dataset))
    for name, picture in zip(names, _cut(pixels, len(names)), strict=True):
        for experiment in takers:
            experiment.add_image(f"{kind_of(dataset)}/{name}", picture, step, dataformats="HWC")
    if final:
        _save(pixels, record)


def panel_names(panels: Sequence[Callable[..., None]]) -> list[str]:
    """Return the names of panels, those of their functions; equal ones with a number.

    >>> panel_names([len, len, sum])
    ['len', 'len 2', 'sum']
    """
    names: list[str] = []
    for panel in panels:
        name = getattr(panel, "__name__", type(panel).__name__).strip("_").replace("_", " ")
        before = sum(other == name or other.startswith(f"{name} ") for other in names)
        names.append(f"{name} {before + 1}" if before else name)
    return names


def _cut(pixels: Pixels, panels: int) -> list[Pixels]:
    """Return the picture of each panel, cut from that of the figure."""
    width, height = round(_WIDTH * _DPI), round(_HEIGHT * _DPI)
    rows, across = _shape(panels)
    below = pixels[pixels.shape[0] - rows * height :]  # the head
    places = [(k // across * height, k % across * width) for k in range(panels)]
    return [below[y : y + height, x : x + width] for y, x in places]


def image(record: Path, dataset: Dataset) -> bytes | None:
    """Return the PNG of a record, or None if there is nothing to draw.

    It is read from ``figures/<name>.png`` of the run if that shows this very record, and drawn
    otherwise.

    Args:
        record: the file ``<run>/probes/<name>.nc``.
        dataset: what it holds.
    """
    if _is_current(record):
        return _path(record).read_bytes()
    figure = draw(dataset)
    return None if figure is None else png(figure)


def save_image(record: Path, dataset: Dataset) -> None:
    """Draw a record into ``figures/<name>.png`` of its run, unless that shows it already."""
    if not _is_current(record) and (figure := draw(dataset)) is not None:
        _save(_pixels(figure), record)


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG."""
    return _encode(_pixels(figure), {})


def _path(record: Path) -> Path:
    return record.parents[1] / "figures" / f"{record.stem}.png"


def _digest(record: Path) -> str:
    return hashlib.sha256(record.read_bytes() + __version__.encode()).hexdigest()


def _is_current(record: Path) -> bool:
    path = _path(record)
    return path.is_file() and _text(path).get(_KEY) == _digest(record)


def _save(pixels: Pixels, record: Path) -> None:
    content = _encode(pixels, {_KEY: _digest(record)})
    records.write_atomically(_path(record), lambda path: path.write_bytes(content))


def _pixels(figure: Figure) -> Pixels:
    """Return the rendered figure, (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.get_renderer().mathtext_parser = _mathtext_parser()
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


@cache
def _mathtext_parser() -> Any:
    """Return what sets formulas, and keeps them: most are the same in all figures."""
    from matplotlib.backends.backend_agg import RendererAgg

    return RendererAgg(1, 1, _DPI).mathtext_parser


def _encode(pixels: Pixels, text: dict[str, str]) -> bytes:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    information, buffer = PngInfo(), io.BytesIO()
    for key, value in text.items():
        information.add_text(key, value)
    # level 3 takes a third of the time of the default and a tenth more room
    Image.fromarray(pixels).save(buffer, format="png", pnginfo=information, compress_level=3)
    return buffer.getvalue()


def _text(path: Path) -> dict[str, str]:
    """Return the text in a PNG; empty if the file is none."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return dict(getattr(picture, "text", {}))
    except OSError:
        return {}
