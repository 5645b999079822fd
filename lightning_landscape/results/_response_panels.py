"""The panels of the records of response and of damage spreading."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.response import (
    FAST,
    SLOW,
    effective_temperature,
    ratio_temperature,
)
from lightning_landscape.observables.statistics import mean_and_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["against_decay", "damage", "temperatures"]


def against_decay(dataset: Dataset, axes: Axes) -> None:
    """The response against what has decayed: the fluctuation-dissipation plot."""
    for curve, color in _curves(dataset):
        (x, dx), (y, dy) = mean_and_error(curve["MSD"] / 2), mean_and_error(curve["chi"])
        axes.errorbar(x, y, dy, dx, fmt="o", markersize=3, color=color)
        if "chi_exact" in curve:
            axes.plot(curve["MSD_exact"] / 2, curve["chi_exact"], color=color, linewidth=1)
    T = np.atleast_1d(dataset.attrs["temperature"])
    if np.ptp(T) == 0 and T[0] > 0:
        top = float(mean_and_error(dataset["chi"])[0].max())
        label = r"equilibrium, slope $1/T$"
        axes.plot([0, T[0] * top], [0, top], color="gray", linestyle="--", label=label)
        axes.legend(frameon=False, fontsize="small")
    on_sphere = "theory" in dataset.attrs
    axes.set(xlabel=r"$1 - C$" if on_sphere else r"$\Delta/2$", ylabel=r"$\chi$")
    if not on_sphere:
        axes.set(xscale="log", yscale="log")


def temperatures(dataset: Dataset, axes: Axes) -> None:
    """The effective temperature of each waiting time: at once, of the fast and the slow part."""
    curves = [curve for curve, _ in _curves(dataset)]
    tw = [float(curve["tw"]) for curve in curves]
    parts = [
        (None, "at the shortest t", "D"),
        (FAST, "first quarter", "o"),
        (SLOW, "second half", "s"),
    ]
    for window, name, marker in parts:
        found = [_temperature(curve, "", window) for curve in curves]
        value, error = np.array(found).reshape(-1, 2).T
        bars = axes.errorbar(tw, value, error, fmt=marker, markersize=4, label=name)
        if "chi_exact" in dataset:
            exact = [_temperature(curve, "_exact", window)[0] for curve in curves]
            axes.plot(tw, exact, marker="_", markersize=14, color=bars[0].get_color())
    T = np.atleast_1d(dataset.attrs["temperature"])
    if np.ptp(T) == 0 and T[0] > 0:
        axes.axhline(T[0], color="gray", linestyle="--", linewidth=1, label="T of the bath")
    linear = dataset["tw"].min() == 0
    axes.set(xscale="linear" if linear else "log", xlabel="$t_w$", ylabel=r"$T_{\rm eff}$")
    axes.set_xticks(tw, [f"{time:g}" for time in tw])
    axes.set_xticks([], minor=True)
    if "theory" not in dataset.attrs:
        axes.set_yscale("log")
    axes.legend(title="of the decay", frameon=False, fontsize="small")


def damage(dataset: Dataset, axes: Axes) -> None:
    """The distance of copies in time, on logarithmic axes."""
    mean, error = mean_and_error(dataset["d2"])
    if "d2_exact" in dataset:
        axes.plot(dataset["t"], dataset["d2_exact"], color="black", linewidth=1, label="exact")
    axes.errorbar(dataset["t"], mean, error, fmt="o", markersize=3, label="measured")
    T = np.atleast_1d(dataset.attrs["temperature"])
    if np.ptp(T) == 0 and T[0] > 0:
        free = 4 * T[0] * dataset["t"]
        shown = free < 2 * float(mean.max())
        label = "free diffusion, 4 T t"
        axes.plot(dataset["t"][shown], free[shown], color="gray", linestyle="--", label=label)
    axes.set(xscale="log", yscale="log", xlabel="t", ylabel=r"$d^2 = |x_a - x_b|^2/N$")
    axes.legend(frameon=False)


def _curves(dataset: Dataset) -> list[tuple[Dataset, tuple[float, ...]]]:
    """The record of each waiting time that was reached, and its color."""
    from matplotlib import colormaps

    reached = dataset.dropna("tw", how="all", subset=["chi"])
    colors = colormaps["viridis"](np.linspace(0, 0.9, reached.sizes["tw"]))
    curves = (reached.sel(tw=tw).dropna("t", how="all", subset=["chi"]) for tw in reached["tw"])
    return [(curve, tuple(color)) for curve, color in zip(curves, colors, strict=True)]


def _temperature(
    curve: Dataset, suffix: str, window: tuple[float, float] | None
) -> tuple[float, float]:
    if window is None:
        at = curve.isel(t=0)
        return ratio_temperature(at[f"MSD{suffix}"] / 2, at[f"chi{suffix}"])
    return effective_temperature(curve[f"MSD{suffix}"] / 2, curve[f"chi{suffix}"], window)
