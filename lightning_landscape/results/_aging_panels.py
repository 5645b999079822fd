"""Panels of relaxation and aging, one temperature for all replicas."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.errors import UsageError
from lightning_landscape.observables.scaling import collapse
from lightning_landscape.observables.statistics import mean_and_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["collapsed", "relaxation", "two_times"]


def relaxation(dataset: Dataset, axes: Axes) -> None:
    """E(t), and the energy of test data."""
    shown = dataset.sel(t=dataset["t"] > 0)
    mean, error = mean_and_error(shown["energy"])
    if "energy_exact" in dataset:
        axes.plot(shown["t"], shown["energy_exact"], color="black", linewidth=1, label="exact")
    axes.errorbar(shown["t"], mean, error, fmt="o", markersize=3, label="measured")
    if "test_energy" in shown:
        mean, error = mean_and_error(shown["test_energy"])
        axes.errorbar(shown["t"], mean, error, fmt="s", markersize=3, label="test data")
    axes.set(xscale="log", xlabel="t", ylabel=dataset.attrs.get("energy_unit", "energy"))
    axes.legend(frameon=False)


def two_times(name: str, label: str, scale: str) -> Callable[[Dataset, Axes], None]:
    """Return the panel of a two-time function, a curve a waiting time."""

    def panel(dataset: Dataset, axes: Axes) -> None:
        reached = dataset.dropna("tw", how="all", subset=["C"])
        for tw, color in zip(reached["tw"], _colors(reached), strict=True):
            curve = reached.sel(tw=tw)
            mean, error = mean_and_error(curve[name])
            axes.errorbar(
                curve["t"], mean, error, fmt="o", markersize=3, color=color, label=f"{float(tw):g}"
            )
            if f"{name}_exact" in curve:
                axes.plot(curve["t"], curve[f"{name}_exact"], color=color, linewidth=1)
        axes.set(xscale="log", yscale=scale, xlabel="t", ylabel=label)
        if reached.sizes["tw"]:
            axes.legend(title="$t_w$", frameon=False, fontsize="small")

    return panel


def collapsed(dataset: Dataset, axes: Axes) -> None:
    """The displacement against t / tw^mu, with the mu at which its curves fall together best."""
    aged = dataset.sel(tw=dataset["tw"] > 0).dropna("tw", how="all", subset=["MSD"])
    try:
        found = collapse(aged["tw"], aged["t"], aged["MSD"])
    except UsageError as refusal:
        axes.set_title(str(refusal), fontsize="x-small", wrap=True)
        return
    scaled = aged.assign(MSD=aged["MSD"].where(aged["MSD"] > 0))
    for tw, color in zip(scaled["tw"], _colors(scaled), strict=True):
        mean, error = mean_and_error(scaled["MSD"].sel(tw=tw))
        x = scaled["t"] / float(tw) ** found.exponent
        axes.errorbar(x, mean, error, fmt="o", markersize=3, color=color, label=f"{float(tw):g}")
    axes.set(xscale="log", yscale="log", ylabel=r"$\Delta(t_w, t_w + t)$")
    axes.set(xlabel=rf"$t / t_w^\mu$, μ = {found.exponent:.3g} ± {found.error:.1g}")
    axes.legend(title="$t_w$", frameon=False, fontsize="small")


def _colors(dataset: Dataset) -> np.ndarray:
    """Return one color a waiting time."""
    from matplotlib import colormaps

    return colormaps["viridis"](np.linspace(0, 0.9, dataset.sizes["tw"]))
