"""The verb report: any number of runs, side by side, in one self-contained HTML page."""

from __future__ import annotations

import argparse
import base64
import html
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_landscape import __version__, records
from lightning_landscape.errors import UsageError, require
from lightning_landscape.results import comparison, figures
from lightning_landscape.results.summary import rows
from lightning_landscape.results.table import HEADER, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from xarray import Dataset

__all__ = ["main", "page"]

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

    Raises:
        UsageError: there is none.
    """
    require(path.exists(), "runs", path, "there is no such folder")
    found = sorted({record.parent.parent for record in path.rglob("probes/*.nc")})
    if not found:
        raise UsageError(f"runs = {path}: no records there; a run writes them to <run>/probes/*.nc")
    return found


def page(runs: list[Path]) -> str:
    """Return the HTML page of ``runs``: one section a probe, in it the runs side by side."""
    datasets = {run: _records(run) for run in runs}
    probes = sorted({probe for found in datasets.values() for probe in found}, reverse=True)
    sections = [
        _section(probe, {run: found[probe] for run, found in datasets.items() if probe in found})
        for probe in probes
    ]
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<meta name='viewport' content='width=device-width'><title>Landscape report</title>"
        f"<style>{_STYLE}</style></head><body><h1>Landscape report: {len(runs)} runs</h1>"
        f"{_note()}{_comparison(datasets)}{''.join(sections)}{_configurations(runs)}</body></html>"
    )


def _comparison(datasets: dict[Path, dict[str, Dataset]]) -> str:
    """The runs beside each other: a figure, and what at least two of them have measured."""
    if len(datasets) < 2:
        return ""
    named = dict(zip(_names(list(datasets)), datasets.values(), strict=True))
    names = "".join(f"<th class='path'>{html.escape(name)}</th>" for name in named)
    lines = "".join(
        f"<tr><td>{html.escape(quantity)}</td>{''.join(map(_compared, cells))}</tr>"
        for quantity, cells in comparison.table(list(named.values()))
    )
    both = f"<table><tr><th>quantity</th>{names}</tr>{lines}</table>" if lines else ""
    return f"<h2>Side by side</h2>{_picture(comparison.draw(named))}{both}"


def _names(runs: list[Path]) -> list[str]:
    """Return what tells the folders of runs apart."""
    common = os.path.commonpath([run.resolve() for run in runs])
    return [os.path.relpath(run.resolve(), common) for run in runs]


def _compared(row: Row | None) -> str:
    if row is None:
        return "<td></td>"
    _, measured, exact, _ = row.cells()
    known = f" <span class='note'>({html.escape(exact)})</span>" if exact else ""
    return f"<td>{html.escape(measured)}{known}</td>"


def _note() -> str:
    return (
        "<p class='note'>Points are means over replicas, bars one standard error; lines and the "
        "numbers without a source are theory for N = ∞ (none is known for a network). "
        f"lightning_landscape {__version__}.</p>"
    )


def _records(run: Path) -> dict[str, Dataset]:
    datasets = [records.read(path) for path in sorted((run / "probes").glob("*.nc"))]
    return {dataset.attrs["probe"]: dataset for dataset in datasets}


def _section(probe: str, found: dict[Path, Dataset]) -> str:
    columns = "".join(
        f"<section><h3 class='path'>{html.escape(str(run))}</h3>{_picture(figures.draw(dataset))}"
        f"{_table(list(rows(dataset)))}{_disorder_note(dataset)}</section>"
        for run, dataset in found.items()
    )
    return f"<h2>{probe}</h2><div class='runs'>{columns}</div>"


def _picture(figure: Figure | None) -> str:
    if figure is None:
        return ""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f"<img alt='figure' src='data:image/png;base64,{data}'>"


def _table(table: list[Row]) -> str:
    body = "".join(
        "<tr>" + "".join(_cell(k, text, row) for k, text in enumerate(row.cells())) + "</tr>"
        for row in table
    )
    head = "".join(f"<th>{name}</th>" for name in HEADER)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(column: int, text: str, row: Row) -> str:
    far = " class='far'" if column == 3 and abs(row.deviation) > 4 else ""
    return f"<td{far}>{html.escape(text)}</td>"


def _disorder_note(dataset: Dataset) -> str:
    if dataset.attrs.get("disorder") != "shared":
        return ""
    return (
        "<p class='note'>One sample of the couplings: the error bars do not cover the disorder.</p>"
    )


def _configurations(runs: list[Path]) -> str:
    def text(run: Path) -> str:
        path: Any = run / "config.yaml"
        return html.escape(path.read_text()) if path.is_file() else "not saved"

    details = "".join(
        f"<details><summary class='path'>{html.escape(str(run))}</summary>"
        f"<pre>{text(run)}</pre></details>"
        for run in runs
    )
    return f"<h2>Configurations</h2>{details}"
