"""The local learning coefficient, half the effective dimension of a minimum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.statistics import mean_and_error, rungs
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row, estimate, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["LearningCoefficient"]


@register("LearningCoefficient")
class LearningCoefficient(Result):
    """lambda(t); on a ladder that of the coldest replicas, which are the nearest to a minimum."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield the learning coefficient at a few times, and twice it, the dimension."""
        for k in spread(dataset.sizes["t"], 5):
            at = dataset.isel(t=k)
            T, coldest = rungs(at["temperature"])[0]
            at = at.isel(replica=coldest)
            where = f"t = {float(at['t']):.4g}" + (f", from T = {T:.3g}" if T > 0 else "")
            value, error = at["learning_coefficient"], at["error"]
            yield estimate(f"learning coefficient λ({where})", value, error)
            hot = dataset.attrs["chain_temperature"]
            yield estimate(f"N = 2λ({where}; T = {hot:.3g})", 2 * value, 2 * error)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return lambda(t)."""
        return [_in_time]


def _in_time(dataset: Dataset, axes: Axes) -> None:
    """The local learning coefficient of the coldest replicas against time, with N/2."""
    _, coldest = rungs(dataset["temperature"].isel(t=-1))[0]
    dataset = dataset.isel(replica=coldest)
    mean, error = mean_and_error(dataset["learning_coefficient"])
    own = (dataset["error"] ** 2).sum("replica") ** 0.5 / dataset.sizes["replica"]
    axes.errorbar(dataset["t"], mean, np.fmax(error, own), fmt="o")
    axes.axhline(dataset.attrs["N"] / 2, color="gray", linewidth=0.5, label="N/2")
    axes.set(xlabel="t", ylabel=r"learning coefficient $\hat\lambda$", xscale="log")
    axes.set_yscale("log" if bool((mean > 0).all()) else "linear")
    axes.legend()
