"""The page of a report: runs on the same axes, the verdict, the numbers, and each run."""

from __future__ import annotations

import base64
import html
from importlib.resources import files
from typing import TYPE_CHECKING

from lightning_landscape import __version__
from lightning_landscape.cli.report.agreement import as_html
from lightning_landscape.cli.report.panels import same_axes
from lightning_landscape.cli.report.runs import Record, Run, configuration, differences
from lightning_landscape.cli.report.standing import standing
from lightning_landscape.results import comparison
from lightning_landscape.results.comparison.verdict import MARGIN
from lightning_landscape.results.figures import image
from lightning_landscape.results.registry import guarded
from lightning_landscape.results.system import title
from lightning_landscape.results.table import Row, cells

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["page"]

_MOST_FIGURES = 30  # runs whose own figures are in the page, which would grow too large
_MOST_OPEN = 3  # runs whose own sections are unfolded
_MOST_COLUMNS = 12  # runs in the table of numbers


def page(runs: list[Run], margin: float = MARGIN) -> str:
    """Return the HTML page of runs.

    Args:
        runs: as `runs.read` returns them.
        margin: difference below which runs agree, see `comparison.verdict`.
    """
    folder = files("lightning_landscape.cli.report")
    style, script = (folder.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    body = (
        f"{_note()}{standing(runs)}{same_axes(runs)}{as_html(runs, margin)}{_numbers(runs)}"
        f"{_differences(runs)}"
        f"{''.join(_section(kind, runs) for kind in _kinds(runs))}{_configurations(runs)}"
    )
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<meta name='viewport' content='width=device-width'><title>Landscape report</title>"
        f"<style>{style}</style></head><body><h1>Landscape report: {count}</h1>{body}"
        f"<script>{script}</script></body></html>"
    )


def _note() -> str:
    return (
        "<p class='note'>Points are means over replicas, bars one standard error; lines and the "
        "numbers without a source are theory for N = ∞ (none is known for a network). "
        f"lightning_landscape {__version__}.</p>"
    )


def _kinds(runs: list[Run]) -> list[str]:
    return sorted({kind for run in runs for kind in run.records}, reverse=True)


def _numbers(runs: list[Run]) -> str:
    """Return the table of what at least two of a few runs have measured."""
    if not 2 <= len(runs) <= _MOST_COLUMNS:
        return ""
    tables = [[row for record in run.records.values() for row in record.table] for run in runs]
    head = "".join(f"<th class='path'>{html.escape(run.name)}</th>" for run in runs)
    lines = "".join(
        f"<tr><td>{html.escape(quantity)}</td>{''.join(map(_number, shared))}</tr>"
        for quantity, shared in comparison.table(tables)
    )
    if not lines:
        return ""
    return f"<h2>Numbers side by side</h2>{_scrolled(f'<tr><th>quantity</th>{head}</tr>{lines}')}"


def _number(row: Row | None) -> str:
    if row is None:
        return "<td></td>"
    _, measured, exact, *_ = cells([row])[1]
    known = f" <span class='note'>({html.escape(exact)})</span>" if row.is_known else ""
    return f"<td>{html.escape(measured)}{known}</td>"


def _differences(runs: list[Run]) -> str:
    """Return the table of options that are not the same in all runs."""
    if len(runs) < 2:
        return ""
    found = differences([configuration(run.folder) for run in runs])
    if not found:
        return ""
    few = len(runs) <= _MOST_COLUMNS
    lines = [
        ["option" if few else "run", *(run.name for run in runs)],
        *([name, *x] for name, x in found.items()),
    ]
    if not few:  # a line for each run
        lines = [list(column) for column in zip(*lines, strict=True)]
    head, *body = lines
    text = f"<tr>{''.join(f'<th>{html.escape(cell)}</th>' for cell in head)}</tr>" + "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in line)}</tr>" for line in body
    )
    unfolded = " open" if few else ""
    return (
        f"<h2>What differs between the configurations</h2><details{unfolded}><summary>"
        f"{len(found)} options</summary>{_scrolled(text)}</details>"
    )


def _section(kind: str, runs: list[Run]) -> str:
    measured = [run for run in runs if kind in run.records]
    unfolded = " open" if len(runs) <= _MOST_OPEN else ""
    columns = "".join(
        f"<details{unfolded}><summary class='path'>{html.escape(run.name)}</summary>"
        f"<p class='note'>{html.escape(title(run.records[kind].dataset))}</p>"
        f"{_figure(run.records[kind]) if len(runs) <= _MOST_FIGURES else ''}"
        f"{_table(run.records[kind].table)}{_disorder_note(run.records[kind].dataset)}</details>"
        for run in measured
    )
    where = ""
    if len(runs) > _MOST_FIGURES:
        where = "<p class='note'>The figure of each run is in its folder, figures/.</p>"
    return f"<h2>{html.escape(kind)}</h2>{where}<div class='runs'>{columns}</div>"


def _figure(record: Record) -> str:
    with guarded(record.dataset, "figure"):
        content = image(record.path, record.dataset)
        if content is not None:
            data = base64.b64encode(content).decode()
            return f"<img alt='figure' src='data:image/png;base64,{data}'>"
    return ""


def _table(table: list[Row]) -> str:
    if not table:
        return ""
    header, *lines = cells(table)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in line[:-1])}"
        f"{_deviation(line[-1], row)}</tr>"
        for line, row in zip(lines, table, strict=True)
    )
    head = "".join(f"<th>{name}</th>" for name in header)
    return _scrolled(f"<tr>{head}</tr>{body}")


def _scrolled(lines: str) -> str:
    return f"<div class='scroll'><table>{lines}</table></div>"


def _deviation(text: str, row: Row) -> str:
    far = " class='far'" if abs(row.deviation) > 4 else ""
    return f"<td{far}>{html.escape(text)}</td>"


def _disorder_note(dataset: Dataset) -> str:
    if dataset.attrs.get("disorder") != "shared":
        return ""
    return (
        "<p class='note'>One sample of the couplings: the error bars do not cover the disorder.</p>"
    )


def _configurations(runs: list[Run]) -> str:
    details = "".join(
        f"<details><summary class='path'>{html.escape(str(run.folder))}</summary>"
        f"<pre>{html.escape(configuration(run.folder))}</pre></details>"
        for run in runs
    )
    return f"<h2>Configurations</h2>{details}"
