"""The rows of a TemperatureFluctuations record."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from lightning_landscape.callbacks.probes._fluctuation_record import is_invalid
from lightning_landscape.results.table import Row, spread

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["fluctuation_rows"]

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


def fluctuation_rows(dataset: Dataset) -> Iterator[Row]:
    """Yield the dimensions, the curvature and the guard of each of at most eight temperatures.

    The curvature stands beside that of the lowest temperature, which a quadratic valley would have
    at all of them.
    """
    for k in spread(dataset.sizes.get("rung", 0), 8):
        at = dataset.isel(rung=k)
        for name in _NAMES:
            if name in at and math.isfinite(at[name]):
                yield _of_rung(name, at, dataset)
        if k < dataset.sizes.get("interval", 0):
            heat = (float(dataset[f"{x}"][k]) for x in ("T_heat", "N_heat", "N_heat_error"))
            T_heat, N, error = heat
            yield Row(f"N = 2 d⟨U⟩/dT (T = {T_heat:.3g})", N, error)


def _of_rung(name: str, at: Dataset, dataset: Dataset) -> Row:
    T = float(at["T"])
    scale = {"U": T, "U_variance": T**2, "U_drift": float(at["U"])}.get(name, 1.0) or 1.0
    value, error = float(at[name]) / scale, float(at[f"{name}_error"]) / abs(scale)
    row = Row(f"{_NAMES[name]} (T = {T:.3g})", value, error, _EXACT.get(name, math.nan))
    if name in _CONSTANT and T > dataset["T"][0]:
        row = replace(row, exact=float(dataset[name][0]), source="quadratic")
    if name == "N_mean":
        row = replace(row, note=f"of {dataset.attrs['N']} parameters")
    if name == "temperature_ratio" and is_invalid(value, error):
        row = replace(row, note="WARNING: not the state exp(-U/T)")
    return row
