"""The panels of GradientNoise and NoiseSpectrum records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.statistics import mean_and_error
from lightning_landscape.results._time_axis import logarithmic_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["cosine", "eigenvalues", "kurtosis", "overlap", "strength"]

_SHOWN_TIMES = 4


def strength(dataset: Dataset, axes: Axes) -> None:
    """D in time, by layer in thin lines, and the squared gradient beside it."""
    for part in dataset["part"]:
        axes.plot(
            dataset["t"], dataset["D_part"].sel(part=part).mean("replica"), color="tab:blue",
            linewidth=0.5, alpha=0.5,
        )  # fmt: skip
    shown = {"D": ("tab:blue", "$D$, noise"), "gradient_square": ("tab:red", r"$|\nabla E|^2/N$")}
    for name, (color, label) in shown.items():
        mean, error = mean_and_error(dataset[name])
        axes.errorbar(dataset["t"], mean, error, fmt="o-", markersize=3, color=color, label=label)
    axes.set(yscale="log", xlabel="t", ylabel=f"B = {dataset.attrs.get('batch_size', 'that seen')}")
    logarithmic_time(dataset, axes)
    axes.legend(title="thin: by layer", frameon=False)


def kurtosis(dataset: Dataset, axes: Axes) -> None:
    """The excess kurtosis of the mini-batch gradient along directions, in time."""
    if "kurtosis" not in dataset:
        axes.set_axis_off()
        return
    along = [dim for dim in dataset["kurtosis"].dims if dim not in ("t", "replica")]
    values = dataset["kurtosis"].stack(sample=["replica", *along])
    axes.fill_between(
        dataset["t"], values.quantile(0.16, "sample"), values.quantile(0.84, "sample"), alpha=0.3,
        label="two thirds of them",
    )  # fmt: skip
    axes.plot(dataset["t"], values.mean("sample"), "o-", markersize=3, label="mean")
    axes.axhline(0, color="gray", linewidth=0.5)
    axes.set(xlabel="t", ylabel="excess kurtosis of $g_B$")
    axes.set_yscale("symlog", linthresh=1)
    logarithmic_time(dataset, axes)
    axes.legend(title="along directions", frameon=False)


def eigenvalues(dataset: Dataset, axes: Axes) -> None:
    """The leading eigenvalues of noise and curvature in time."""
    shown = {"eigenvalues": ("tab:blue", "noise $C$"), "curvatures": ("tab:red", "Hessian $H$")}
    for name, (color, label) in shown.items():
        values = dataset[name].where(dataset[name] > 0).mean("replica")
        axes.plot(dataset["t"], values.isel(rank=0), "o-", markersize=3, color=color, label=label)
        axes.plot(dataset["t"], values.isel(rank=slice(1, None)), color=color, linewidth=0.5)
    axes.set(yscale="log", xlabel="t", ylabel="highest eigenvalues")
    logarithmic_time(dataset, axes)
    axes.legend(frameon=False)


def overlap(dataset: Dataset, axes: Axes) -> None:
    """The overlap of the j leading eigenvectors of both, against j."""
    from matplotlib import colormaps

    times = np.unique(np.linspace(0, dataset.sizes["t"] - 1, _SHOWN_TIMES).round().astype(int))
    ranks = np.arange(1, dataset.sizes["rank"] + 1)
    for t, color in zip(times, colormaps["viridis"](np.linspace(0, 0.9, len(times))), strict=True):
        at = dataset.isel(t=t)
        mean, error = mean_and_error(at["overlap"])
        label = f"t = {float(at['t']):.4g}"
        axes.errorbar(ranks, mean, error, fmt="o-", markersize=3, color=color, label=label)
    random = ranks * dataset.attrs["random_overlap"]
    axes.plot(ranks, random, color="black", linewidth=1, label="random spaces")
    axes.set(xlabel="leading eigenvectors j", ylabel="overlap of their spaces", ylim=(0, 1.02))
    axes.legend(frameon=False, fontsize="small")


def cosine(dataset: Dataset, axes: Axes) -> None:
    """tr(HC) / (|H| |C|) in time."""
    mean, scatter = mean_and_error(dataset["cosine"])
    own = (dataset["cosine_error"] ** 2).sum("replica") ** 0.5 / dataset.sizes["replica"]
    error = np.fmax(scatter, own)
    axes.errorbar(dataset["t"], mean, error, fmt="o-", markersize=3)
    axes.axhline(1, color="gray", linewidth=0.5)
    axes.set(xlabel="t", ylabel=r"$\mathrm{tr}(HC)\,/\,|H||C|$", ylim=(min(0, mean.min()), 1.02))
    logarithmic_time(dataset, axes)
