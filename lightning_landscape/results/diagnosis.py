"""Where a training stands: each measurement against its bound, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.results.table import with_error

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["HEADER", "Verdict", "table", "verdicts"]

HEADER = ("question", "measured", "bound", "where it stands", "what to do")
_SIGMAS = 2.0  # within which a number may be on either side of a bound
_NEAR = 0.2  # relative distance from a bound that counts as being at it
_LATE = 1 / 3  # of the measurements, at the end, that describe the present state
_MANY = 4.0  # how many times above or below the noise scale a batch is clearly large or small


@dataclass(frozen=True)
class Verdict:
    """One row of the diagnosis.

    Attributes:
        question: what is asked, in plain words.
        value: what was measured.
        error: its standard error.
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


def verdicts(records: Mapping[str, Dataset]) -> list[Verdict]:
    """Return what the records of a run say of its state.

    Args:
        records: by kind: ``EdgeOfStability``, ``GradientNoise``, ``Stationarity``; others, and
            those without a measurement, give no row.
    """
    rules = {"EdgeOfStability": _edge, "GradientNoise": _noise, "Stationarity": _stationarity}
    found = []
    for kind, rule in rules.items():
        if kind in records:
            found += list(rule(records[kind]))
    return found


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


def _late(dataset: Dataset, name: str) -> tuple[float, float] | None:
    """Return the mean over the last third of the measurements, and its standard error.

    The error is that over replicas, or of the scatter in time where there is one replica.
    """
    if name not in dataset or dataset.sizes.get("t", 0) == 0:
        return None
    values = dataset[name].dropna("t")
    late = values.isel(t=slice(-max(1, math.ceil(_LATE * values.sizes["t"])), None))
    numbers = late.mean("t") if late.sizes["replica"] > 1 else late.isel(replica=0)
    sample = np.asarray(numbers, float).ravel()
    if not len(sample):
        return None
    error = sample.std(ddof=1) / len(sample) ** 0.5 if len(sample) > 1 else math.nan
    return float(sample.mean()), float(error)


def _against(value: float, error: float, bound: float = 1.0) -> str:
    """Return whether a number is below, at or above a bound, or whether its error spans that."""
    near = _NEAR * bound
    uncertain = _SIGMAS * error if error > 0 else math.inf
    if abs(value - bound) <= near and uncertain <= near:
        return "at"
    if math.isfinite(uncertain) and abs(value - bound) > near + uncertain:
        return "below" if value < bound else "above"
    return "cannot tell"


def _edge(dataset: Dataset) -> Iterator[Verdict]:
    bound = str(dataset.attrs.get("bound", ""))
    if (edge := _late(dataset, "edge")) is not None:
        side = _against(*edge)
        ratio = f"{1 / edge[0]:.2g}" if edge[0] > 0 else "many"
        stands = {
            "below": f"stable: the sharpness is {edge[0]:.2g} of its bound",
            "at": "at the edge of stability",
            "above": "beyond the edge: steps overshoot in the sharpest direction",
        }
        advice = {
            "below": f"a step up to {ratio} times longer is stable",
            "at": "the step sets the sharpness; a longer one finds flatter valleys, or diverges",
            "above": "lower lr if the loss rises",
        }
        yield Verdict(
            "Is the learning rate near the edge?",
            *edge,
            f"1, in units of {bound}",
            stands.get(side, side),
            advice.get(side, "measure more often, or with more replicas"),
        )
    if (batch := _late(dataset, "batch_edge")) is not None:
        side = _against(*batch)
        stands = {
            "below": "the noise of mini-batches does not limit the curvature yet",
            "at": "mini-batches are at their edge of stability",
            "above": "batches overshoot along their own gradient",
        }
        advice = {"above": "lower lr, or raise the batch size"}
        yield Verdict(
            "And for single batches?",
            *batch,
            "1, of batch sharpness · lr/2",
            stands.get(side, side),
            advice.get(side, ""),
        )


def _noise(dataset: Dataset) -> Iterator[Verdict]:
    scale, B = _late(dataset, "noise_scale"), dataset.attrs.get("batch_size")
    unit = dataset.attrs.get("batch_unit", "samples")
    if scale is None:
        return
    if B is None or not scale[0] > 0:
        stands, advice = "cannot tell", "the gradient is lost in the noise, or B is not known"
    else:
        ratio, spread = float(B) / scale[0], scale[1] / scale[0]
        uncertain = not spread < 0.5
        if uncertain:
            stands, advice = "cannot tell", "measure with more groups"
        elif ratio < 1 / _MANY:
            stands = "noise dominates: the batch is small"
            advice = "a larger batch allows a step that is larger in proportion"
        elif ratio > _MANY:
            stands = "the gradient dominates: the batch is large"
            advice = "a smaller batch learns as much in a step"
        else:
            stands, advice = "near the best trade of time for samples", ""
    yield Verdict(
        "Is the batch larger than useful?",
        *scale,
        "tr Σ/|∇E|²" + (f", B = {B} {unit}" if B is not None else ""),
        stands,
        advice,
    )
    if (T := _late(dataset, "temperature_of_sgd")) is not None:
        yield Verdict("How hot is it?", *T, "T = lr D/2", "as Langevin noise at this temperature")


def _stationarity(dataset: Dataset) -> Iterator[Verdict]:
    if dataset.sizes.get("window", 0) == 0:
        return
    at = dataset.sel(relation="FDR1").isel(window=-1)
    ratio, error = float(at["ratio"]), float(at["ratio_error"])
    if not error < 0.5:
        stands, advice = "cannot tell", "train longer, or measure more often"
    elif abs(ratio - 1) <= _SIGMAS * error:
        stands, advice = "stationary", "lower lr or the temperature, or stop"
    else:
        stands, advice = "still moving away from where it was", ""
    yield Verdict("Is it stationary?", ratio, error, "1, first relation of Yaida", stands, advice)
