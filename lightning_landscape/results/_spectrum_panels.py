"""The panels of a HessianSpectrum record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.statistics import mean_and_error
from lightning_landscape.results._time_axis import logarithmic_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import DataArray, Dataset

__all__ = ["density", "edges", "negative", "outliers"]

_SHOWN_TIMES = 4


def edges(dataset: Dataset, axes: Axes) -> None:
    """Both ends of the spectrum in time, the k leading eigenvalues of each."""
    for end, color in (("highest", "tab:red"), ("lowest", "tab:blue")):
        for rank in range(1, dataset.sizes["rank"]):
            values = dataset[end].isel(rank=rank).mean("replica")
            axes.plot(dataset["t"], values, color=color, linewidth=0.5, alpha=0.5)
        mean, error = mean_and_error(dataset[end].isel(rank=0))
        axes.errorbar(
            dataset["t"], mean, error, fmt="o", markersize=3, color=color, label=f"{end} $\\lambda$"
        )
    for name in ("lower_edge_exact", "upper_edge_exact"):
        if name in dataset:
            axes.plot(dataset["t"], dataset[name], color="black", linewidth=1)
    axes.axhline(0, color="gray", linewidth=0.5)
    axes.set(xlabel="t", ylabel=r"$\lambda$")
    if not _is_linear(dataset):
        ends = np.abs(dataset[["highest", "lowest"]].isel(rank=0).to_array())
        axes.set_yscale("symlog", linthresh=max(1e-3 * float(ends.max()), 1e-30))
    logarithmic_time(dataset, axes)
    axes.legend(frameon=False)


def density(dataset: Dataset, axes: Axes) -> None:
    """The density of eigenvalues at the last time, on a log axis; what it resolves is filled."""
    last = dataset.isel(t=-1)
    bins = last["edges"].to_numpy()
    width = np.diff(bins)
    mean = last["fraction"].mean("replica").to_numpy()
    error = _total_error(last["fraction"], last["fraction_scatter"])
    resolved = (last["resolution"].median("replica").to_numpy() <= width) & (mean > 0)
    shown = np.where(mean > 0, mean / width, np.nan)
    axes.stairs(np.nan_to_num(shown), bins, color="tab:blue", label="measured")
    axes.stairs(
        np.where(resolved, shown, 0), bins, color="tab:blue", alpha=0.2, fill=True, label="resolved"
    )
    centres = (bins[1:] + bins[:-1]) / 2
    # the scatter of the random vectors knows nothing of bins that are not resolved
    error = np.where(resolved, error, np.nan)
    below = np.minimum(error / width, 0.9 * shown)  # a log axis has no zero
    axes.errorbar(centres, shown, [below, error / width], fmt="none", color="tab:blue")
    if "density_exact" in last:
        exact = last["density_exact"].where(last["density_exact"] > 0)
        axes.stairs(exact, bins, baseline=None, color="black", linewidth=1, label="semicircle")
    elif "eigenvalues" in last:
        counts = np.histogram(last["eigenvalues"], bins)[0] / last["eigenvalues"].size
        axes.stairs(counts / width, bins, color="black", linewidth=1, label="all eigenvalues")
    if not _is_linear(dataset):
        zero = float(bins[bins > 0].min())
        powers = 10.0 ** np.arange(np.ceil(np.log10(zero)), np.log10(bins[-1]), 2)
        axes.set_xscale("symlog", linthresh=zero)
        axes.set_xticks([*-powers[::-1], 0, *powers])
    occupied = np.flatnonzero(mean > 0)
    axes.set_xlim(bins[occupied[0]], bins[occupied[-1] + 1])
    axes.set(yscale="log", ylim=(np.nanmin(shown) / 3, None), xlabel=r"$\lambda$")
    axes.set_ylabel(rf"$\rho(\lambda)$ at t = {float(last['t']):.4g}")
    axes.legend(frameon=False, fontsize="small")


def negative(dataset: Dataset, axes: Axes) -> None:
    """The fraction of negative eigenvalues in time, between its bounds."""
    t, value = dataset["t"], dataset["negative"].mean("replica")
    below = value - dataset["negative_lower"].mean("replica")
    above = dataset["negative_upper"].mean("replica") - value
    axes.errorbar(t, value, [below, above], fmt="o", markersize=3, label="measured, with bounds")
    if "negative_exact" in dataset:
        axes.plot(t, dataset["negative_exact"], color="black", linewidth=1, label="semicircle")
    axes.set(xlabel="t", ylabel="fraction of negative eigenvalues")
    logarithmic_time(dataset, axes)
    axes.legend(frameon=False)


def outliers(dataset: Dataset, axes: Axes) -> None:
    """The highest eigenvalues by rank, beside the number of classes."""
    from matplotlib import colormaps

    times = np.unique(np.linspace(0, dataset.sizes["t"] - 1, _SHOWN_TIMES).round().astype(int))
    for t, color in zip(times, colormaps["viridis"](np.linspace(0, 0.9, len(times))), strict=True):
        at = dataset.isel(t=t)
        mean, error = mean_and_error(at["highest"])
        ranks = np.arange(1, at.sizes["rank"] + 1)
        label = f"t = {float(at['t']):.4g}"
        axes.errorbar(ranks, mean, error, fmt="o-", markersize=3, color=color, label=label)
    classes = dataset.attrs["classes"]
    axes.axvline(classes, color="black", linewidth=1, label=f"{classes} classes")
    axes.set(yscale="log", xlabel="rank", ylabel=r"$\lambda$ from the highest down")
    axes.legend(frameon=False, fontsize="small")


def _is_linear(dataset: Dataset) -> bool:
    return "multiplier" in dataset


def _total_error(values: DataArray, error: DataArray) -> np.ndarray:
    """Standard error of the mean over replicas: their scatter, or that of the estimates."""
    R = values.sizes["replica"]
    own = (error**2).sum("replica").to_numpy() ** 0.5 / R
    return own if R == 1 else np.maximum(own, mean_and_error(values)[1].to_numpy())
