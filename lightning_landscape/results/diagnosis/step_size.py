"""Verdicts on the steps: their length, their noise, and whether they still lead anywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lightning_landscape.observables.statistics import mean_and_error
from lightning_landscape.results.diagnosis.verdict import CANNOT_TELL, Verdict, against, late

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["edge", "noise", "preconditioning", "stationarity"]

_EDGE = "Is the learning rate near the edge?"
_SIGMAS = 2.0
_SURE = 0.5  # largest error of a ratio that is to be told from 0
_WORTH = 2.0  # times fewer steps for which a preconditioner is worth its cost
_HOW = {
    "diagonal": "Adam or RMSprop scale steps in this way",
    "Kronecker": "Shampoo or K-FAC scale steps in this way",
    "fluctuations": "steps in proportion to 1/H_ii, as of a diagonal Newton method",
}
_MANY = 4.0  # how many times above or below the noise scale a batch is clearly large or small


def edge(dataset: Dataset) -> Iterator[Verdict]:
    """Say how far the sharpness, and that of batches, is from where steps overshoot."""
    bound = str(dataset.attrs.get("bound", ""))
    ratio = late(dataset, "edge")
    if ratio is None and (sharpness := late(dataset, "sharpness")) is not None:
        optimizer = dataset.attrs.get("optimizer", "the optimizer")
        yield Verdict(_EDGE, *sharpness, f"of {optimizer}: {bound}", CANNOT_TELL, "")
    if ratio is not None:
        side = against(*ratio)
        highest = ratio[0] + _SIGMAS * (ratio[1] if ratio[1] == ratio[1] else 0.0)
        times = f"{min(1 / highest, 100):.2g}" if highest > 0 else "many"
        stands = {
            "below": f"stable: the sharpness is {ratio[0]:.2g} of its bound",
            "at": "at the edge of stability",
            "above": "beyond the edge: steps overshoot in the sharpest direction",
        }
        advice = {
            "below": f"a step up to {times} times longer is stable",
            "at": "the step sets the sharpness; a longer one finds flatter valleys, or diverges",
            "above": "lower lr if the loss rises",
        }
        yield Verdict(
            _EDGE,
            *ratio,
            f"1, in units of {bound}",
            stands.get(side, side),
            advice.get(side, "measure more often, or with more replicas"),
        )
    if (batch := late(dataset, "batch_edge")) is not None:
        side = against(*batch)
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


def noise(dataset: Dataset) -> Iterator[Verdict]:
    """Say whether signal or noise dominates a step, and at which temperature."""
    scale, B = late(dataset, "noise_scale"), dataset.attrs.get("batch_size")
    unit = dataset.attrs.get("batch_unit", "samples")
    if scale is None:
        scale = (math.nan, math.nan)
    if B is None or not scale[0] > 0:
        stands, advice = CANNOT_TELL, "the gradient is lost in the noise, or B is not known"
    else:
        ratio, spread = float(B) / scale[0], scale[1] / scale[0]
        uncertain = not spread < 0.5
        if uncertain:
            stands, advice = CANNOT_TELL, "measure with more groups"
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
    if (T := late(dataset, "temperature_of_sgd")) is not None:
        yield Verdict("How hot is it?", *T, "T = lr D/2", "as Langevin noise at this temperature")


def stationarity(dataset: Dataset) -> Iterator[Verdict]:
    """Say whether the run still moves away from where it was."""
    ratio = error = math.nan
    if dataset.sizes.get("window", 0):
        at = dataset.sel(relation="FDR1").isel(window=-1)
        ratio, error = float(at["ratio"]), float(at["ratio_error"])
    if abs(ratio - 1) > _SIGMAS * error:
        stands, advice = "still moving away from where it was", ""
    elif error < _SURE:
        stands, advice = "stationary", "lower lr or the temperature, or stop"
    else:
        stands, advice = CANNOT_TELL, "train longer, or measure more often"
    yield Verdict("Is it stationary?", ratio, error, "1, first relation of Yaida", stands, advice)


def preconditioning(dataset: Dataset) -> Iterator[Verdict]:
    """Say how many times fewer steps the best preconditioner needs, by the local curvature."""
    last = dataset.isel(t=-1)
    gains = last["gain"].sel(preconditioner=list(_HOW))
    k = int(gains.mean("replica").argmax("preconditioner"))
    best = str(gains["preconditioner"].to_numpy()[k])
    value, error = (float(one) for one in mean_and_error(gains.sel(preconditioner=best)))
    spread = float(last["spread"].sel(preconditioner="none").mean())
    advice = _HOW[best]
    if not math.isfinite(value) or (error == error and abs(value - _WORTH) < _SIGMAS * error):
        stands, advice = CANNOT_TELL, ""
    elif value > _WORTH:
        stands = f"yes: the {best} one needs {value:.2g} times fewer steps"
    else:
        stands, advice = f"hardly: the best of three is the {best} one", ""
    yield Verdict(
        "Would a preconditioner help?",
        value,
        error,
        f"1; the curvature along the gradient is {1 / spread:.2g} of the highest",
        stands,
        advice,
    )
