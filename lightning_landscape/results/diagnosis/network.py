"""Verdicts on the network: its start, its size, the curvature around it, and its classes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.statistics import mean_and_error
from lightning_landscape.results.diagnosis.verdict import CANNOT_TELL, Verdict
from lightning_landscape.results.quantities.class_balance import unbiased
from lightning_landscape.results.quantities.wide_networks.verdict import verdict

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

__all__ = ["alignment", "classes", "curvature", "fit", "initialization"]

_SIGMAS = 2.0
_HALF = 0.5  # of the trace, and of perfect alignment
_LEFT_BEHIND = 0.5  # of the mean recall
_RELU_JAMS = 0.5  # least N_Delta / N of a minimum that does not fit, for ReLU


def initialization(dataset: Dataset) -> Iterator[Verdict]:
    """Say whether signals and gradients pass the layers at the first time."""
    first = dataset.isel(t=0)
    if float(first["t"]) != 0:
        return
    chi = first["perpendicular"].isel(layer=slice(None, -1))
    with np.errstate(divide="ignore"):
        growth = chi.copy(data=np.log(chi.to_numpy())).mean("layer")
    value, error = _mean_over_replicas(growth)
    said, _, advice = verdict(first).partition("; ")
    if not math.isfinite(value):
        said, advice = CANNOT_TELL, "no gradient passes some layers, which may be beside each other"
    elif error > 0 and abs(value) < _SIGMAS * error:
        said, advice = "gradients keep their size, within the error", ""
    yield Verdict(
        "Does the signal get through at initialization?",
        math.exp(value),
        math.exp(value) * error,
        "1, χ⊥ of a layer",
        said,
        advice,
    )


def fit(dataset: Dataset) -> Iterator[Verdict]:
    """Say whether the data are fitted, from the patterns that are not satisfied at the end."""
    unsatisfied = dataset["unsatisfied"].isel(t=-1) / dataset.attrs["weights"]
    fits = dataset["satisfied"].isel(t=-1).astype(float)
    share, (value, error) = float(fits.mean()), _mean_over_replicas(unsatisfied)
    if share == 1:
        stands, advice = "over-parametrized: every pattern is satisfied", ""
    elif value > _RELU_JAMS:
        stands = "jammed: more patterns are unsatisfied than half the weights"
        advice = "widen the network, or take fewer data, until N_Δ drops to 0"
    else:
        stands = f"{100 * share:.0f} % of the networks fit; the others are still descending"
        advice = "train longer: minima that do not fit have N_Δ/N near 1/2 or above"
    yield Verdict(
        "Is it over-parametrized?",
        value,
        error,
        "N_Δ/N = 0 fits; ≥ 1/2 jammed (ReLU)",
        stands,
        advice,
    )


def curvature(dataset: Dataset) -> Iterator[Verdict]:
    """Say how many directions are curved, and whether any lead down."""
    last = dataset.isel(t=-1)
    N = float(dataset.attrs["N"])
    trace, square = last["trace"], last["trace_of_square"]
    value, error = _mean_over_replicas(trace**2 / square / N)
    highest, lowest = (last[name].isel(rank=0).mean().item() for name in ("highest", "lowest"))
    down = -lowest / highest
    if not highest > 0:
        stands, advice = CANNOT_TELL, "no positive curvature was found"
    elif down > 0.1:
        stands = f"not in a valley: the steepest way down has {down:.2g} of the highest curvature"
        advice = "train longer, or look for saddles nearby"
    else:
        stands = f"a valley; {value * N:.2g} of {N:.6g} directions hold its curvature"
        advice = "most directions are flat: a few hold what limits lr" if value < 0.1 else ""
    yield Verdict(
        "How curved is the floor?", value, error, "(tr H)²/(N tr H²) = 1 where all are equal",
        stands, advice,
    )  # fmt: skip
    if "part_trace" in last and last.sizes["part"] > 1:
        yield _stiffest(last)


def _stiffest(last: Dataset) -> Verdict:
    """Say which parameters hold most of the curvature, by the traces of their diagonal blocks."""
    shares = last["part_trace"] / last["trace"]
    k = int(shares.mean("replica").argmax("part"))
    own = (last["part_trace_error"] / last["trace"]).isel(part=k)
    value, error = _mean_over_replicas(shares.isel(part=k))
    noise = float((own**2).sum() ** 0.5) / own.sizes["replica"]
    error = noise if math.isnan(error) else max(error, noise)
    parts = last.sizes["part"]
    stands, advice = f"{last['part'].to_numpy()[k]} holds {100 * value:.0f} % of the trace", ""
    if error > value / 2:
        stands = CANNOT_TELL
    elif value > _HALF:
        advice = "a smaller step for it alone, or a layer norm before it, would allow longer steps"
    return Verdict(
        "Which parameters are curved most?", value, error, f"{1 / parts:.2g} if all alike",
        stands, advice,
    )  # fmt: skip


def alignment(dataset: Dataset) -> Iterator[Verdict]:
    """Say whether the noise of mini-batches acts where the landscape is curved."""
    last = dataset.isel(t=-1)
    value, error = _mean_over_replicas(last["cosine"])
    own = float((last["cosine_error"] ** 2).sum("replica") ** 0.5) / last.sizes["replica"]
    error = own if math.isnan(error) else max(error, own)
    if abs(value - _HALF) < _SIGMAS * error:
        stands, advice = CANNOT_TELL, ""
    elif value > _HALF:
        stands, advice = "the noise acts on curved directions, and leaves flat ones alone", ""
    else:
        stands = "the noise acts on flat directions too"
        advice = "there it makes the weights diffuse: an average over the last steps takes it out"
    yield Verdict(
        "Is the noise along the curvature?", value, error, "tr(HC)/(|H||C|) = 1 for C ∝ H",
        stands, advice,
    )  # fmt: skip


def classes(dataset: Dataset) -> Iterator[Verdict]:
    """Say how evenly the classes are guessed at the start, and whether one of them gets worse."""
    first = dataset.isel(t=0)
    C = dataset.sizes["class"]
    if float(first["t"]) == 0:
        yield _guesses(first, unbiased(dataset), C)
    if float(dataset["t"][-1]) > 0:
        yield _in_training(dataset)


def _in_training(dataset: Dataset) -> Verdict:
    """Compare the class with the lowest recall with the mean over the samples, at the end."""
    last = dataset.isel(t=-1).fillna(0.0)
    mean = float((last["recall"] * last["frequency"]).sum("class").mean())
    there = last["recall"].where(last["frequency"] > 0)
    worst = int(there.mean("replica").fillna(np.inf).argmin("class"))
    of_worst = last.isel({"class": worst})
    value, error = _mean_over_replicas(of_worst["recall"])
    rises = " and its loss rises" if float(of_worst["descent"].mean()) < 0 else ""
    if value < _LEFT_BEHIND * mean:
        stands = f"class {worst} ({100 * float(of_worst['frequency']):.2g} % of the samples) is "
        stands += f"left behind{rises}"
        advice = "weight or sample the classes evenly, or raise the batch size"
    else:
        stands, advice = f"alike: the lowest recall is that of class {worst}", ""
    return Verdict(
        "Are classes treated alike in training?",
        value,
        error,
        f"{mean:.3g}, recall of the average sample",
        stands,
        advice,
    )


def _guesses(first: Dataset, even: float, C: int) -> Verdict:
    value, error = _mean_over_replicas(first["repeated"])
    exact = float(first["repeated_exact"]) if "repeated_exact" in first else math.nan
    expected = f"{even:.3g} without bias" + (f", theory {exact:.3g}" if exact == exact else "")
    largest = float(first["share"].max("class").mean())
    if value < 1.5 * even:
        stands, advice = "all classes are guessed about as often", ""
    else:
        stands = f"{100 * largest:.0f} % of the guesses are one class of {C}"
        advice = "center the inputs, or use a bounded odd activation, if early steps matter"
    return Verdict(
        "Are classes guessed alike at initialization?", value, error, expected, stands, advice
    )


def _mean_over_replicas(values: DataArray) -> tuple[float, float]:
    mean, error = mean_and_error(values)
    return float(mean), float(error)
