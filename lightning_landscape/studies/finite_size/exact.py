"""The exact curves beside the limits of a study, where theory knows them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.response import effective_temperature
from lightning_landscape.studies.finite_size.temperature import WINDOWS

if TYPE_CHECKING:
    from xarray import Dataset

    from lightning_landscape.theory.glasses.cugliandolo_kurchan import Solution

__all__ = ["with_exact"]


def with_exact(found: Dataset) -> Dataset:
    """Return the record with ``X_exact`` for X = E, C, MSD, chi and T_eff.

    For spherical glasses they solve the Cugliandolo-Kurchan equations; other records come back as
    they are. T_eff_exact is the slope in the same windows and at the same times as T_eff_limit.
    """
    if found.attrs.get("theory") != "pspin":
        return found
    t = found["t"].to_numpy()
    tw, lag = np.meshgrid(found["tw"], t, indexing="ij")
    measured = tw + lag <= t[-1] * (1 + 1e-9)
    model = (found.attrs[name] for name in ("mixture", "temperature", "start_temperature"))
    solution = _solve(*model, float(t[-1]) * (1 + 1e-9))
    late, early = np.where(measured, tw + lag, tw), tw
    C = np.where(measured, solution.correlation(late, early), np.nan)
    chi = np.where(measured, solution.integrated_response(late, early), np.nan)
    dims = ("tw", "t")
    found = found.assign(
        E_exact=("t", solution.energy(t)),
        C_exact=(dims, C),
        MSD_exact=(dims, 2 - 2 * C),
        chi_exact=(dims, chi),
    ).assign_attrs(theory_reference="Cugliandolo, Kurchan 1993, PRL 71, 173; N to infinity")
    if "T_eff_limit" not in found:
        return found
    slopes = [
        [effective_temperature(1 - c, x, window)[0] for window in WINDOWS.values()]
        for c, x in zip(C, chi, strict=True)
    ]
    return found.assign(T_eff_exact=(("tw", "window"), slopes))


@lru_cache(maxsize=1)
def _solve(mixture: str, temperature: float, start_temperature: float, t_max: float) -> Solution:
    from lightning_landscape.theory.glasses.cugliandolo_kurchan import solve
    from lightning_landscape.theory.glasses.mixture import mixture_from_json

    return solve(mixture_from_json(mixture), temperature, t_max, start_temperature)
