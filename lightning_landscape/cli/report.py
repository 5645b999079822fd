"""The verb report: any number of runs, side by side, in one self-contained HTML page."""

from __future__ import annotations

import argparse
import base64
import html
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lightning_landscape import __version__, records
from lightning_landscape.errors import UsageError, require
from lightning_landscape.results import comparison
from lightning_landscape.results.figures import image, png
from lightning_landscape.results.registry import guarded, kind_of
from lightning_landscape.results.summary import rows
from lightning_landscape.results.table import Row, cells

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["main", "page"]

_LARGEST_CONFIG = 10**6  # bytes
_MOST_SIDE_BY_SIDE = 12  # runs in one figure; their panels are drawn anew, and soon too small
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; padding: 0 1.5rem; }
body { max-width: 100rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; } h3 { font-size: 1rem; }
.runs { display: grid; gap: 2rem; }
.runs { grid-template-columns: repeat(auto-fit, minmax(min(100%, 34rem), 1fr)); }
.runs > section { min-width: 0; }
img { max-width: 100%; background: white; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9rem; }
th, td { padding: 0.15rem 0.8rem; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
td.far { color: #c33; font-weight: 600; }
pre { overflow-x: auto; font-size: 0.8rem; } code, .path { font-family: ui-monospace, monospace; }
.note { opacity: 0.7; }
"""


def main(args: list[str]) -> int:
    """Write the page and say where it is."""
    parser = argparse.ArgumentParser(
        prog="python -m lightning_landscape report", description=__doc__
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, or folders that hold some")
    parser.add_argument(
        "--output", type=Path, default=Path("report.html"), help="the page to write"
    )
    options = parser.parse_args(args[1:])
    found = [run for path in options.runs for run in find_runs(path)]
    records.write_atomically(options.output, lambda p: p.write_text(page(found), encoding="utf-8"))
    runs = "run" if len(found) == 1 else "runs"
    print(f"{len(found)} {runs}: {options.output}")
    return 0


def find_runs(path: Path) -> list[Path]:
    """Return the run folders at or below ``path``: those that hold ``probes/*.nc``.

    Of a sweep that is its own folder, and not those of its points.

    Raises:
        UsageError: there is none.
    """
    require(path.exists(), "runs", path, "there is no such folder")
    found = sorted(
        {record.parents[1] for record in path.rglob("probes/*.nc") if _is_inside(record)}
    )
    sweeps = {run for run in found if (run / "probes" / "sweep.nc").is_file()}
    found = [run for run in found if sweeps.isdisjoint(run.parents)]
    if not found:
        raise UsageError(f"runs = {path}: no records there; a run writes them to <run>/probes/*.nc")
    return found


def page(runs: list[Path]) -> str:
    """Return the HTML page of ``runs``: a section for each kind of record."""
    found = {run: _records(run) for run in runs}
    kinds = sorted({kind for of_run in found.values() for kind in of_run}, reverse=True)
    sections = [
        _section(kind, {run: of_run[kind] for run, of_run in found.items() if kind in of_run})
        for kind in kinds
    ]
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<meta name='viewport' content='width=device-width'><title>Landscape report</title>"
        f"<style>{_STYLE}</style></head><body><h1>Landscape report: {len(runs)} runs</h1>"
        f"{_note()}{_comparison(found)}{''.join(sections)}{_configurations(runs)}</body></html>"
    )


def _is_inside(path: Path) -> bool:
    """Return whether a file of a run is in its folder, and no link to another place."""
    folder = path.parents[1] if path.parent.name == "probes" else path.parent
    return path.resolve().is_relative_to(folder.resolve())


class _Record(NamedTuple):
    """A record, where it is, and its table."""

    path: Path
    dataset: Dataset
    table: list[Row]


def _records(run: Path) -> dict[str, _Record]:
    """Return the records of a run by kind; those that name none under the name of their file."""
    found = {}
    for path in filter(_is_inside, sorted((run / "probes").glob("*.nc"))):
        dataset = records.read(path)
        table: list[Row] = []
        with guarded(dataset, "rows"):
            table += rows(dataset)
        found[kind_of(dataset) or path.stem] = _Record(path, dataset, table)
    return found


def _comparison(found: dict[Path, dict[str, _Record]]) -> str:
    """Return the runs side by side: a figure, and what at least two of them have measured."""
    if len(found) < 2:
        return ""
    names = _names(list(found))
    runs = [{kind: r.dataset for kind, r in of_run.items()} for of_run in found.values()]
    tables = [[row for r in of_run.values() for row in r.table] for of_run in found.values()]
    head = "".join(f"<th class='path'>{html.escape(name)}</th>" for name in names)
    lines = "".join(
        f"<tr><td>{html.escape(quantity)}</td>{''.join(map(_compared, shared))}</tr>"
        for quantity, shared in comparison.table(tables)
    )
    both = f"<table><tr><th>quantity</th>{head}</tr>{lines}</table>" if lines else ""
    return f"<h2>Side by side</h2>{_compared_figures(names, runs)}{both}"


def _compared_figures(names: list[str], runs: list[dict[str, Dataset]]) -> str:
    """Return the figure of runs side by side, or why there is none."""
    if len(runs) > _MOST_SIDE_BY_SIDE:
        return f"<p class='note'>No figure of more than {_MOST_SIDE_BY_SIDE} runs.</p>"
    with guarded(next(iter(runs[0].values())), "comparison"):
        # a $ would begin a formula
        drawn = [name.replace("$", r"\$") for name in names]
        figure = comparison.draw(dict(zip(drawn, runs, strict=True)))
        return "" if figure is None else _picture(png(figure))
    return ""


def _names(runs: list[Path]) -> list[str]:
    """Return what tells the folders of runs apart."""
    common = os.path.commonpath([run.resolve() for run in runs])
    return [os.path.relpath(run.resolve(), common) for run in runs]


def _compared(row: Row | None) -> str:
    if row is None:
        return "<td></td>"
    _, measured, exact, *_ = cells([row])[1]
    known = f" <span class='note'>({html.escape(exact)})</span>" if exact else ""
    return f"<td>{html.escape(measured)}{known}</td>"


def _note() -> str:
    return (
        "<p class='note'>Points are means over replicas, bars one standard error; lines and the "
        "numbers without a source are theory for N = ∞ (none is known for a network). "
        f"lightning_landscape {__version__}.</p>"
    )


def _section(kind: str, found: dict[Path, _Record]) -> str:
    columns = "".join(
        f"<section><h3 class='path'>{html.escape(str(run))}</h3>{_figure(record)}"
        f"{_table(record.table)}{_disorder_note(record.dataset)}</section>"
        for run, record in found.items()
    )
    return f"<h2>{html.escape(kind)}</h2><div class='runs'>{columns}</div>"


def _figure(record: _Record) -> str:
    with guarded(record.dataset, "figure"):
        content = image(record.path, record.dataset)
        return "" if content is None else _picture(content)
    return ""


def _picture(content: bytes) -> str:
    data = base64.b64encode(content).decode()
    return f"<img alt='figure' src='data:image/png;base64,{data}'>"


def _table(table: list[Row]) -> str:
    header, *lines = cells(table)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in line[:-1])}"
        f"{_deviation(line[-1], row)}</tr>"
        for line, row in zip(lines, table, strict=True)
    )
    head = "".join(f"<th>{name}</th>" for name in header)
    return f"<table><tr>{head}</tr>{body}</table>"


def _deviation(text: str, row: Row) -> str:
    far = " class='far'" if abs(row.deviation) > 4 else ""
    return f"<td{far}>{html.escape(text)}</td>"


def _disorder_note(dataset: Dataset) -> str:
    if dataset.attrs.get("disorder") != "shared":
        return ""
    return (
        "<p class='note'>One sample of the couplings: the error bars do not cover the disorder.</p>"
    )


def _configurations(runs: list[Path]) -> str:
    def text(run: Path) -> str:
        path = run / "config.yaml"
        if not path.is_file() or not _is_inside(path):
            return "not saved"
        if path.stat().st_size > _LARGEST_CONFIG:
            return "too large to be shown"
        return html.escape(path.read_text(encoding="utf-8", errors="replace"))

    details = "".join(
        f"<details><summary class='path'>{html.escape(str(run))}</summary>"
        f"<pre>{text(run)}</pre></details>"
        for run in runs
    )
    return f"<h2>Configurations</h2>{details}"
