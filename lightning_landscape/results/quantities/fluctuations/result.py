"""The result of `TemperatureFluctuations`: dimensions, curvature, and models beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from lightning_landscape.observables.fluctuations import is_off_equilibrium
from lightning_landscape.results.quantities.fluctuations import models
from lightning_landscape.results.quantities.fluctuations.panels import panels
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row, spread

if TYPE_CHECKING:
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
        return panels(dataset)

    def exact(self, dataset: Dataset) -> Dataset:
        """Add the Gamma law of the same mean, harmonic displacements and, for a ladder, walls.

        They are models with measured parameters, so their names do not end with ``_exact``.
        """
        if "density" in dataset:
            dataset = models.with_gamma_law(dataset)
        if "msd_stiff" in dataset and "lr" in dataset.attrs:
            dataset = models.with_harmonic_displacement(dataset)
        known = dataset.sizes.keys() >= {"rung", "interval"} and (dataset["T"] > 0).all()
        if known and (dataset[["U_error", "U_variance_error"]].to_array() > 0).all():
            return models.with_walls(dataset)
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
