"""Write the page of a report, and print the verdict on its runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from lightning_landscape import records
from lightning_landscape.cli.report.agreement import as_text
from lightning_landscape.cli.report.document import page
from lightning_landscape.cli.report.runs import find_runs, read
from lightning_landscape.results.comparison.verdict import MARGIN

__all__ = ["main", "write"]


def main(args: list[str]) -> int:
    """Write the page, say where it is, and in what its runs agree."""
    parser = argparse.ArgumentParser(
        prog="python -m lightning_landscape report",
        description="Draw any number of runs on the same axes, in one self-contained HTML page.",
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, or folders that hold some")
    add_options(parser)
    options = parser.parse_args(args[1:])
    found = {run.resolve(): run for path in options.runs for run in find_runs(path)}
    write(list(found.values()), options.output, options.margin)
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a page."""
    parser.add_argument(
        "--output", type=Path, default=Path("report.html"), help="the page to write"
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=MARGIN,
        help="difference below which two runs agree, relative, or absolute for exponents "
        "(default: %(default)s)",
    )


def write(folders: list[Path], output: Path, margin: float = MARGIN) -> None:
    """Write the page of runs and print where it is, and the verdict on each pair of a few runs."""
    runs = read(folders)
    text = page(runs, margin)
    records.write_atomically(output, lambda path: path.write_text(text, encoding="utf-8"))
    if verdict := as_text(runs, margin):
        print(verdict)
    print(f"{len(folders)} {'run' if len(folders) == 1 else 'runs'}: {output}")
