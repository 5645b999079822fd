"""Rows of the jamming studies: the transition, and what is on its two sides."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.cli.table import Row

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

__all__ = ["scan_rows", "transition_rows"]

_SOURCE = "Geiger 2019, N ~ 8000"


def transition_rows(dataset: Dataset) -> Iterator[Row]:
    """Yield r_c = P*/N of each point; for random data beside that of large networks."""
    known = 3.0 if "RandomData" in dataset.attrs.get("config", "") else math.nan
    for k in range(dataset.sizes["points"]):
        at = dataset.isel(points=k)
        name = f"r_c = P*/N (depth {int(at['point_depth'])}, N = {int(at['point_N'])})"
        note = "a bound: widen the ratios" if at["bound"] else ""
        yield Row(name, float(at["ratio"]), float(at["ratio_error"]), known, _SOURCE, note)


def scan_rows(dataset: Dataset) -> Iterator[Row]:
    """Yield, at each size and P, how many jam and with what, how well they predict, avalanches."""
    beyond = False  # the first place where half of them jam
    for place, at in _places(dataset):
        yield _row(f"jammed share ({place})", at["jammed"])
        jammed = at.isel(run=np.flatnonzero(at["jammed"]))
        if jammed.sizes["run"]:
            first = not beyond and bool(at["jammed"].mean() >= 0.5)
            known, beyond = (0.75, True) if first else (math.nan, beyond)
            share = jammed["unsatisfied"] / jammed["N"]
            yield _row(f"N_Δ/N of the jammed ({place})", share, known)
        for name, words in (
            ("test_error", "test error"),
            ("early_test_error", "early stopping"),
            ("avalanche", "avalanche"),
            ("avalanche_control", "avalanche, none replaced"),
        ):
            if name in at:
                yield _row(f"{words} ({place})", at[name])


def _places(dataset: Dataset) -> Iterator[tuple[str, Dataset]]:
    """Yield the runs of each family, width and P, with a name, in the order of P/N."""
    places = sorted({(P / N, depth, N, P) for depth, N, P in _columns(dataset, "depth", "N", "P")})
    for ratio, depth, N, P in places:
        here = (dataset["depth"] == depth) & (dataset["N"] == N) & (dataset["P"] == P)
        name = f"depth {depth}, N = {N}, P/N = {ratio:.2f}"
        yield name, dataset.isel(run=np.flatnonzero(here))


def _columns(dataset: Dataset, *names: str) -> Iterator[tuple[int, ...]]:
    return zip(*(dataset[name].to_numpy().tolist() for name in names), strict=True)


def _row(name: str, values: DataArray, known: float = math.nan) -> Row:
    """Return the mean over networks with its standard error."""
    R = values.sizes["run"]
    error = float(values.std(ddof=1)) / R**0.5 if R > 1 else math.nan
    return Row(name, float(values.mean()), error, known, _SOURCE)
