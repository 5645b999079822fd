"""Rows of the jamming studies: the transition, and what is on its two sides."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.exponents import PowerLaw, fit_size_law
from lightning_landscape.observables.gaps import transition_exponents, unsatisfied
from lightning_landscape.observables.threshold import slope
from lightning_landscape.results._changes_record import (
    avalanche_sizes,
    is_decompressed,
    last_minima,
    place_of_exit,
)
from lightning_landscape.results.table import Row
from lightning_landscape.theory.jamming import NETWORKS

if TYPE_CHECKING:
    from torch import Tensor
    from xarray import DataArray, Dataset

__all__ = ["scan_rows", "transition_rows"]

_SOURCE = NETWORKS.source


def transition_rows(dataset: Dataset) -> Iterator[Row]:
    """Yield r_c = P*/N of each point, for random data beside that of large networks; the drift."""
    known, exponent = (3.0, 1.0) if _is_random(dataset) else (math.nan, math.nan)
    in_width = dataset.attrs["varied"] == "h"
    for k in range(dataset.sizes["points"]):
        at = dataset.isel(points=k)
        fixed = f"P = {int(at['point_P'])}" if in_width else f"N = {int(at['point_N'])}"
        name = f"r_c = {'P/N*' if in_width else 'P*/N'} (depth {int(at['point_depth'])}, {fixed})"
        note = f"a bound: widen the {'widths' if in_width else 'ratios'}" if at["bound"] else ""
        yield Row(name, float(at["ratio"]), float(at["ratio_error"]), known, _SOURCE, note)
    yield from _line_rows(dataset, exponent)


def _line_rows(dataset: Dataset, known: float) -> Iterator[Row]:
    """Yield the exponent b of the line P = c N^b of the transition, of each depth.

    What was varied has the errors: log(P/N) is a straight line of slope b - 1 in log N at given
    sizes, and of slope 1 - 1/b in log P at given numbers of patterns.
    """
    in_width = dataset.attrs["varied"] == "h"
    for depth in np.unique(dataset["point_depth"]):
        of = dataset.isel(points=np.flatnonzero(dataset["point_depth"] == depth))
        given = np.log(of["point_P" if in_width else "point_N"].to_numpy())
        if np.ptp(given) == 0:
            continue
        r_c = of["ratio"].to_numpy()
        c, error = slope(given, np.log(r_c), of["ratio_error"].to_numpy() / r_c)
        b = 1 / (1 - c) if in_width else 1 + c
        error *= b**2 if in_width else 1
        yield Row(f"b of the line P ∝ N^b (depth {depth})", b, error, known, _SOURCE)


def scan_rows(dataset: Dataset) -> Iterator[Row]:
    """Yield, at each size and P, how many jam and with what, how well they predict, avalanches."""
    beyond = False  # the first place where half of them jam
    for place, at in _places(dataset):
        yield _row(f"jammed share ({place})", at["jammed"])
        jammed = at.isel(run=np.flatnonzero(at["jammed"]))
        if jammed.sizes["run"]:
            first = not beyond and bool(at["jammed"].mean() >= 0.5)
            known = _jump(dataset) if first else math.nan
            beyond = beyond or first
            share = jammed["unsatisfied"] / jammed["N"]
            yield _row(f"N_Δ/N of the jammed ({place})", share, known)
        for name, words in (
            ("test_error", "test error"),
            ("early_test_error", "early stopping"),
        ):
            if name in at:
                yield _row(f"{words} ({place})", at[name])
        if "avalanche" in at and jammed.sizes["run"]:
            yield from _avalanche_rows(place, jammed)
            if is_decompressed(jammed):
                yield from _minima_rows(place, jammed)


def _avalanche_rows(place: str, jammed: Dataset) -> Iterator[Row]:
    """Yield the mean size of avalanches in the jammed phase, that without a change, and tau."""
    sizes = avalanche_sizes(jammed)
    yield _row(f"avalanche ({place})", sizes.mean("change").dropna("run"))
    yield _row(f"the same without a change ({place})", jammed["avalanche"].isel(change=0))
    law = fit_size_law(sizes, 1, int(jammed["P"].max()))
    if np.isfinite(law.exponent):
        yield _exponent(f"τ of avalanche sizes ({place})", law, -law.exponent)


def _minima_rows(place: str, jammed: Dataset) -> Iterator[Row]:
    """Yield where changes led out of the jammed phase, and what the last minima before were."""
    exits = place_of_exit(jammed).dropna("run")
    if n := exits.sizes["run"]:
        note = f"of the {n} of {jammed.sizes['run']} that did"
        yield replace(_row(f"P/N where they ceased to jam ({place})", exits), note=note)
    gaps, loss = last_minima(jammed)
    if not len(loss):
        return
    N = int(jammed["N"][0])
    yield _row(f"L of the last minima ({place})", loss)
    yield _row(f"N_Δ/N of the last minima ({place})", unsatisfied(gaps) / N, _jump(jammed))
    theta, gamma = transition_exponents(gaps, loss)
    for name, fit, s, known in (
        ("θ", theta, theta.exponent, NETWORKS.theta),
        ("γ", gamma, -gamma.exponent, NETWORKS.gamma),
    ):
        if np.isfinite(s):
            yield _exponent(f"{name} of the last minima ({place})", fit, s, known)


def _exponent(name: str, fit: PowerLaw, exponent: float, known: float = math.nan) -> Row:
    note = f"on [{fit.low:g}, {fit.high:g}], p = {fit.p_value:.2g}"
    return Row(name, exponent, fit.error_bar, known, _SOURCE, note)


def _is_random(dataset: Dataset) -> bool:
    return "RandomData" in dataset.attrs.get("config", "")


def _jump(dataset: Dataset) -> float:
    """Return the published N_Delta/N where jamming begins, which is that of random data."""
    return 0.75 if _is_random(dataset) else math.nan


def _places(dataset: Dataset) -> Iterator[tuple[str, Dataset]]:
    """Yield the runs of each family, width and P, with a name, in the order of P/N."""
    places = sorted({(P / N, depth, N, P) for depth, N, P in _columns(dataset, "depth", "N", "P")})
    for ratio, depth, N, P in places:
        here = (dataset["depth"] == depth) & (dataset["N"] == N) & (dataset["P"] == P)
        name = f"depth {depth}, N = {N}, P/N = {ratio:.2f}"
        yield name, dataset.isel(run=np.flatnonzero(here))


def _columns(dataset: Dataset, *names: str) -> Iterator[tuple[int, ...]]:
    return zip(*(dataset[name].to_numpy().tolist() for name in names), strict=True)


def _row(name: str, values: DataArray | Tensor, known: float = math.nan) -> Row:
    """Return the mean over networks with its standard error."""
    x = np.asarray(values, dtype=float)
    error = x.std(ddof=1).item() / len(x) ** 0.5 if len(x) > 1 else math.nan
    return Row(name, x.mean().item() if len(x) else math.nan, error, known, _SOURCE)
