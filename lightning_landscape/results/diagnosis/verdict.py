"""A verdict: a measurement against its bound, in words, never beyond its own error bar."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from lightning_landscape.results.table import with_error

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["CANNOT_TELL", "HEADER", "Verdict", "against", "late", "mean_of_series", "page", "table"]

HEADER = ("question", "measured", "bound", "where it stands", "what to do")
CANNOT_TELL = "cannot tell"
_SIGMAS = 2.0  # within which a number may be on either side of a bound
_NEAR = 0.2  # relative distance from a bound that counts as being at it
_LATE = 1 / 3  # of a run, at the end, that describes the present state
_LEAST = 4  # measurements in time that make an error bar


@dataclass(frozen=True)
class Verdict:
    """One row of the diagnosis.

    Attributes:
        question: what is asked, in plain words.
        value: what was measured.
        error: its standard error; nan where none is known.
        bound: the bound or the theory, in a few symbols.
        stands: where the training stands; "cannot tell" where the error spans the bound.
        advice: what to do.
    """

    question: str
    value: float
    error: float
    bound: str
    stands: str
    advice: str = ""

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """The row as text."""
        measured = with_error(self.value, self.error)
        return self.question, measured, self.bound, self.stands, self.advice


def table(found: list[Verdict]) -> str:
    """Return the verdicts as a table in Markdown, with aligned columns."""
    lines = [HEADER, *(verdict.cells for verdict in found)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(text)


def page(found: list[Verdict], left_out: list[str]) -> str:
    """Return the table, and below it what was left out and why."""
    parts = [table(found)] if found else ["No question could be answered."]
    if left_out:
        parts.append("Left out:\n" + "\n".join(f"- {sentence}" for sentence in left_out))
    return "\n\n".join(parts)


def late(dataset: Dataset, name: str) -> tuple[float, float] | None:
    """Return the mean over the last third of the run, and its standard error.

    It is the last third of the measurements, or of the time where there are more of them. The
    error is that over replicas, or of the scatter in time where there is one replica, see
    `mean_of_series`. None where nothing was measured.
    """
    if name not in dataset or dataset.sizes.get("t", 0) == 0:
        return None
    values = dataset[name].dropna("t")
    t = values["t"].to_numpy()
    in_time = int((t >= (1 - _LATE) * t[-1]).sum()) if len(t) else 0
    count = max(1, in_time, math.ceil(_LATE * len(t)))
    last = values.isel(t=slice(-count, None))
    if not last.size:
        return None
    if last.sizes["replica"] == 1:
        return mean_of_series(last.isel(replica=0).to_numpy())
    sample = last.mean("t").to_numpy()
    return float(sample.mean()), float(sample.std(ddof=1) / len(sample) ** 0.5)


def mean_of_series(values: ArrayLike) -> tuple[float, float]:
    r"""Return the mean of a series in time, and its standard error with correlations in time.

    error^2 = s^2 (1 + r) / [n (1 - r)], with the correlation r of neighbours, not below 0 and
    corrected for the bias -(1 + 3 r) / n of its estimate: exact for many values of a first-order
    autoregression. The error is nan for fewer than four values, and where r is so near 1 that there
    is no second independent one.

    Source: bias: Marriott & Pope 1954, Biometrika 41, 390.

    >>> mean_of_series([1.0, 2.0, 1.0, 2.0])
    (1.5, 0.2886...)
    """
    x = np.asarray(values, float)
    n = len(x)
    if n < _LEAST:
        return float(x.mean()), math.nan
    y = x - x.mean()
    square = float(y @ y)
    if square == 0:
        return float(x.mean()), 0.0
    r = float(y[1:] @ y[:-1]) / square
    r = max(0.0, r + (1 + 3 * r) / n)
    independent = n * (1 - r) / (1 + r)
    error = (square / (n - 1) / independent) ** 0.5 if independent > 1 else math.nan
    return float(x.mean()), error


def against(value: float, error: float, bound: float = 1.0) -> str:
    """Return whether a number is below, at or above a bound, or whether its error spans that."""
    near = _NEAR * bound
    uncertain = _SIGMAS * error if error > 0 else math.inf
    if abs(value - bound) <= near and uncertain <= near:
        return "at"
    if math.isfinite(uncertain) and abs(value - bound) > near + uncertain:
        return "below" if value < bound else "above"
    return CANNOT_TELL
