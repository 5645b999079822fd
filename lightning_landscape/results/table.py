"""Rows of results: measured with its error bar | exact or published | deviation in sigmas."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.statistics import mean_and_error

if TYPE_CHECKING:
    from xarray import DataArray

__all__ = [
    "Row",
    "Shift",
    "aligned",
    "cells",
    "estimate",
    "markdown",
    "row",
    "spread",
    "with_error",
]

_HEADER = ["quantity", "measured", "exact or published", "deviation / σ"]
_SHIFT = "finite N, dt"
_UNKNOWN = "none known"


@dataclass(frozen=True)
class Shift:
    """What finite N and a finite step are expected to add to an exact value.

    Attributes:
        value: measured - exact, as expected; nan where that is not known and no deviation can be
            given.
        error: its standard error.
        source: how it is known, in a few words.
    """

    value: float
    error: float
    source: str = ""

    @property
    def opposite(self) -> Shift:
        """The same with the other sign."""
        return replace(self, value=-self.value)


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
        shift: what finite N and a finite step are expected to add to the exact value.
        holds: whether the law whose parameter this is describes the data; if it does not, the
            number has no deviation from anything.
        elsewhere: the size or place at which a published value holds, where that is not the size
            of this measurement; it is shown with the value, which then gives no deviation.
    """

    quantity: str
    measured: float
    error: float
    exact: float = math.nan
    source: str = ""
    note: str = ""
    shift: Shift | None = None
    holds: bool = True
    elsewhere: str = ""

    @property
    def deviation(self) -> float:
        """(measured - shift - exact) / sqrt(error^2 + shift error^2); nan where not known.

        >>> Row("E", 2.0, 3.0, 1.0, shift=Shift(6.0, 4.0)).deviation
        -1.0
        """
        if self.elsewhere or not (self.holds and self.error > 0):
            return math.nan
        shift = self.shift or Shift(0.0, 0.0)
        expected = self.exact + shift.value
        return (self.measured - expected) / math.hypot(self.error, shift.error)

    @property
    def is_known(self) -> bool:
        """Whether there is an exact or published value."""
        return not math.isnan(self.exact)

    @property
    def _known(self) -> str:
        if not self.is_known:
            return _UNKNOWN
        origin = ", ".join(filter(None, (self.source, self.elsewhere)))
        return f"{self.exact:.5g} ({origin})" if origin else f"{self.exact:.5f}"

    def _cells(self, shifts: bool) -> list[str]:
        deviation = "" if math.isnan(self.deviation) else f"{self.deviation:+.1f}"
        details = [self.quantity, self.note, "" if self.holds else "the law does not hold"]
        quantity = ", ".join(detail for detail in details if detail)
        return [
            quantity,
            with_error(self.measured, self.error),
            self._known,
            *([_shift_cell(self.shift)] if shifts else []),
            deviation,
        ]


def cells(table: list[Row]) -> list[list[str]]:
    """Return the header and the cells of a table, with a column of shifts if some row has one.

    >>> cells([Row("E", 1.0, 0.1)])[1]
    ['E', '1.00(10)', 'none known', '']
    """
    shifts = any(row.shift is not None for row in table)
    header = [*_HEADER[:3], _SHIFT, _HEADER[3]] if shifts else _HEADER
    return [header, *(row._cells(shifts) for row in table)]


def _shift_cell(shift: Shift | None) -> str:
    if shift is None:
        return ""
    source = f" ({shift.source})" if shift.source else ""
    if math.isnan(shift.value):
        return f"not known{source}"
    return with_error(shift.value, shift.error) + source


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
    """Return the mean over replicas of numbers with errors of their own, and what is exact.

    The error is the larger one of their scatter and their own. Where each replica has an exact
    number of its own, scatter is no error of the mean.
    """
    R = values.sizes["replica"]
    own = float((errors**2).sum("replica") ** 0.5 / R)
    if exact is not None and "replica" in exact.dims:
        return Row(quantity, float(values.mean()), own, float(exact.mean()))
    scattered = row(quantity, values, exact)
    return scattered if scattered.error > own else replace(scattered, error=own)


def row(
    quantity: str,
    values: DataArray,
    exact: DataArray | None = None,
    shift: Shift | None = None,
) -> Row:
    """Return the mean over replicas with its standard error, and what is exact.

    A shift belongs to an exact value, and is left out where there is none.
    """
    mean, error = mean_and_error(values)
    if exact is None:
        return Row(quantity, float(mean), float(error))
    return Row(quantity, float(mean), float(error), float(exact), shift=shift)


def spread(size: int, most: int) -> list[int]:
    """Return at most ``most`` indices of ``size``, evenly spread, the last one included.

    >>> spread(100, 4)
    [0, 33, 66, 99]
    """
    return sorted({round(k) for k in np.linspace(0, size - 1, min(size, most))}) if size else []


def markdown(table: list[Row]) -> str:
    """Return the table in Markdown, with aligned columns."""
    return aligned(cells(table))


def aligned(lines: list[list[str]]) -> str:
    """Return lines of cells, the header first, as a table in Markdown."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(text)
