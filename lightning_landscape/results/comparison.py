"""Runs side by side: one figure and one table in which every column is a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lightning_landscape.results.figures import grid
from lightning_landscape.results.registry import Panel, Records, guarded, kinds, look_up
from lightning_landscape.results.system import title
from lightning_landscape.results.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from xarray import Dataset

__all__ = ["draw", "table"]


def draw(named: dict[str, Records]) -> Figure | None:
    """Return the figure of runs, by name, with a column for each; None if there is nothing to draw.

    The rows are the named panels that the results of their records offer, see `Result.compared`.
    Where two records of a run offer a panel of one name, the kind that was registered first
    draws it. Each record is drawn as its run is: a run without a row's panel has an empty place.
    """
    columns = [_panels(run) for run in named.values()]
    order = {kind: k for k, kind in enumerate(kinds())}
    found = [(order[kind], name) for column in columns for name, (kind, _, _) in column.items()]
    names = dict.fromkeys(name for _, name in sorted(found, key=lambda pair: pair[0]))
    if not names:
        return None
    panels = [_bound(column.get(name)) for name in names for column in columns]
    heads = [f"{name}\n{title(next(iter(run.values())))}" for name, run in named.items()]
    return grid(panels, (len(names), len(columns)), heads)


def _panels(run: Records) -> dict[str, tuple[str, Panel, Dataset]]:
    """Return the panels of a run by name, each with the kind and the record that it is of."""
    found: dict[str, tuple[str, Panel, Dataset]] = {}
    results = {kind: look_up(kind) for kind in run}  # which registers the kinds from outside
    for kind in kinds():
        if kind not in run or run[kind].sizes.get("t") == 0:
            continue
        with guarded(run[kind], "comparison"):
            for name, panel in results[kind].compared(run[kind], run).items():
                found.setdefault(name, (kind, panel, run[kind]))
    return found


def _bound(found: tuple[str, Panel, Dataset] | None) -> Callable[[Axes], None] | None:
    if found is None:
        return None
    _, panel, dataset = found

    def draw_panel(axes: Axes) -> None:
        with guarded(dataset, "comparison"):
            panel(dataset, axes)

    return draw_panel


def table(tables: list[list[Row]]) -> list[tuple[str, list[Row | None]]]:
    """Return the quantities that at least two of the tables have, with the row of each."""
    found = [{row.quantity: row for row in of_run} for of_run in tables]
    quantities = dict.fromkeys(quantity for of_run in found for quantity in of_run)
    lines = [(quantity, [of_run.get(quantity) for of_run in found]) for quantity in quantities]
    return [(quantity, cells) for quantity, cells in lines if sum(c is not None for c in cells) > 1]
