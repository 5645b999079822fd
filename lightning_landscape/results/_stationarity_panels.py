"""The panels of a Stationarity record."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["ratios", "sides"]

_POINTS = 30


def sides(dataset: Dataset, axes: Axes) -> None:
    """Both sides of each relation in time, averaged over replicas and over bins of log t."""
    shown = dataset.sel(t=dataset["t"] > 0).mean("replica")
    t = shown["t"].to_numpy()
    edges = np.unique(np.geomspace(1, max(len(t), 2), _POINTS).astype(int)) - 1
    bins = [slice(a, b) for a, b in pairwise(edges)]
    times = [t[b].mean() for b in bins]
    for relation, color in zip(dataset["relation"].values, ("tab:blue", "tab:red"), strict=False):
        for side, style in (("left", "o"), ("right", "-")):
            values = shown[side].sel(relation=relation).to_numpy()
            axes.plot(
                times, [values[b].mean() for b in bins], style, color=color, markersize=3,
                label=f"{relation}, {side} side",
            )  # fmt: skip
    axes.set(xscale="log", xlabel="t", ylabel="mean over replicas")
    axes.set_yscale("symlog", linthresh=_smallest(shown))
    axes.legend(frameon=False, fontsize="small")


def _smallest(shown: Dataset) -> float:
    """A scale below which a symmetric log axis may be linear."""
    right = shown["right"].to_numpy()
    positive = right[right > 0]
    return float(positive.min()) if len(positive) else 1.0


def ratios(dataset: Dataset, axes: Axes) -> None:
    """The ratio of both sides in each window; a short run has none."""
    if not dataset.sizes["window"]:
        axes.set_axis_off()
        return
    for k, relation in enumerate(dataset["relation"].values):
        at = dataset.sel(relation=relation)
        middle = np.sqrt(np.maximum(at["since"], 1e-300) * at["until"]) * 1.05**k
        axes.errorbar(middle, at["ratio"], at["ratio_error"], fmt="o", markersize=3, label=relation)
    axes.axhline(1, color="black", linewidth=1, label="stationary")
    axes.set(xscale="log", xlabel="window (t/2, t]", ylabel="left side / right side")
    axes.xaxis.set_minor_formatter("")
    axes.legend(frameon=False)
