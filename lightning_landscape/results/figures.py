"""Figures of records: drawn from the dataset alone, so that a report draws what a run drew."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_landscape.results import _aging_panels as aging
from lightning_landscape.results import _fluctuation_panels as fluctuation
from lightning_landscape.results import _gap_panels as gaps
from lightning_landscape.results import _jamming_panels as jamming
from lightning_landscape.results import _ladder_panels as ladder
from lightning_landscape.results import _noise_panels as noise
from lightning_landscape.results import _parts_panels as parts
from lightning_landscape.results import _response_panels as response
from lightning_landscape.results import _sampling_panels as sampling
from lightning_landscape.results import _spectrum_panels as spectrum
from lightning_landscape.results import _stationarity_panels as stationarity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from xarray import Dataset

__all__ = ["draw", "log"]

_MOST_ACROSS = 4  # panels in a row


def draw(dataset: Dataset) -> Figure | None:
    """Return the figure of a record, or None if no drawing is known for its probe.

    Points are means over replicas with standard errors; lines are exact.
    """
    from matplotlib.figure import Figure

    panels = _panels(dataset)
    if not panels:
        return None
    across = min(len(panels), _MOST_ACROSS)
    down = -(-len(panels) // across)
    figure = Figure(figsize=(5.2 * across, 3.9 * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False).flat
    for empty in grid[len(panels) :]:
        empty.remove()
    for axes, panel in zip(grid[: len(panels)], panels, strict=True):
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
    T = f"T = {T}" if a.get("temperature_is_constant", True) else "T changes"
    return f"{a.get('energy', 'network')}, N = {a['N']}, {a['replicas']} replicas, {T}"


def _panels(dataset: Dataset) -> list[Callable[[Dataset, Axes], None]]:
    nothing = "chi" in dataset and bool(dataset["chi"].isnull().all())
    if dataset.sizes.get("t") == 0 or nothing:  # stopped before the first measurement
        return []
    if np.ptp(dataset.attrs.get("temperature", 0)) > 0:
        by_temperature: dict[str, list[Callable[[Dataset, Axes], None]]] = {
            "EnergyRelaxation": [ladder.energy],
            "AgingCorrelation": [
                ladder.correlation,
                ladder.tau,
                ladder.peak if dataset.sizes.get("tw", 0) < 2 else ladder.collapse_exponent,
            ],
        }
        if (panels := by_temperature.get(dataset.attrs.get("probe", ""))) is not None:
            return panels
    last = spectrum.outliers if "classes" in dataset.attrs else spectrum.negative
    of_avalanches = [gaps.avalanches, gaps.sizes] if "became_satisfied" in dataset else []
    scale = "linear" if "theory" in dataset.attrs else "log"
    of_response = [
        aging.two_times("chi", r"$\chi(t_w + t, t_w)$", scale),
        response.against_decay,
        response.temperatures,
    ]
    measures_rates = any(str(name).endswith("_rate") for name in dataset)
    of_rates = [sampling.rates] if measures_rates else []
    known: dict[str, list[Callable[[Dataset, Axes], None]]] = {
        "EnergyRelaxation": [aging.relaxation],
        "AgingCorrelation": [
            aging.two_times("C", r"$C(t_w + t, t_w)$", "linear"),
            aging.two_times("MSD", r"$\Delta(t_w, t_w + t)$", "log"),
            aging.collapsed,
        ],
        "GapDistribution": [gaps.unsatisfied, gaps.distribution, *of_avalanches],
        "GradientNoise": [noise.strength, noise.kurtosis],
        "JammingScan": jamming.scan(dataset) if "run" in dataset.dims else [],
        "JammingTransition": [jamming.transition, jamming.line],
        "HessianSpectrum": [spectrum.edges, spectrum.density, last],
        "JammingHessian": [parts.branches, parts.curvature, parts.modes],
        "LinearResponse": of_response,
        "FieldResponse": of_response,
        "DamageSpreading": [response.damage],
        "TemperatureFluctuations": fluctuation.panels(dataset) if "rung" in dataset.dims else [],
        "Equilibration": [sampling.starts, *of_rates],
        "LearningCoefficient": [sampling.learning_coefficient],
        "Stationarity": [stationarity.sides, stationarity.ratios],
        "NoiseSpectrum": [noise.eigenvalues, noise.overlap, noise.cosine],
    }
    return known.get(dataset.attrs.get("probe", ""), [])
