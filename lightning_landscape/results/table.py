"""Rows of results: measured with its error bar | exact or published | deviation in sigmas."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.statistics import mean_and_error

if TYPE_CHECKING:
    from xarray import DataArray

__all__ = ["HEADER", "Row", "estimate", "markdown", "row", "spread", "with_error"]

HEADER = ["quantity", "measured", "exact or published", "deviation / σ"]


@dataclass(frozen=True)
class Row:
    """One number: what it is, measured, its standard error, and what is known of it.

    Attributes:
        quantity: what was measured, in a line.
        measured: its value.
        error: its standard error; nan where none is known.
        exact: the exact or the published value; nan where none is known.
        source: where a published value is from, in a few words; empty for an exact one.
        note: how this measurement was made: a window, the quality of a fit.
    """

    quantity: str
    measured: float
    error: float
    exact: float = math.nan
    source: str = ""
    note: str = ""

    @property
    def deviation(self) -> float:
        """(measured - exact) / error."""
        return (self.measured - self.exact) / self.error if self.error > 0 else math.nan

    def cells(self) -> list[str]:
        """Return the four cells of a table."""
        exact = (
            ""
            if math.isnan(self.exact)
            else f"{self.exact:.5g}"
            if self.source
            else f"{self.exact:.5f}"
        )
        exact += f" ({self.source})" if self.source and exact else ""
        deviation = "" if math.isnan(self.deviation) else f"{self.deviation:+.1f}"
        quantity = f"{self.quantity}, {self.note}" if self.note else self.quantity
        return [quantity, with_error(self.measured, self.error), exact, deviation]


def with_error(value: float, error: float) -> str:
    """Return ``value`` with its standard error on the last digits.

    >>> with_error(-0.77812, 0.0093)
    '-0.778(9)'
    >>> with_error(12.34, 0.17)
    '12.34(17)'
    >>> with_error(2.6e-9, 1.0e-9)
    '2.6(10)e-9'
    """
    if not error > 0:
        return f"{value:.5g}"
    size = max(abs(value), error)
    if size < 1e-3:
        power = math.floor(math.log10(size))
        return f"{with_error(value * 10.0**-power, error * 10.0**-power)}e{power}"
    # two digits while the leading one is 1, so that rounding never costs half of the error
    exponent = math.floor(math.log10(error))
    digits = max(0, -exponent + (1 if error / 10**exponent < 1.95 else 0))
    return f"{value:.{digits}f}({round(error * 10**digits)})"


def estimate(
    quantity: str, values: DataArray, errors: DataArray, exact: DataArray | None = None
) -> Row:
    """Return the mean over replicas of numbers with errors of their own, beside what is exact.

    Where each replica has its exact number, the replicas' scatter is no error of the mean.
    """
    R = values.sizes["replica"]
    own = float((errors**2).sum("replica") ** 0.5 / R)
    if exact is not None and "replica" in exact.dims:
        return Row(quantity, float(values.mean()), own, float(exact.mean()))
    scattered = row(quantity, values, exact)
    return scattered if scattered.error > own else replace(scattered, error=own)


def row(quantity: str, values: DataArray, exact: DataArray | None = None) -> Row:
    """Return the mean over replicas with its standard error, beside what is exact."""
    mean, error = mean_and_error(values)
    known = math.nan if exact is None else float(exact)
    return Row(quantity, float(mean), float(error), known)


def spread(size: int, most: int) -> list[int]:
    """Return at most ``most`` indices of ``size``, evenly spread, the last one included."""
    return sorted({round(k) for k in np.linspace(0, size - 1, min(size, most))}) if size else []


def markdown(table: list[Row]) -> str:
    """Return the table in Markdown, with aligned columns."""
    cells = [HEADER, *(row.cells() for row in table)]
    widths = [max(len(line[k]) for line in cells) for k in range(4)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(x, widths, strict=True)) + " |" for x in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)
