"""Panels of records whose replicas are at several temperatures: curves by T, and numbers over T."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.relaxation import relaxation_time, susceptibility
from lightning_landscape.observables.scaling import collapse
from lightning_landscape.observables.statistics import by_temperature, mean_and_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["collapse_exponent", "correlation", "energy", "peak", "tau"]


def energy(dataset: Dataset, axes: Axes) -> None:
    """E(t), a curve a temperature."""
    shown = dataset.sel(t=dataset["t"] > 0)
    _curves(shown, axes, "energy")
    axes.set(ylabel=dataset.attrs.get("energy_unit", "energy"))


def correlation(dataset: Dataset, axes: Axes) -> None:
    """C(t) from the first waiting time on, a curve a temperature."""
    _curves(dataset.isel(tw=0), axes, "C")
    axes.axhline(np.exp(-1), color="gray", linewidth=0.5)
    axes.set(ylabel=f"C(tw + t, tw), tw = {float(dataset['tw'][0]):g}")


def tau(dataset: Dataset, axes: Axes) -> None:
    """The relaxation time against T."""
    groups = [(T, some.isel(tw=0)) for T, some in by_temperature(dataset)]
    measured = [(T, *relaxation_time(x["t"], x["C"])) for T, x in groups]
    T, times, errors = np.array(measured).T
    if "C_exact" in dataset:
        exact = [relaxation_time(x["t"], x["C_exact"][:, :1])[0] for _, x in groups]
        axes.plot(T, exact, color="black", linewidth=1, label="exact")
    axes.errorbar(T, times, errors, fmt="o", markersize=3, label="measured")
    axes.set(xlabel="T", ylabel="τ: C(τ) = 1/e")
    if np.isfinite(times).any():  # a logarithmic axis of nothing cannot be drawn
        axes.set(xscale="log" if T[-1] > 10 * T[0] > 0 else "linear", yscale="log")
    axes.legend(frameon=False)


def peak(dataset: Dataset, axes: Axes) -> None:
    """The dynamical susceptibility chi_4(t), a curve a temperature."""
    from matplotlib import colormaps

    groups = [(T, x.isel(tw=0)) for T, x in by_temperature(dataset) if x.sizes["replica"] > 2]
    for (T, some), color in zip(groups, colormaps["plasma"](_spaced(groups)), strict=True):
        chi, error = susceptibility(some["C"], dataset.attrs["N"])
        axes.errorbar(some["t"], chi, error, fmt="o", markersize=3, color=color, label=f"{T:g}")
    axes.set(xscale="log", xlabel="t", ylabel="χ₄ = N Var C")
    if groups:  # a variance takes three replicas at one temperature
        axes.legend(title="T", frameon=False, fontsize="small")


def collapse_exponent(dataset: Dataset, axes: Axes) -> None:
    """The exponent of the collapse on t / tw^mu against T: above 0 where the system ages."""
    aged = dataset.sel(tw=dataset["tw"] > 0)
    groups = [(T, some.dropna("tw", how="all", subset=["MSD"])) for T, some in by_temperature(aged)]
    found = [(T, collapse(x["tw"], x["t"], x["MSD"])) for T, x in groups if x.sizes["tw"] > 1]
    for T, at in found:
        axes.errorbar(T, at.exponent, at.error, fmt="o", markersize=3, color="C0")
    axes.axhline(0, color="gray", linewidth=0.5)
    axes.set(
        xscale="log" if found else "linear", xlabel="T", ylabel=r"$\mu$ of $\Delta(t / t_w^\mu)$"
    )


def _curves(dataset: Dataset, axes: Axes, name: str) -> None:
    from matplotlib import colormaps

    groups = by_temperature(dataset)
    for (T, some), color in zip(groups, colormaps["plasma"](_spaced(groups)), strict=True):
        mean, error = mean_and_error(some[name])
        axes.errorbar(some["t"], mean, error, fmt="o", markersize=3, color=color, label=f"{T:g}")
        if f"{name}_exact" in some:
            axes.plot(some["t"], some[f"{name}_exact"].isel(replica=0), color=color, linewidth=1)
    axes.set(xscale="log", xlabel="t")
    axes.legend(title="T", frameon=False, fontsize="small")


def _spaced(groups: list[tuple[float, Dataset]]) -> np.ndarray:
    return np.linspace(0, 0.85, len(groups))
