"""The panels of a TemperatureFluctuations record."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_landscape.observables.statistics import mean_and_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["panels"]

Panel = Callable[["Dataset", "Axes"], None]


def panels(dataset: Dataset) -> list[Panel]:
    """Return the panels: over T where there is a ladder of temperatures, else over time."""
    several = dataset.sizes.get("rung", 0) > 1
    over_T = [_dimensions, _curvature] if several else []
    guard = (
        [_ito]
        if "temperature_ratio" in dataset and dataset["temperature_ratio"].notnull().any()
        else []
    )
    with_density = [_histogram] if "density" in dataset else []
    of_batches = bool(dataset.attrs.get("mini_batches"))  # whose energy fluctuates by itself
    with_power = [_spectrum] if bool(dataset["power"].notnull().any()) and not of_batches else []
    moves = "msd_stiff" in dataset and bool((dataset["msd_stiff"] > 0).any())
    moved = [_displacement] if moves else []
    return [_energy, *over_T, *guard, *with_density, *with_power, *moved]


def _points(axes: Axes, dataset: Dataset, name: str, marker: str, label: str) -> None:
    axes.errorbar(
        dataset["T"], dataset[name], dataset[f"{name}_error"], fmt=marker, markersize=4, label=label
    )


def _line(axes: Axes, dataset: Dataset, name: str, label: str, style: str = "-") -> None:
    if name in dataset:
        axes.plot(dataset["T"], dataset[name], style, color="black", linewidth=1, label=label)


def _energy(dataset: Dataset, axes: Axes) -> None:
    """U and its variance over T, or the means of blocks in time where there is one T."""
    if dataset.sizes["rung"] == 1:
        blocks = dataset["block_means"]
        for replica in range(min(blocks.sizes["replica"], 8)):
            axes.plot(blocks.isel(replica=replica), linewidth=0.7)
        axes.plot(blocks.mean("replica"), color="black", label="mean")
        axes.set(xlabel="block of the window", ylabel="U")
        axes.legend(frameon=False)
        return
    _points(axes, dataset, "U", "o", r"$\langle U \rangle$")
    _points(axes, dataset, "U_variance", "s", r"Var $U$")
    _line(axes, dataset, "U_walls", "walls (fit)")
    _line(axes, dataset, "U_variance_walls", "", "--")
    _logarithmic(axes, dataset, "U")
    axes.set_yscale("log")
    axes.legend(frameon=False)


def _dimensions(dataset: Dataset, axes: Axes) -> None:
    """The dimension in four ways, beside the number of data that carry the energy."""
    _points(axes, dataset, "N_mean", "o", r"$2\langle U - U_{min}\rangle/T$")
    _points(axes, dataset, "N_var", "s", r"$2\,$Var$\,U/T^2$")
    T, N, error = (dataset[name].to_numpy() for name in ("T_heat", "N_heat", "N_heat_error"))
    axes.errorbar(T, N, error, fmt="^", markersize=4, label=r"$2\,d\langle U\rangle/dT$")
    if "N_participation" in dataset:
        _points(axes, dataset, "N_participation", "v", "participation ratio")
    if "mean_active_data" in dataset:
        _points(axes, dataset, "mean_active_data", "x", "data that carry U")
    _line(axes, dataset, "N_mean_walls", dataset.attrs.get("walls", ""))
    _line(axes, dataset, "N_var_walls", "", "--")
    if "walls" in dataset.attrs and "N_mean_walls" not in dataset:
        axes.plot([], [], " ", label=dataset.attrs["walls"])
    _logarithmic(axes, dataset, f"dimension (N = {dataset.attrs['N']} parameters)")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize="small")


def _curvature(dataset: Dataset, axes: Axes) -> None:
    """Trace and highest eigenvalue over T; a quadratic valley has a constant."""
    if "tr_H" not in dataset:
        return
    for name, marker, label in (
        ("tr_H", "o", r"$\langle$tr $H\rangle$"),
        ("highest", "s", r"$\langle\lambda_{max}\rangle$"),
    ):
        _points(axes, dataset, name, marker, label)
    _line(axes, dataset, "tr_H_walls", "walls: ∝ ⟨U⟩")
    axes.axhline(float(dataset["tr_H"][0]), color="gray", linestyle=":", label="quadratic")
    _logarithmic(axes, dataset, "curvature")
    axes.set_yscale("log")
    axes.legend(frameon=False, fontsize="small")


def _ito(dataset: Dataset, axes: Axes) -> None:
    """The Ito ratio over T with the band in which no warning is given."""
    axes.axhspan(0.9, 1.1, color="gray", alpha=0.15)
    axes.axhline(1, color="black", linewidth=1)
    _points(axes, dataset, "temperature_ratio", "o", "measured")
    _logarithmic(axes, dataset, r"$\langle|\nabla U|^2\rangle\,/\,T\langle$tr $H\rangle$")


def _histogram(dataset: Dataset, axes: Axes) -> None:
    """The density of U/T of each rung against the Gamma law of the same mean."""
    for rung, color in _colors(dataset):
        at = dataset.isel(rung=rung)
        below = np.minimum(at["density_error"], 0.9 * at["density"])  # a log axis has no zero
        axes.errorbar(
            at["U_over_T"],
            at["density"].where(at["density"] > 0),
            [below, at["density_error"]],
            fmt="o",
            markersize=3,
            color=color,
            label=f"{float(at['T']):.3g}",
        )
        if "density_gamma" in at:
            axes.plot(at["U_over_T"], at["density_gamma"], color=color, linewidth=1)
    most = float(dataset["density"].max())
    axes.set(xlabel="U / T", ylabel="density", yscale="log", ylim=(1e-4 * most, 2 * most))
    axes.legend(title="T, line: Gamma", frameon=False, fontsize="small")


def _spectrum(dataset: Dataset, axes: Axes) -> None:
    """The power spectrum of U/T of each rung."""
    for rung, color in _colors(dataset):
        T = float(dataset["T"][rung])
        of_rung = dataset.isel(replica=np.flatnonzero(dataset["temperature"] == T))
        mean, error = mean_and_error(of_rung["power"].isel(frequency=slice(1, -1)) / (T or 1) ** 2)
        axes.plot(mean["frequency"], mean, color=color, linewidth=1, label=f"{T:.3g}")
        axes.fill_between(mean["frequency"], mean - error, mean + error, color=color, alpha=0.25)
    axes.set(xscale="log", yscale="log", xlabel="f", ylabel="power spectrum of U / T")
    axes.legend(title="T", frameon=False, fontsize="small")


def _displacement(dataset: Dataset, axes: Axes) -> None:
    """Squared displacement over 2T along stiff and flat directions, with the harmonic ones."""
    for rung, color in _colors(dataset):
        T = float(dataset["T"][rung])
        members = np.flatnonzero(dataset["temperature"] == T)
        of_rung, t = dataset.isel(replica=members), _physical_lag(dataset, members[0])
        for name, marker, filled in (("msd_stiff", "o", color), ("msd_flat", "s", "none")):
            mean, error = mean_and_error(of_rung[name] / (2 * T or 1))
            below = np.minimum(error, 0.9 * mean)  # a log axis has no zero
            look = {"markersize": 3, "color": color, "markerfacecolor": filled}
            label = f"{T:.3g}" if name == "msd_stiff" else None
            axes.errorbar(t, mean, [below, error], fmt=marker, label=label, **look)
            if f"{name}_harmonic" in of_rung:
                harmonic = of_rung[f"{name}_harmonic"].mean("replica") / (2 * T or 1)
                style = "-" if name == "msd_stiff" else ":"
                axes.plot(t, harmonic, style, color=color, linewidth=1)
    axes.set(xscale="log", yscale="log", xlabel="t since equilibration")
    axes.set_ylabel(r"$\langle\Delta x^2\rangle / 2T$: stiff ●, flat □; lines: harmonic, free")
    axes.legend(title="T", frameon=False, fontsize="small")


def _physical_lag(dataset: Dataset, replica: int) -> np.ndarray:
    """The lags of a replica in its own time, where replicas differ in their step size."""
    lag = dataset["lag"].to_numpy()
    rates = np.atleast_1d(dataset.attrs.get("lr", 1.0))
    return lag if len(rates) == 1 else lag / dataset.attrs["time_step"] * rates[replica]


def _colors(dataset: Dataset) -> list[tuple[int, Any]]:
    from matplotlib import colormaps

    n = dataset.sizes["rung"]
    return list(enumerate(colormaps["plasma"](np.linspace(0, 0.85, n))))


def _logarithmic(axes: Axes, dataset: Dataset, label: str) -> None:
    if float(dataset["T"][0]) > 0:
        axes.set_xscale("log")
    axes.set(xlabel="T", ylabel=label)
