"""The rows of a Stationarity record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lightning_landscape.results.table import Row, spread

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["stationarity_rows"]


def stationarity_rows(dataset: Dataset) -> Iterator[Row]:
    """Yield the ratio of both sides of each relation in a few windows, beside 1."""
    for relation in dataset["relation"].values:
        for k in spread(dataset.sizes["window"], 4):
            at = dataset.sel(relation=relation).isel(window=k)
            verdict = "stationary" if at["stationary"] else "not stationary"
            times = f"t = {float(at['since']):.4g} … {float(at['until']):.4g}"
            quantity = f"{relation} ratio, {times}: {verdict}"
            yield Row(quantity, float(at["ratio"]), float(at["ratio_error"]), 1.0)
