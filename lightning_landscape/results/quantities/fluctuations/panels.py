"""Panels of the fluctuations of U, over temperature or over time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.observables.statistics import mean_and_error
from lightning_landscape.results.axes import log_errorbar, shades
from lightning_landscape.results.registry import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["panels"]


def panels(dataset: Dataset) -> list[Panel]:
    """Return the panels: over T where there is a ladder of temperatures, else over time."""
    if "rung" not in dataset.dims:  # nothing was measured yet
        return []
    several = dataset.sizes["rung"] > 1
    ratio = dataset.get("temperature_ratio")
    of_batches = bool(dataset.attrs.get("mini_batches"))  # whose energy fluctuates by itself
    has_power = bool(dataset["power"].notnull().any()) and not of_batches
    moves = "msd_stiff" in dataset and bool((dataset["msd_stiff"] > 0).any())
    return [
        _energies if several else _blocks,
        *([_dimensions] if several else []),
        *([_curvature] if several and "tr_H" in dataset else []),
        *([_temperature_ratio] if ratio is not None and ratio.notnull().any() else []),
        *([_histogram] if "density" in dataset else []),
        *([_power] if has_power else []),
        *([_displacement] if moves else []),
    ]


def _rungs(dataset: Dataset, axes: Axes, name: str, marker: str, label: str) -> None:
    value, error = dataset[name], dataset[f"{name}_error"]
    axes.errorbar(dataset["T"], value, error, fmt=marker, markersize=4, label=label)


def _model(dataset: Dataset, axes: Axes, name: str, label: str, style: str = "-") -> None:
    if name in dataset:
        axes.plot(dataset["T"], dataset[name], style, color="black", linewidth=1, label=label)


def _over_temperature(dataset: Dataset, axes: Axes, label: str) -> None:
    if float(dataset["T"][0]) > 0:
        axes.set_xscale("log")
    axes.set(xlabel="T", ylabel=label)


def _blocks(dataset: Dataset, axes: Axes) -> None:
    """The means of U over blocks of the window, of the first replicas and of all."""
    blocks = dataset["block_means"]
    axes.plot(blocks.isel(replica=slice(8)).transpose("block", "replica"), linewidth=0.7)
    axes.plot(blocks.mean("replica"), color="black", label="mean")
    axes.set(xlabel="block of the window", ylabel="U")
    axes.legend()


def _energies(dataset: Dataset, axes: Axes) -> None:
    """U and its variance over T."""
    _rungs(dataset, axes, "U", "o", r"$\langle U \rangle$")
    _rungs(dataset, axes, "U_variance", "s", r"Var $U$")
    _model(dataset, axes, "U_walls", "walls (fit)")
    _model(dataset, axes, "U_variance_walls", "", "--")
    _over_temperature(dataset, axes, "U")
    axes.set_yscale("log")
    axes.legend()


def _dimensions(dataset: Dataset, axes: Axes) -> None:
    """The dimension measured in four ways, and the number of data that carry the energy."""
    _rungs(dataset, axes, "N_mean", "o", r"$2\langle U - U_{min}\rangle/T$")
    _rungs(dataset, axes, "N_var", "s", r"$2\,$Var$\,U/T^2$")
    T, N, error = (dataset[name].to_numpy() for name in ("T_heat", "N_heat", "N_heat_error"))
    axes.errorbar(T, N, error, fmt="^", markersize=4, label=r"$2\,d\langle U\rangle/dT$")
    if "N_participation" in dataset:
        _rungs(dataset, axes, "N_participation", "v", "participation ratio")
    if "mean_active_data" in dataset:
        _rungs(dataset, axes, "mean_active_data", "x", "data that carry U")
    _model(dataset, axes, "N_mean_walls", dataset.attrs.get("walls", ""))
    _model(dataset, axes, "N_var_walls", "", "--")
    if "walls" in dataset.attrs and "N_mean_walls" not in dataset:
        axes.plot([], [], " ", label=dataset.attrs["walls"])
    _over_temperature(dataset, axes, f"dimension (N = {dataset.attrs['N']} parameters)")
    axes.set_ylim(bottom=0)
    axes.legend()


def _curvature(dataset: Dataset, axes: Axes) -> None:
    """Trace and highest eigenvalue over T, which are constant in a quadratic valley."""
    _rungs(dataset, axes, "tr_H", "o", r"$\langle$tr $H\rangle$")
    _rungs(dataset, axes, "highest", "s", r"$\langle\lambda_{max}\rangle$")
    _model(dataset, axes, "tr_H_walls", "walls: ∝ ⟨U⟩")
    axes.axhline(float(dataset["tr_H"][0]), color="gray", linestyle=":", label="quadratic")
    _over_temperature(dataset, axes, "curvature")
    axes.set_yscale("log")
    axes.legend()


def _temperature_ratio(dataset: Dataset, axes: Axes) -> None:
    """The configurational temperature ratio over T, with the band in which no warning is given."""
    axes.axhspan(0.9, 1.1, color="gray", alpha=0.15)
    axes.axhline(1, color="black", linewidth=1)
    _rungs(dataset, axes, "temperature_ratio", "o", "measured")
    _over_temperature(dataset, axes, r"$\langle|\nabla U|^2\rangle\,/\,T\langle$tr $H\rangle$")


def _histogram(dataset: Dataset, axes: Axes) -> None:
    """The density of U/T at each temperature, and the Gamma law of the same mean."""
    for rung, color in enumerate(shades(dataset.sizes["rung"], "plasma")):
        at = dataset.isel(rung=rung)
        x, label = at["U_over_T"], f"{float(at['T']):.3g}"
        log_errorbar(axes, x, at["density"], at["density_error"], color=color, label=label)
        if "density_gamma" in at:
            axes.plot(x, at["density_gamma"], color=color, linewidth=1)
    most = float(dataset["density"].max())
    axes.set(xlabel="U / T", ylabel="density", yscale="log", ylim=(1e-4 * most, 2 * most))
    axes.legend(title="T, line: Gamma")


def _power(dataset: Dataset, axes: Axes) -> None:
    """The power spectrum of U/T at each temperature."""
    for T, members, color in _members(dataset):
        power = members["power"].isel(frequency=slice(1, -1)) / (T or 1) ** 2
        mean, error = mean_and_error(power)
        axes.plot(mean["frequency"], mean, color=color, linewidth=1, label=f"{T:.3g}")
        axes.fill_between(mean["frequency"], mean - error, mean + error, color=color, alpha=0.25)
    axes.set(xscale="log", yscale="log", xlabel="f", ylabel="power spectrum of U / T")
    axes.legend(title="T")


def _displacement(dataset: Dataset, axes: Axes) -> None:
    """Squared displacement over 2T along stiff and flat directions, with the harmonic ones."""
    for T, members, color in _members(dataset):
        t = members["lag"]
        for name, marker, face, style in (
            ("msd_stiff", "o", color, "-"),
            ("msd_flat", "s", "none", ":"),
        ):
            mean, error = mean_and_error(members[name] / (2 * T or 1))
            label = f"{T:.3g}" if name == "msd_stiff" else None
            log_errorbar(
                axes, t, mean, error, fmt=marker, color=color, markerfacecolor=face, label=label
            )
            if f"{name}_harmonic" in members:
                harmonic = members[f"{name}_harmonic"].mean("replica") / (2 * T or 1)
                axes.plot(t, harmonic, style, color=color, linewidth=1)
    axes.set(xscale="log", yscale="log", xlabel="t since equilibration")
    axes.set_ylabel(r"$\langle\Delta x^2\rangle / 2T$: stiff ●, flat □; lines: harmonic, free")
    axes.legend(title="T")


def _members(dataset: Dataset) -> Iterator[tuple[float, Dataset, NDArray[np.float64]]]:
    """Yield each temperature with the record of its replicas and a colour.

    Where replicas differ in their step size, lags are in their own time.
    """
    rates = np.atleast_1d(dataset.attrs.get("lr", 1.0))
    colors = shades(dataset.sizes["rung"], "plasma")
    for T, color in zip(dataset["T"].to_numpy().tolist(), colors, strict=True):
        replicas = np.flatnonzero(dataset["temperature"] == T)
        members = dataset.isel(replica=replicas)
        if len(rates) > 1 and "lag" in dataset:
            scale = rates[replicas[0]] / dataset.attrs["time_step"]
            members = members.assign_coords(lag=members["lag"] * scale)
        yield T, members, color
