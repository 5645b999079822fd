"""One table of several runs, in which every column is a run."""

from __future__ import annotations

from lightning_landscape.results.table import Row

__all__ = ["table"]


def table(tables: list[list[Row]]) -> list[tuple[str, list[Row | None]]]:
    """Return the quantities that at least two of the tables have, with the row of each."""
    found = [{row.quantity: row for row in of_run} for of_run in tables]
    quantities = dict.fromkeys(quantity for of_run in found for quantity in of_run)
    lines = [(quantity, [of_run.get(quantity) for of_run in found]) for quantity in quantities]
    return [(quantity, cells) for quantity, cells in lines if sum(c is not None for c in cells) > 1]
