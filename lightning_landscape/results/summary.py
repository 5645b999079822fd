"""What a run prints at its end: its table, and where records and figures are."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_landscape import records
from lightning_landscape.results.figures import save_image
from lightning_landscape.results.registry import guarded, kind_of, look_up
from lightning_landscape.results.table import Row, markdown

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["rows", "summarize"]

_EXACT = "exact: theory for N = ∞ and continuous time."
_SHIFTED = (
    "σ is counted from exact + finite N, dt: what the size and the step of this run are expected "
    "to add\n(docs/finite_size.md). Where that column is empty, the deviation contains both."
)
_UNSHIFTED = (
    "What the size and the step of this run add to it is not tabulated, and part of the deviation "
    "(docs/finite_size.md)."
)
_CORRELATED = (
    "Rows of one run share its noise and its disorder, so that their deviations are correlated: "
    "several\nof the same sign count as fewer independent ones."
)


def rows(dataset: Dataset) -> Iterable[Row]:
    """Return the rows of a record: a few times, spread evenly over the logarithm of t."""
    return look_up(kind_of(dataset)).rows(dataset)


def summarize(run: Path) -> str:
    """Return the table of a run and where its files are; draw the figures that are missing.

    Args:
        run: the folder of the run, with its records in ``probes/``.
    """
    table: list[Row] = []
    exact = finite = False
    for path in sorted((run / "probes").glob("*.nc"), reverse=True):
        dataset = records.read(path)
        with guarded(dataset, "rows"):
            table += rows(dataset)
        if "theory_reference" in dataset.attrs:
            exact, finite = True, finite or look_up(kind_of(dataset)).of_finite_size
        with guarded(dataset, "figure"):
            save_image(path, dataset)
    events = next(run.glob("events.out.tfevents.*"), None) is not None
    where = [
        f"records      {run / 'probes'}",
        f"figures      {run / 'figures'}",
        *([f"TensorBoard  tensorboard --logdir {run.parent}"] if events else []),
        f"compare      python -m lightning_landscape report {run}",
    ]
    notes = _notes(table, exact, finite)
    return "\n".join([*([markdown(table), "", *notes] if table else []), *where])


def _notes(table: list[Row], exact: bool, finite: bool) -> list[str]:
    """Return what has to be known to read the deviations of a table, and an empty line."""
    notes = [_EXACT] if exact else []
    if finite:
        shifted = any(row.shift is not None for row in table)
        notes.append(_SHIFTED if shifted else _UNSHIFTED)
    if sum(not math.isnan(row.deviation) for row in table) > 1:
        notes.append(_CORRELATED)
    return [*notes, ""] if notes else []
