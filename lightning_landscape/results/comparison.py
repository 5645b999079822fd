"""Runs side by side: one figure and one table in which every column is a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.statistics import mean_and_error
from lightning_landscape.results import _aging_panels as aging
from lightning_landscape.results import _ladder_panels as ladder
from lightning_landscape.results import _response_panels as response
from lightning_landscape.results.figures import title
from lightning_landscape.results.summary import rows
from lightning_landscape.results.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from xarray import DataArray, Dataset

__all__ = ["draw", "table"]

Records = dict[str, "Dataset"]
"""The records of one run, by probe."""


def draw(named: dict[str, Records]) -> Figure | None:
    """Return the figure of runs and their names: a column a run, a row a quantity; None if empty.

    Energy against log t; the displacement for all tw; the displacement in units of what the noise
    alone would do, on which free diffusion is the diagonal; the collapse; the response against
    what has decayed, and the effective temperatures. A row that no run can fill is left out.
    """
    from matplotlib.figure import Figure

    runs = list(named.values())
    panels = [[make(run) for run in runs] for make in _ROWS]
    panels = [of_runs for of_runs in panels if any(of_runs)]
    if not panels:
        return None
    shape = (len(panels), len(runs))
    figure = Figure(figsize=(4.6 * shape[1], 3.4 * shape[0]), layout="constrained")
    grid = figure.subplots(*shape, squeeze=False)
    for axes, panel in zip(grid.flat, [p for of_runs in panels for p in of_runs], strict=True):
        if panel is None:
            axes.set_axis_off()
        else:
            panel(axes)
            axes.grid(alpha=0.25, linewidth=0.5)
    for axes, (name, run) in zip(grid[0], named.items(), strict=True):
        system = title(next(iter(run.values())))
        axes.set_title(f"{name}\n{system}", fontsize="small")
    return figure


def table(runs: list[Records]) -> list[tuple[str, list[Row | None]]]:
    """Return the quantities that at least two of the runs have, with the row of each run."""
    found = [
        {row.quantity: row for dataset in run.values() for row in rows(dataset)} for run in runs
    ]
    quantities = dict.fromkeys(quantity for of_run in found for quantity in of_run)
    lines = [(quantity, [of_run.get(quantity) for of_run in found]) for quantity in quantities]
    return [(quantity, cells) for quantity, cells in lines if sum(c is not None for c in cells) > 1]


Panel = Callable[["Axes"], None]


def _energy(run: Records) -> Panel | None:
    return _panel(run.get("EnergyRelaxation"), aging.relaxation, ladder.energy)


def _displacement(run: Records) -> Panel | None:
    return _panel(_two_times(run), aging.two_times("MSD", r"$\Delta(t_w, t_w + t)$", "log"))


def _collapsed(run: Records) -> Panel | None:
    return _panel(_two_times(run), aging.collapsed, ladder.collapse_exponent)


def _response(run: Records) -> Panel | None:
    return _panel(_responded(run), response.against_decay)


def _temperatures(run: Records) -> Panel | None:
    return _panel(_responded(run), response.temperatures)


def _responded(run: Records) -> Dataset | None:
    found = [run[name] for name in ("LinearResponse", "FieldResponse") if name in run]
    return next((record for record in found if record["chi"].notnull().any()), None)


def _in_units_of_the_noise(run: Records) -> Panel | None:
    """Delta / (lr^2 D(tw)) against the number of steps."""
    dataset = _two_times(run)
    if dataset is None:
        return None
    strength = _noise_strength(run, dataset)
    if strength is None:
        return None

    def panel(dataset: Dataset, axes: Axes) -> None:
        lr = dataset.attrs["time_step"]
        scaled = dataset.assign(MSD=dataset["MSD"] / (lr**2 * strength))
        scaled = scaled.assign_coords(t=dataset["t"] / lr).drop_vars("MSD_exact", errors="ignore")
        aging.two_times("MSD", r"$\Delta(t_w, t_w + t)\;/\;\eta^2 D(t_w)$", "log")(scaled, axes)
        axes.plot(scaled["t"], scaled["t"], color="gray", linestyle="--", linewidth=1)
        axes.set(xlabel="steps (dashed: free diffusion)")

    return _panel(dataset, panel)


def _noise_strength(run: Records, dataset: Dataset) -> DataArray | float | None:
    """D at each tw: as measured for mini-batches, 2 T / lr for Langevin; None if there is none."""
    if "GradientNoise" in run:
        D, _ = mean_and_error(run["GradientNoise"]["D"])
        D = D.sel(t=D["t"] > 0)
        return dataset["tw"].copy(data=np.interp(dataset["tw"], D["t"], D)) if D.size else None
    T = np.atleast_1d(dataset.attrs["temperature"])
    return 2 * float(T[0]) / dataset.attrs["time_step"] if T[0] > 0 and np.ptp(T) == 0 else None


_ROWS = [_energy, _displacement, _in_units_of_the_noise, _collapsed, _response, _temperatures]


def _two_times(run: Records) -> Dataset | None:
    names = ("AgingCorrelation", "LinearResponse", "FieldResponse")
    return next((run[name] for name in names if name in run), None)


def _panel(
    dataset: Dataset | None,
    one_temperature: Callable[[Dataset, Axes], None],
    several: Callable[[Dataset, Axes], None] | None = None,
) -> Panel | None:
    if dataset is None:
        return None
    draw = several if np.ptp(dataset.attrs["temperature"]) > 0 else one_temperature
    return None if draw is None else lambda axes: draw(dataset, axes)
