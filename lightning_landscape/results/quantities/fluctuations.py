"""Fluctuations of U at a temperature: dimensions, curvature, displacement, and what fits them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.observables.fluctuations import is_off_equilibrium
from lightning_landscape.observables.statistics import mean_and_error
from lightning_landscape.results.axes import log_errorbar, shades
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["Fluctuations"]

_NAMES = {
    "mean_batch_temperature": "T = lr D/2",
    "U": "⟨U⟩/T",
    "U_variance": "Var U/T²",
    "N_mean": "N = 2⟨U - U_min⟩/T",
    "N_var": "N = 2 Var U/T²",
    "N_participation": "N of participation",
    "mean_active_data": "data that carry U",
    "mean_near_boundary": "data near the boundary",
    "tr_H": "tr H",
    "highest": "λ_max",
    "temperature_ratio": "⟨|∇U|²⟩/T⟨tr H⟩",
    "U_drift": "drift of U/⟨U⟩ in the window",
}
_CONSTANT = ("tr_H", "highest")  # in a quadratic valley
_EXACT = {"temperature_ratio": 1.0, "U_drift": 0.0}


@register("TemperatureFluctuations")
class Fluctuations(Result):
    """U at one temperature or a ladder of them, compared with quadratic valleys and with walls."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield dimensions, curvature and temperature ratio of each of at most eight temperatures.

        The curvature is compared with that of the lowest temperature, which a quadratic valley
        would have at all of them.
        """
        for k in spread(dataset.sizes.get("rung", 0), 8):
            at = dataset.isel(rung=k)
            for name in _NAMES:
                if name in at and math.isfinite(at[name]):
                    yield _of_rung(name, at, dataset)
            if k < dataset.sizes.get("interval", 0):
                T, N, error = (float(dataset[x][k]) for x in ("T_heat", "N_heat", "N_heat_error"))
                yield Row(f"N = 2 d⟨U⟩/dT (T = {T:.3g})", N, error)

    def panels(self, dataset: Dataset) -> list[Panel]:
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

    def exact(self, dataset: Dataset) -> Dataset:
        """Add the Gamma law of the same mean, harmonic displacements and, for a ladder, walls.

        They are models with measured parameters, so their names do not end with ``_exact``.
        """
        if "density" in dataset:
            dataset = _with_gamma_law(dataset)
        if "msd_stiff" in dataset and "lr" in dataset.attrs:
            dataset = _with_harmonic_displacement(dataset)
        known = dataset.sizes.keys() >= {"rung", "interval"} and (dataset["T"] > 0).all()
        if known and (dataset[["U_error", "U_variance_error"]].to_array() > 0).all():
            return _with_walls(dataset)
        return dataset


def _of_rung(name: str, at: Dataset, dataset: Dataset) -> Row:
    T = float(at["T"])
    scale = {"U": T, "U_variance": T**2, "U_drift": float(at["U"])}.get(name, 1.0) or 1.0
    value, error = float(at[name]) / scale, float(at[f"{name}_error"]) / abs(scale)
    row = Row(f"{_NAMES[name]} (T = {T:.3g})", value, error, _EXACT.get(name, math.nan))
    if name in _CONSTANT and T > dataset["T"][0]:
        row = replace(row, exact=float(dataset[name][0]), source="quadratic")
    if name == "N_mean":
        row = replace(row, note=f"of {dataset.attrs['N']} parameters")
    if name == "temperature_ratio" and is_off_equilibrium(value, error):
        row = replace(row, note="WARNING: not the state exp(-U/T)")
    return row


def _with_gamma_law(dataset: Dataset) -> Dataset:
    from lightning_landscape.theory.thermal.valleys import QuadraticValley

    x = dataset["U_over_T"].to_numpy()
    least = dataset.attrs["lowest_energy"] / dataset["T"].where(dataset["T"] > 0, 1)
    laws = [
        QuadraticValley(float(N)).density(x - float(u), 1.0) if N > 0 else 0 * x
        for N, u in zip(dataset["N_mean"], least, strict=True)
    ]
    return dataset.assign(density_gamma=(("level", "rung"), np.stack(laws, 1)))


def _with_harmonic_displacement(dataset: Dataset) -> Dataset:
    """Add displacements of steps in quadratic valleys of the measured curvatures, and free ones."""
    from lightning_landscape.theory.thermal.harmonic import mean_square_displacement

    R = dataset.sizes["replica"]
    steps = np.rint(dataset["lag"].to_numpy() / dataset.attrs["time_step"])
    lr, T = np.broadcast_to(dataset.attrs["lr"], R), dataset["temperature"].to_numpy()

    def moved(replica: int, curvature: float) -> NDArray[np.float64]:
        # a step beyond the stability of the valley has no stationary law
        if not 0 <= lr[replica] * curvature < 2:
            return np.full(len(steps), np.nan)
        return mean_square_displacement(steps * lr[replica], curvature, T[replica], lr[replica])

    curvatures = dataset["curvatures"].to_numpy()
    stiff = [np.mean([moved(r, c) for c in curvatures[r]], axis=0) for r in range(R)]
    return dataset.assign(
        msd_stiff_harmonic=(("lag", "replica"), np.stack(stiff, 1)),
        msd_flat_harmonic=(("lag", "replica"), np.stack([moved(r, 0.0) for r in range(R)], 1)),
    )


def _with_walls(dataset: Dataset) -> Dataset:
    """Add the exponential walls that fit 2 <U>/T and 2 Var U/T^2, and their curvature."""
    from lightning_landscape.theory.thermal.boundary_fit import fit_walls

    T, U = dataset["T"].to_numpy(), dataset["U"]
    N_mean, N_var = (
        (dataset[name].to_numpy(), dataset[f"{name}_error"].to_numpy())
        for name in ("N_mean", "N_var")
    )
    stiffness = float((dataset["tr_H"] / U).mean()) if "tr_H" in dataset else 1.0
    if stiffness <= 0:
        return dataset
    walls = fit_walls(T, N_mean, N_var, stiffness)
    if walls is None:  # kappa^2 = tr H / U is a property of walls whatever U(T) is
        told = {"walls": "no walls fit U(T)"}
        return dataset.assign(tr_H_walls=stiffness * U).assign_attrs(told)
    of_mean, of_variance, _ = walls.dimensions(T)
    curves = {
        "U_walls": walls.mean(T),
        "U_variance_walls": walls.variance(T),
        "N_mean_walls": of_mean,
        "N_var_walls": of_variance,
        "tr_H_walls": walls.curvature(T),
    }
    lowest = np.exp(-walls.steepness * walls.length)
    return dataset.assign({name: ("rung", curve) for name, curve in curves.items()}).assign_attrs(
        walls=f"M = {walls.number:.4g} walls down to u = {lowest:.3g}, kappa^2 = {stiffness:.4g}"
    )


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
