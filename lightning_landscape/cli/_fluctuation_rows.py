"""The rows of a TemperatureFluctuations record."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lightning_landscape.cli.table import Row, spread

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["fluctuation_rows"]

_NAMES = {
    "U": "⟨U⟩/T",
    "N_mean": "N = 2⟨U - U_min⟩/T",
    "N_var": "N = 2 Var U/T²",
    "N_participation": "N of participation",
    "mean_active_data": "data that carry U",
    "mean_near_boundary": "data near the boundary",
    "tr_H": "tr H",
    "highest": "λ_max",
    "ito_ratio": "⟨|∇U|²⟩/T⟨tr H⟩",
    "U_drift": "drift of U/⟨U⟩ in the window",
}
_EXACT = {"ito_ratio": 1.0, "U_drift": 0.0}


def fluctuation_rows(dataset: Dataset) -> Iterator[Row]:
    """Yield the dimensions, the curvature and the guard of each of at most eight temperatures."""
    for k in spread(dataset.sizes.get("rung", 0), 8):
        at = dataset.isel(rung=k)
        T, U = float(at["T"]), float(at["U"])
        scales = {"U": T, "U_drift": U}
        for name, label in _NAMES.items():
            if name in at and math.isfinite(at[name]):
                scale = scales.get(name, 1.0) or 1.0
                value, error = float(at[name]) / scale, float(at[f"{name}_error"]) / abs(scale)
                yield Row(f"{label} (T = {T:.3g})", value, error, _EXACT.get(name, math.nan))
        if k < dataset.sizes.get("interval", 0):
            heat = (float(dataset[f"{x}"][k]) for x in ("T_heat", "N_heat", "N_heat_error"))
            T_heat, N, error = heat
            yield Row(f"N = 2 d⟨U⟩/dT (T = {T_heat:.3g})", N, error)
