"""What a run prints at its end: its table, and where records and figures are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lightning_landscape import records
from lightning_landscape.results.figures import save_image
from lightning_landscape.results.registry import guarded, kind_of, look_up
from lightning_landscape.results.table import Row, markdown

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["MOST_ROWS", "Summary", "rows", "shortened", "summarize"]

MOST_ROWS = 10
"""Rows of the table that a run prints at its end; results.md has all."""

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


class Summary(NamedTuple):
    """The end of a run as text: short for a screen, and with all rows; as a string it is short."""

    short: str
    full: str

    def __str__(self) -> str:
        """Return the short text."""
        return self.short


def summarize(run: Path, most: int = MOST_ROWS) -> Summary:
    """Return the table of a run and where its files are; draw the figures that are missing.

    Args:
        run: the folder of the run, with its records in ``probes/``.
        most: rows of the short table, see `shortened`.
    """
    tables: list[list[Row]] = []
    exact = finite = False
    for path in sorted((run / "probes").glob("*.nc"), reverse=True):
        dataset = records.read(path)
        with guarded(dataset, "rows"):
            tables.append(list(rows(dataset)))
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
    everything = [row for table in tables for row in table]
    few = shortened(tables, most)
    left_out = len(everything) - len(few)
    more = [f"all {len(everything)} rows  {run / 'results.md'}, or --all"] if left_out else []

    def text(table: list[Row], *end: str) -> str:
        notes = _notes(table, exact, finite)
        return "\n".join([*([markdown(table), "", *notes] if table else []), *end])

    return Summary(text(few, *more, *where), text(everything, *where))


def shortened(tables: list[list[Row]], most: int = MOST_ROWS) -> list[Row]:
    """Return at most ``most`` rows of tables, in their order, with a share for each table.

    First comes the last of the first series (the energy at the last time), then numbers that stand
    alone, such as exponents, then the last of each other series, then what is left of a series,
    evenly spread. A series is what differs only in brackets.

    >>> table = [Row(f"E(t = {t})", 1.0, 0.1) for t in range(9)] + [Row("exponent", 1.0, 0.1)]
    >>> [row.quantity for row in shortened([table], most=3)]
    ['E(t = 0)', 'E(t = 8)', 'exponent']
    """
    queues = [_by_importance(table) for table in tables]
    chosen: set[tuple[int, int]] = set()
    for turn in range(max(map(len, queues), default=0)):
        chosen |= {(k, queue[turn]) for k, queue in enumerate(queues) if turn < len(queue)}
        if len(chosen) >= most:
            break
    kept = sorted(chosen, key=lambda at: (queues[at[0]].index(at[1]), at[0]))[:most]
    return [tables[k][i] for k, i in sorted(kept)]


def _by_importance(table: list[Row]) -> list[int]:
    """Return the indices of the rows of a table, the most important first."""
    series: dict[str, list[int]] = {}
    for i, row in enumerate(table):
        series.setdefault(re.sub(r"\([^)]*\)", "", row.quantity), []).append(i)
    alone = [members[0] for members in series.values() if len(members) == 1]
    last = [members[-1] for members in series.values() if len(members) > 1]
    rest = [members[:-1] for members in series.values() if len(members) > 1]
    # the first of each series, then those halfway, then the others
    halves = [
        sorted(range(len(members)), key=lambda k: (k != 0, abs(k - len(members) // 2)))
        for members in rest
    ]
    turns = zip_longest(*([m[k] for k in order] for m, order in zip(rest, halves, strict=True)))
    return [*last[:1], *alone, *last[1:], *(i for turn in turns for i in turn if i is not None)]


def _notes(table: list[Row], exact: bool, finite: bool) -> list[str]:
    """Return what has to be known to read the deviations of a table, and an empty line."""
    notes = [_EXACT] if exact else []
    if finite:
        shifted = any(row.shift is not None for row in table)
        notes.append(_SHIFTED if shifted else _UNSHIFTED)
    if sum(not math.isnan(row.deviation) for row in table) > 1:
        notes.append(_CORRELATED)
    return [*notes, ""] if notes else []
