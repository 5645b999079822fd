"""The parts of the Hessian of a jammed network: H = H0 + Hp, their signs and their ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.results.axes import logarithmic_time, points
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row, row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["JammingHessian"]

_COLORS = {"H": "black", "H0": "tab:red", "Hp": "tab:blue"}


@register("JammingHessian")
class JammingHessian(Result):
    """N_Delta, the rank of H0, and the negative modes of Hp and H."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield N_Delta, N_eff, the rank of H0, negative modes and the trace of Hp at the end."""
        if not dataset.sizes["t"]:
            return
        last, N = dataset.isel(t=-1), dataset.sizes["eigenvalue"]
        yield row("N_Δ", last["unsatisfied"].astype(float))
        yield row(f"N_eff of {N} parameters", last["effective_parameters"].astype(float))
        yield row("rank of H0", N - last["zero"].sel(part="H0").astype(float))
        for part in ("Hp", "H"):
            yield row(f"negative modes of {part}", last["negative"].sel(part=part).astype(float))
        Hp = last["eigenvalues"].sel(part="Hp")
        trace, size = abs(Hp.sum("eigenvalue")), abs(Hp).sum("eigenvalue")
        yield Row("largest |tr Hp|/tr|Hp|", float((trace / size.where(size > 0)).max()), math.nan)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return moduli by rank, the density of H and Hp, and the numbers of modes in time."""
        return [_branches, _curvature, _modes]


def _branches(dataset: Dataset, axes: Axes) -> None:
    """The moduli of the eigenvalues at the last time, from the largest on: H0 ends at N_Delta."""
    last, N = dataset.isel(t=-1), dataset.sizes["eigenvalue"]
    for part, color in _COLORS.items():
        moduli = np.abs(last["eigenvalues"].sel(part=part).to_numpy())
        descending = np.sort(moduli, axis=-1)[..., ::-1]
        floor = dataset.attrs["zero_below"] * descending.max()
        shown = np.where(descending > floor, descending, np.nan)
        rank = np.arange(1, N + 1) / N
        for r, values in enumerate(shown):
            label = part if r == 0 else None
            axes.plot(rank, values, color=color, linewidth=0.8, alpha=0.8, label=label)
    N_Delta = float(last["unsatisfied"].mean()) / N
    axes.axvline(N_Delta, color="gray", linestyle="--", label=r"$N_\Delta / N$")
    axes.set(yscale="log", xlabel="rank / N", ylabel=rf"$|\lambda|$ at t = {last['t']:.4g}")
    axes.legend()


def _curvature(dataset: Dataset, axes: Axes) -> None:
    """The density of the eigenvalues of H and Hp on the scale of Hp."""
    last = dataset["eigenvalues"].isel(t=-1)
    reach = float(np.abs(last.sel(part="Hp")).max()) or 1.0
    bins = np.linspace(-1.5 * reach, 1.5 * reach, 61)
    for part in ("H", "Hp"):
        values = last.sel(part=part).to_numpy().ravel()
        density = np.histogram(values, bins)[0] / (values.size * np.diff(bins))
        axes.stairs(density, bins, color=_COLORS[part], label=part)
    axes.axvline(0, color="gray", linewidth=0.5)
    axes.set(yscale="log", xlabel=r"$\lambda$", ylabel=r"$\rho(\lambda)$")
    axes.legend()


def _modes(dataset: Dataset, axes: Axes) -> None:
    """N_Delta, the rank of H0 and the negative modes of H and Hp in time, over N."""
    N = dataset.sizes["eigenvalue"]
    curves = {
        r"$N_\Delta$": dataset["unsatisfied"],
        "rank of H0": N - dataset["zero"].sel(part="H0"),
        r"$N_-$ of Hp": dataset["negative"].sel(part="Hp"),
        r"$N_-$ of H": dataset["negative"].sel(part="H"),
    }
    for label, counts in curves.items():
        points(axes, dataset["t"], counts / N, fmt="o-", label=label)
    logarithmic_time(dataset, axes)
    axes.set(xlabel="t", ylabel="modes / N", ylim=(0, None))
    axes.legend()
