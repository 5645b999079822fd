"""The rows of a GapDistribution and of a JammingHessian record."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lightning_landscape.results.table import Row, row, spread
from lightning_landscape.theory.jamming import NETWORKS, SPHERES

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["gap_rows", "jamming_rows"]


def gap_rows(dataset: Dataset) -> Iterator[Row]:
    """Yield N_Delta / N at a few times, how many replicas fit, and the exponents at the end."""
    later = dataset.sel(t=dataset["t"] > 0)
    for k in spread(later.sizes["t"], 5):
        at = later.isel(t=k)
        # where the loss vanishes gaps approach 0 from above, and counting them says nothing
        N_Delta = at["unsatisfied"].where(at["satisfied"] == 0, 0)
        at_the_end = at["t"] == dataset["t"][-1]
        exact = at.get("unsatisfied_exact") if at_the_end else None  # of the ground state
        weights = dataset.attrs["weights"]
        known = None if exact is None else exact / weights
        yield row(f"N_Δ/N(t = {float(at['t']):.4g})", N_Delta / weights, known)
    if not dataset.sizes["t"]:
        return
    last = dataset.isel(t=-1)
    yield row("loss at the end", last["loss"], last.get("loss_exact"))
    yield row("replicas that fit", last["satisfied"].astype(float))
    yield from _exponent_rows(dataset)


def _exponent_rows(dataset: Dataset) -> Iterator[Row]:
    if "loss_exact" in dataset:  # not at the transition
        return
    known = SPHERES if dataset.attrs.get("theory") == "perceptron" else NETWORKS
    published = {"theta": ("θ", known.theta), "gamma": ("γ", known.gamma)}
    for name, (letter, value) in published.items():
        if dataset[name].notnull():
            low, high = dataset.attrs[f"{name}_window"]
            quantity = (
                f"{letter} on [{low:g}, {high:g}], p = {float(dataset[f'{name}_p_value']):.2g}"
            )
            error = float(dataset[f"{name}_error"])
            yield Row(quantity, float(dataset[name]), error, value, known.source)
    if "tau" in dataset and dataset["tau"].notnull():
        quantity = f"τ of avalanche sizes, p = {float(dataset['tau_p_value']):.2g}"
        yield Row(quantity, float(dataset["tau"]), float(dataset["tau_error"]))


def jamming_rows(dataset: Dataset) -> Iterator[Row]:
    """Yield N_Delta, N_eff, the rank of H0, negative modes and the trace of Hp at the last time."""
    if not dataset.sizes["t"]:
        return
    last, N = dataset.isel(t=-1), dataset.sizes["eigenvalue"]
    yield row("N_Δ", last["unsatisfied"].astype(float))
    yield row(f"N_eff of {N} parameters", last["effective_parameters"].astype(float))
    yield row("rank of H0", N - last["zero"].sel(part="H0").astype(float))
    for part in ("Hp", "H"):
        yield row(f"negative modes of {part}", last["negative"].sel(part=part).astype(float))
    Hp = last["eigenvalues"].sel(part="Hp")
    trace, size = abs(Hp.sum("eigenvalue")), abs(Hp).sum("eigenvalue")
    yield Row("largest |tr Hp|/tr|Hp|", float((trace / size.where(size > 0)).max()), math.nan)
