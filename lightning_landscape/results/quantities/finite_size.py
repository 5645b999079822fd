"""Finite size: the limits of energy, correlation, response and T_eff for infinite N."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.results.axes import shades
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["FiniteSize"]


@register("FiniteSize")
class FiniteSize(Result):
    """Limits for N to infinity of runs at several N; see `studies.finite_size`."""

    of_finite_size = False

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield the limits at a few times, and the effective temperatures."""
        if "E_limit" not in dataset:
            return
        for k in spread(dataset.sizes["t"], 5):
            yield _row(dataset.isel(t=k), "E", f"E(t = {float(dataset['t'][k]):.4g})")
        for i, tw in enumerate(dataset["tw"].to_numpy()):
            at = dataset.isel(tw=i)
            for name, symbol in (("C", "C"), ("chi", "χ")):
                if f"{name}_limit" not in at:
                    continue
                curve = at.isel(t=np.isfinite(at[f"{name}_limit"].to_numpy()))
                for k in spread(curve.sizes["t"], 3):
                    times = f"tw = {tw:.4g}, t = {float(curve['t'][k]):.4g}"
                    yield _row(curve.isel(t=k), name, f"{symbol}({times})")
            if "T_eff_limit" in at:
                for w, window in enumerate(dataset["window"].to_numpy()):
                    quantity = f"T_eff(tw = {tw:.4g}), {window} of the decay"
                    yield _row(at.isel(window=w), "T_eff", quantity)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return E(t) of all sizes and its limit, E at the end against 1/N, and chi against C."""
        if "E_limit" not in dataset:
            return []
        return [_energies, _approach, *([_response] if "chi_limit" in dataset else [])]


def _row(at: Dataset, name: str, quantity: str) -> Row:
    exact = float(at[f"{name}_exact"]) if f"{name}_exact" in at else np.nan
    note = "N → ∞"
    if f"{name}_chi2" in at:
        freedom = at[f"{name}_chi2"].attrs["freedom"]
        note += f", χ² = {float(at[f'{name}_chi2']):.1f} of {freedom}" if freedom else ""
    return Row(quantity, float(at[f"{name}_limit"]), float(at[f"{name}_error"]), exact, note=note)


def _coarse(dataset: Dataset) -> list[tuple[int, Dataset]]:
    """Return the samples of each size at the longest step, by size."""
    longest = dataset.isel(run=np.flatnonzero(dataset["time_step"] == dataset["time_step"].max()))
    sizes = np.unique(longest["N"])
    return [(int(N), longest.isel(run=np.flatnonzero(longest["N"] == N))) for N in sizes]


def _energies(dataset: Dataset, axes: Axes) -> None:
    sizes = _coarse(dataset)
    for (N, samples), colour in zip(sizes, shades(len(sizes)), strict=True):
        axes.plot(dataset["t"], samples["E"].mean("run"), "-", color=colour, label=f"N = {N}")
    bars = dataset["E_limit"], dataset["E_error"]
    axes.errorbar(dataset["t"], *bars, fmt="o", color="C3", label=r"$N \to \infty$")
    if "E_exact" in dataset:
        axes.plot(dataset["t"], dataset["E_exact"], "k--", label="exact")
    axes.set(xscale="log", xlabel="t", ylabel="E(t)")
    axes.legend()


def _approach(dataset: Dataset, axes: Axes) -> None:
    """E at the last time: means and errors of all sizes, the limit and what is exact."""
    for N, samples in _coarse(dataset):
        last = samples["E"].isel(t=-1)
        error = float(last.std(ddof=1)) / last.size**0.5
        axes.errorbar(1 / N, float(last.mean()), error, fmt="o", color="C0")
    at = dataset.isel(t=-1)
    axes.errorbar(0, float(at["E_limit"]), float(at["E_error"]), fmt="o", color="C3")
    if "E_exact" in at:
        axes.axhline(float(at["E_exact"]), color="k", linestyle="--")
    axes.set(xlabel="1/N", ylabel=f"E(t = {float(at['t']):g})")


def _response(dataset: Dataset, axes: Axes) -> None:
    colours = shades(dataset.sizes["tw"])
    for i, (tw, colour) in enumerate(zip(dataset["tw"].to_numpy(), colours, strict=True)):
        at = dataset.isel(tw=i)
        decay, chi = at["MSD_limit"] / 2, at["chi_limit"]
        axes.errorbar(
            decay,
            chi,
            at["chi_error"],
            at["MSD_error"] / 2,
            "o",
            color=colour,
            label=f"tw = {tw:g}",
        )
        if "chi_exact" in at:
            axes.plot(at["MSD_exact"] / 2, at["chi_exact"], "--", color=colour)
    axes.set(xlabel=r"$\Delta / 2$", ylabel=r"$\chi$")
    axes.legend()
