"""Whether a run is stationary: both sides of fluctuation-dissipation relations, and their ratio."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["Stationarity"]

_POINTS = 30


@register("Stationarity")
class Stationarity(Result):
    """The relations of a stationary state, whose two sides have the ratio 1."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield the ratio of both sides of each relation in a few windows."""
        for relation in dataset["relation"].values:
            for k in spread(dataset.sizes["window"], 4):
                at = dataset.sel(relation=relation).isel(window=k)
                verdict = "stationary" if at["stationary"] else "not stationary"
                times = f"t = {float(at['since']):.4g} … {float(at['until']):.4g}"
                quantity = f"{relation} ratio, {times}: {verdict}"
                yield Row(quantity, float(at["ratio"]), float(at["ratio_error"]), 1.0)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return both sides in time, and their ratio; a short run has no ratio."""
        return [_sides, *([_ratios] if dataset.sizes["window"] else [])]


def _sides(dataset: Dataset, axes: Axes) -> None:
    """Both sides of each relation in time, averaged over replicas and over bins of log t."""
    shown = dataset.sel(t=dataset["t"] > 0).mean("replica")
    t = shown["t"].to_numpy()
    edges = np.unique(np.geomspace(1, max(len(t), 2), _POINTS).astype(int)) - 1
    bins = [slice(a, b) for a, b in pairwise(edges)]
    times = [t[b].mean() for b in bins]
    for relation, color in zip(dataset["relation"].values, ("tab:blue", "tab:red"), strict=False):
        for side, style in (("left", "o"), ("right", "-")):
            values = shown[side].sel(relation=relation).to_numpy()
            means = [values[b].mean() for b in bins]
            axes.plot(times, means, style, color=color, label=f"{relation}, {side} side")
    axes.set(xscale="log", xlabel="t", ylabel="mean over replicas")
    axes.set_yscale("symlog", linthresh=_smallest(shown))
    axes.legend()


def _smallest(shown: Dataset) -> float:
    """Return a scale below which a symmetric logarithmic axis may be linear."""
    right = shown["right"].to_numpy()
    positive = right[right > 0]
    return float(positive.min()) if len(positive) else 1.0


def _ratios(dataset: Dataset, axes: Axes) -> None:
    """The ratio of both sides in each window."""
    for k, relation in enumerate(dataset["relation"].values):
        at = dataset.sel(relation=relation)
        middle = np.sqrt(np.maximum(at["since"], 1e-300) * at["until"]) * 1.05**k
        axes.errorbar(middle, at["ratio"], at["ratio_error"], fmt="o", label=relation)
    axes.axhline(1, color="black", linewidth=1, label="stationary")
    axes.set(xscale="log", xlabel="window (t/2, t]", ylabel="left side / right side")
    axes.xaxis.set_minor_formatter("")
    axes.legend()
