"""The spectrum of the gradient noise C, and how it aligns with the Hessian H."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.statistics import mean_and_error
from lightning_landscape.results.axes import logarithmic_time, points, shades
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row, estimate, row, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["NoiseSpectrum"]

_SHOWN_TIMES = 4


@register("NoiseSpectrum")
class NoiseSpectrum(Result):
    """Leading eigenvalues of C, and overlap and cosine of C and H."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield the highest eigenvalue of C, the share of the leading ones, and the alignment."""
        k = dataset.sizes["rank"]
        for index in spread(dataset.sizes["t"], 4):
            at = dataset.isel(t=index)
            t, leading = f"(t = {float(at['t']):.4g})", at.isel(rank=0)
            flag = "" if leading["converged"].all() else ", not converged"
            yield estimate(f"λ_max of C{t}{flag}", leading["eigenvalues"], leading["residuals"])
            yield row(f"share of tr C in {k}{t}", at["eigenvalues"].sum("rank") / at["trace"])
            yield row(f"overlap of {k} with H{t}", at["overlap"].isel(rank=-1))
            yield estimate(f"cosine of C and H{t}", at["cosine"], at["cosine_error"])

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return eigenvalues in time, overlap by rank, cosine in time."""
        return [_eigenvalues, _overlap, _cosine]


def _eigenvalues(dataset: Dataset, axes: Axes) -> None:
    """The leading eigenvalues of noise and curvature in time."""
    shown = {"eigenvalues": ("tab:blue", "noise $C$"), "curvatures": ("tab:red", "Hessian $H$")}
    for name, (color, label) in shown.items():
        values = dataset[name].where(dataset[name] > 0).mean("replica").transpose("t", "rank")
        axes.plot(dataset["t"], values.isel(rank=0), "o-", color=color, label=label)
        axes.plot(dataset["t"], values.isel(rank=slice(1, None)), color=color, linewidth=0.5)
    axes.set(yscale="log", xlabel="t", ylabel="highest eigenvalues")
    logarithmic_time(dataset, axes)
    axes.legend()


def _overlap(dataset: Dataset, axes: Axes) -> None:
    """The overlap of the j leading eigenvectors of both, against j."""
    times = spread(dataset.sizes["t"], _SHOWN_TIMES)
    ranks = np.arange(1, dataset.sizes["rank"] + 1)
    for t, color in zip(times, shades(len(times)), strict=True):
        at = dataset.isel(t=t)
        label = f"t = {float(at['t']):.4g}"
        points(axes, ranks, at["overlap"], fmt="o-", color=color, label=label)
    random = ranks * dataset.attrs["random_overlap"]
    axes.plot(ranks, random, color="black", linewidth=1, label="random spaces")
    axes.set(xlabel="leading eigenvectors j", ylabel="overlap of their spaces", ylim=(0, 1.02))
    axes.legend()


def _cosine(dataset: Dataset, axes: Axes) -> None:
    """tr(HC) / (|H| |C|) in time."""
    mean, scatter = mean_and_error(dataset["cosine"])
    own = (dataset["cosine_error"] ** 2).sum("replica") ** 0.5 / dataset.sizes["replica"]
    axes.errorbar(dataset["t"], mean, np.fmax(scatter, own), fmt="o-")
    axes.axhline(1, color="gray", linewidth=0.5)
    axes.set(xlabel="t", ylabel=r"$\mathrm{tr}(HC)\,/\,|H||C|$", ylim=(min(0, mean.min()), 1.02))
    logarithmic_time(dataset, axes)
