"""The rows of a GapDistribution record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lightning_landscape.cli.table import Row, row, spread
from lightning_landscape.theory.jamming import NETWORKS

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["gap_rows"]


def gap_rows(dataset: Dataset) -> Iterator[Row]:
    """Yield N_Delta / N at a few times, how many replicas fit, and the exponents at the end."""
    later = dataset.sel(t=dataset["t"] > 0)
    for k in spread(later.sizes["t"], 5):
        at = later.isel(t=k)
        per_weight = at["unsatisfied"] / dataset.attrs["weights"]
        yield row(f"N_Δ/N(t = {float(at['t']):.4g})", per_weight)
    if not dataset.sizes["t"]:
        return
    yield row("replicas that fit", dataset["satisfied"].isel(t=-1).astype(float))
    published = {"theta": ("θ", NETWORKS.theta), "gamma": ("γ", NETWORKS.gamma)}
    for name, (letter, value) in published.items():
        if dataset[name].notnull():
            low, high = dataset.attrs[f"{name}_window"]
            quantity = (
                f"{letter} on [{low:g}, {high:g}], p = {float(dataset[f'{name}_p_value']):.2g}"
            )
            error = float(dataset[f"{name}_error"])
            yield Row(quantity, float(dataset[name]), error, value, NETWORKS.source)
