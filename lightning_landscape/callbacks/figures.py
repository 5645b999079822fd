"""Figures of records: drawn from the dataset alone, so that a report draws what a run drew."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_landscape.callbacks import _ladder_panels as ladder
from lightning_landscape.callbacks import _spectrum_panels as spectrum
from lightning_landscape.observables.statistics import mean_and_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from xarray import Dataset

__all__ = ["draw", "log"]


def draw(dataset: Dataset) -> Figure | None:
    """Return the figure of a record, or None if no drawing is known for its probe.

    Points are means over replicas with standard errors; lines are exact.
    """
    from matplotlib.figure import Figure

    panels = _panels(dataset)
    if not panels:
        return None
    figure = Figure(figsize=(5.2 * len(panels), 3.9), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        panel(dataset, axes)
        axes.grid(alpha=0.25, linewidth=0.5)
    exact = any(str(name).endswith("_exact") for name in dataset)
    legend = "\npoints: measured, lines: exact for N = ∞" if exact else ""
    figure.suptitle(title(dataset) + legend, fontsize="medium")
    return figure


def log(dataset: Dataset, loggers: Iterable[Any], step: int) -> None:
    """Add the figure of a record to every logger that takes figures."""
    takers = [x.experiment for x in loggers if hasattr(x.experiment, "add_figure")]
    figure = draw(dataset) if takers else None
    if figure is not None:
        for experiment in takers:
            experiment.add_figure(dataset.attrs["probe"], figure, global_step=step)


def title(dataset: Dataset) -> str:
    """Return what the record is of, in a line."""
    a = dataset.attrs
    temperature = np.atleast_1d(a["temperature"])
    T = f"{temperature[0]:g}" if np.ptp(temperature) == 0 else f"{temperature[0]:g}…"
    return f"{a.get('energy', 'network')}, N = {a['N']}, {a['replicas']} replicas, T = {T}"


def _relaxation(dataset: Dataset, axes: Axes) -> None:
    shown = dataset.sel(t=dataset["t"] > 0)
    mean, error = mean_and_error(shown["energy"])
    if "energy_exact" in dataset:
        axes.plot(shown["t"], shown["energy_exact"], color="black", linewidth=1, label="exact")
    axes.errorbar(shown["t"], mean, error, fmt="o", markersize=3, label="measured")
    if "test_energy" in shown:
        mean, error = mean_and_error(shown["test_energy"])
        axes.errorbar(shown["t"], mean, error, fmt="s", markersize=3, label="test data")
    axes.set(xscale="log", xlabel="t", ylabel=dataset.attrs.get("energy_unit", "energy"))
    axes.legend(frameon=False)


def _two_times(name: str, label: str, scale: str) -> Callable[[Dataset, Axes], None]:
    def panel(dataset: Dataset, axes: Axes) -> None:
        from matplotlib import colormaps

        reached = dataset.dropna("tw", how="all", subset=["C"])
        colors = colormaps["viridis"](np.linspace(0, 0.9, reached.sizes["tw"]))
        for tw, color in zip(reached["tw"], colors, strict=True):
            curve = reached.sel(tw=tw)
            mean, error = mean_and_error(curve[name])
            axes.errorbar(
                curve["t"], mean, error, fmt="o", markersize=3, color=color, label=f"{float(tw):g}"
            )
            if f"{name}_exact" in curve:
                axes.plot(curve["t"], curve[f"{name}_exact"], color=color, linewidth=1)
        axes.set(xscale="log", yscale=scale, xlabel="t", ylabel=label)
        if reached.sizes["tw"]:
            axes.legend(title="$t_w$", frameon=False, fontsize="small")

    return panel


def _panels(dataset: Dataset) -> list[Callable[[Dataset, Axes], None]]:
    if dataset.sizes.get("t") == 0:  # stopped before the first measurement
        return []
    if np.ptp(dataset.attrs.get("temperature", 0)) > 0:
        by_temperature: dict[str, list[Callable[[Dataset, Axes], None]]] = {
            "EnergyRelaxation": [ladder.energy],
            "AgingCorrelation": [ladder.correlation, ladder.tau, ladder.peak],
        }
        if (panels := by_temperature.get(dataset.attrs.get("probe", ""))) is not None:
            return panels
    last = spectrum.outliers if "classes" in dataset.attrs else spectrum.negative
    known: dict[str, list[Callable[[Dataset, Axes], None]]] = {
        "EnergyRelaxation": [_relaxation],
        "AgingCorrelation": [
            _two_times("C", r"$C(t_w + t, t_w)$", "linear"),
            _two_times("MSD", r"$\Delta(t_w, t_w + t)$", "log"),
        ],
        "HessianSpectrum": [spectrum.edges, spectrum.density, last],
    }
    return known.get(dataset.attrs.get("probe", ""), [])
