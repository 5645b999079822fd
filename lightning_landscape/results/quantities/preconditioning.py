"""How many steps preconditioners save, predicted and carried out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.statistics import mean_and_error
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row, row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["Preconditioning"]


@register("Preconditioning")
class Preconditioning(Result):
    """Gains of preconditioners over plain descent, and the spread of the curvature."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield spread and gains at the last time."""
        last = dataset.isel(t=-1)
        for kind in dataset["preconditioner"].to_numpy():
            of_kind = last.sel(preconditioner=kind)
            yield row(f"spread of the curvature ({kind})", of_kind["spread"])
            if kind == "none":
                continue
            yield row(f"gain in steps, predicted ({kind})", of_kind["gain"])
            if of_kind["measured_gain"].notnull().any():
                yield row(f"gain in steps, carried out ({kind})", of_kind["measured_gain"])

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return the gains at the last time."""
        return [_gains]


def _gains(dataset: Dataset, axes: Axes) -> None:
    """Steps of plain descent over those with each preconditioner, for the same fall in energy."""
    last = dataset.isel(t=-1)
    kinds = [kind for kind in dataset["preconditioner"].to_numpy() if kind != "none"]
    x = np.arange(len(kinds))
    for name, label, fmt in (("gain", "predicted", "o"), ("measured_gain", "carried out", "s")):
        found = last[name].sel(preconditioner=kinds)
        if found.isnull().all():
            continue
        mean, error = mean_and_error(found.transpose("replica", ...))
        shift = 0.1 if fmt == "s" else -0.1
        bars = np.nan_to_num(np.asarray(error, dtype=float))
        axes.errorbar(x + shift, np.asarray(mean, dtype=float), bars, fmt=fmt, label=label)
    axes.axhline(1, color="black", linewidth=1)
    axes.set(xlabel="preconditioner", ylabel="times fewer steps", yscale="log")
    axes.set_xticks(x, kinds)
    axes.legend()
