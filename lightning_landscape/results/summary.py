"""What a run prints when it has ended: its table, and where everything is."""

from __future__ import annotations

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

_EXACT = (
    "exact: theory for N = ∞ and continuous time. A deviation of many sigmas is the finite size or "
    "the finite\nstep of the run, seen beyond its error bar: raise N or lower lr, and it shrinks."
)
_CORRELATED = (
    "Rows of one run share its noise and its disorder: their deviations are correlated, so that "
    "several\nof the same sign are not as many independent ones."
)


def rows(dataset: Dataset) -> Iterable[Row]:
    """Return the rows of a record: a few times, spread evenly over the logarithm of t."""
    return look_up(kind_of(dataset)).rows(dataset)


def summarize(run: Path) -> str:
    """Return the table of a run and where everything is; draw the figures that are missing.

    Args:
        run: the folder of the run, with its records in ``probes/``.
    """
    table: list[Row] = []
    notes: list[str] = []
    for path in sorted((run / "probes").glob("*.nc"), reverse=True):
        dataset = records.read(path)
        with guarded(dataset, "rows"):
            table += rows(dataset)
        if "theory_reference" in dataset.attrs:
            notes = [_EXACT, ""]
        with guarded(dataset, "figure"):
            save_image(path, dataset)
    events = next(run.glob("events.out.tfevents.*"), None) is not None
    where = [
        f"records      {run / 'probes'}",
        f"figures      {run / 'figures'}",
        *([f"TensorBoard  tensorboard --logdir {run.parent}"] if events else []),
        f"compare      python -m lightning_landscape report {run}",
    ]
    if sum(row.deviation == row.deviation for row in table) > 1:  # nan where nothing is known
        notes = [*notes[:1], _CORRELATED, ""]
    return "\n".join([*([markdown(table), "", *notes] if table else []), *where])
