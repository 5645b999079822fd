"""The rows of the records of response and of damage spreading."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lightning_landscape.observables.response import (
    FAST,
    SLOW,
    effective_temperature,
    ratio_temperature,
)
from lightning_landscape.results.table import Row, row, spread

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["damage_rows", "response_rows"]


def response_rows(dataset: Dataset) -> Iterator[Row]:
    """Yield the response at two times and three temperatures for each waiting time."""
    for tw in dataset["tw"]:
        curve = dataset.sel(tw=tw).dropna("t", how="all", subset=["chi"])
        for k in spread(curve.sizes["t"], 2):
            at = curve.isel(t=k)
            times = f"tw = {float(tw):.4g}, t = {float(at['t']):.4g}"
            yield row(f"χ({times})", at["chi"], at.get("chi_exact"))
        if curve.sizes["t"]:
            yield _shortest(curve)
            yield _temperature(curve, FAST, "first quarter")
            yield _temperature(curve, SLOW, "second half")


def _temperature(curve: Dataset, window: tuple[float, float], name: str) -> Row:
    quantity = f"T_eff(tw = {float(curve['tw']):.4g}), {name} of the decay"
    measured = effective_temperature(curve["MSD"] / 2, curve["chi"], window)
    if "chi_exact" not in curve:
        return Row(quantity, *measured)
    exact = effective_temperature(curve["MSD_exact"] / 2, curve["chi_exact"], window)
    return Row(quantity, *measured, exact[0])


def _shortest(curve: Dataset) -> Row:
    at = curve.isel(t=0)
    quantity = f"Δ/2χ(tw = {float(at['tw']):.4g}, t = {float(at['t']):.4g})"
    measured = ratio_temperature(at["MSD"] / 2, at["chi"])
    if "chi_exact" not in at:
        return Row(quantity, *measured)
    return Row(quantity, *measured, ratio_temperature(at["MSD_exact"] / 2, at["chi_exact"])[0])


def damage_rows(dataset: Dataset) -> Iterator[Row]:
    """Yield the distance of copies at a few times."""
    for k in spread(dataset.sizes["t"], 6):
        at = dataset.isel(t=k)
        yield row(f"d²(t = {float(at['t']):.4g})", at["d2"], at.get("d2_exact"))
