"""Aging at several temperatures: relaxation times, chi_4, and where aging sets in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.errors import UsageError
from lightning_landscape.observables.relaxation import relaxation_time, susceptibility
from lightning_landscape.observables.scaling import aging_onset
from lightning_landscape.observables.statistics import by_temperature
from lightning_landscape.results.axes import points, shades
from lightning_landscape.results.quantities.aging.collapse import fit, fitted_row
from lightning_landscape.results.registry import Panel
from lightning_landscape.results.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["collapse_exponents", "panels", "rows"]


def rows(dataset: Dataset) -> Iterator[Row]:
    """Yield the relaxation time and the peak of chi_4 of each temperature at the first tw.

    With several tw, also the exponent of their collapse, and the temperatures between which it
    leaves 0.
    """
    for T, some in by_temperature(dataset.isel(tw=0)):
        tau, error = relaxation_time(some["t"], some["C"])
        exact = np.nan
        if "C_exact" in some:
            exact = relaxation_time(some["t"], some["C_exact"].isel(replica=[0]))[0]
        if not np.isnan(tau):
            yield Row(f"τ(T = {T:g})", tau, error, exact)
        if some.sizes["replica"] > 2:
            chi, errors = susceptibility(some["C"], dataset.attrs["N"])
            k = int(chi.argmax())
            note = f"t = {float(some['t'][k]):.3g}"
            yield Row(f"largest χ₄(T = {T:g})", chi[k], errors[k], note=note)
    aged = dataset.sel(tw=dataset["tw"] > 0)
    if aged.sizes["tw"] > 1:
        yield from _onset(aged)


def _onset(dataset: Dataset) -> Iterator[Row]:
    groups = by_temperature(dataset)
    try:
        found = [fit(some) for _, some in groups]
    except UsageError:  # not yet two waiting times with enough points
        return
    for (T, _), at in zip(groups, found, strict=True):
        yield fitted_row(f"μ(T = {T:g}) of Δ(t / tw^μ)", at)
    onset = aging_onset([T for T, _ in groups], found)
    if onset is not None:
        low, high = onset
        note = f"{low:g} … {high:g}"
        yield Row("T at which aging sets in", (low + high) / 2, (high - low) / 2, note=note)


def panels(dataset: Dataset) -> list[Panel]:
    """Return C(t), the relaxation time, and chi_4 or, with several tw, the collapse exponents."""
    return [_correlation, _tau, _chi_4 if dataset.sizes.get("tw", 0) < 2 else collapse_exponents]


def _correlation(dataset: Dataset, axes: Axes) -> None:
    """C(t) from the first waiting time on, one curve for each temperature."""
    groups = by_temperature(dataset.isel(tw=0))
    for (T, some), color in zip(groups, shades(len(groups), "plasma"), strict=True):
        points(axes, some["t"], some["C"], color=color, label=f"{T:g}")
        if "C_exact" in some:
            axes.plot(some["t"], some["C_exact"].isel(replica=0), color=color, linewidth=1)
    axes.axhline(np.exp(-1), color="gray", linewidth=0.5)
    label = f"C(tw + t, tw), tw = {float(dataset['tw'][0]):g}"
    axes.set(xscale="log", xlabel="t", ylabel=label)
    axes.legend(title="T")


def _tau(dataset: Dataset, axes: Axes) -> None:
    """The relaxation time against T."""
    groups = [(T, some.isel(tw=0)) for T, some in by_temperature(dataset)]
    measured = [(T, *relaxation_time(x["t"], x["C"])) for T, x in groups]
    T, times, errors = np.array(measured).T
    if "C_exact" in dataset:
        exact = [relaxation_time(x["t"], x["C_exact"][:, :1])[0] for _, x in groups]
        axes.plot(T, exact, color="black", linewidth=1, label="exact")
    axes.errorbar(T, times, errors, fmt="o", label="measured")
    axes.set(xlabel="T", ylabel="τ: C(τ) = 1/e")
    if np.isfinite(times).any():  # a logarithmic axis of nothing cannot be drawn
        axes.set(xscale="log" if T[-1] > 10 * T[0] > 0 else "linear", yscale="log")
    axes.legend()


def _chi_4(dataset: Dataset, axes: Axes) -> None:
    """The dynamical susceptibility chi_4(t), one curve for each temperature."""
    groups = [(T, x.isel(tw=0)) for T, x in by_temperature(dataset) if x.sizes["replica"] > 2]
    for (T, some), color in zip(groups, shades(len(groups), "plasma"), strict=True):
        chi, error = susceptibility(some["C"], dataset.attrs["N"])
        axes.errorbar(some["t"], chi, error, fmt="o", color=color, label=f"{T:g}")
    axes.set(xscale="log", xlabel="t", ylabel="χ₄ = N Var C")
    if groups:  # a variance takes three replicas at one temperature
        axes.legend(title="T")


def collapse_exponents(dataset: Dataset, axes: Axes) -> None:
    """The exponent of the collapse on t / tw^mu against T: above 0 where the system ages."""
    aged = dataset.sel(tw=dataset["tw"] > 0)
    groups = [(T, some.dropna("tw", how="all", subset=["MSD"])) for T, some in by_temperature(aged)]
    found = [(T, fit(some)) for T, some in groups if some.sizes["tw"] > 1]
    for T, at in found:
        axes.errorbar(T, at.exponent, at.error, fmt="o", color="C0")
    axes.axhline(0, color="gray", linewidth=0.5)
    axes.set(xscale="log" if found else "linear", xlabel="T")
    axes.set_ylabel(r"$\mu$ of $\Delta(t / t_w^\mu)$")
