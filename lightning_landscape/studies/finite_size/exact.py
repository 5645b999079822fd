"""Exact results for a study: the effect of its step, and the limits."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.observables.response import effective_temperature
from lightning_landscape.studies.finite_size.temperature import WINDOWS
from lightning_landscape.theory.glasses.finite_step import (
    MOST_STEPS,
    DiscreteSolution,
    Scheme,
    solve_discrete,
)

if TYPE_CHECKING:
    from xarray import Dataset

    from lightning_landscape.theory.glasses.cugliandolo_kurchan import Solution

__all__ = ["step_effect", "with_exact"]


Array = NDArray[np.float64]


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


def step_effect(samples: Dataset) -> dict[str, Array] | None:
    """Return what the step adds to E, C, MSD and chi for N to infinity, or None where not known.

    It is known for spherical glasses from a random start under `Langevin` and
    `LeimkuhlerMatthews`, for runs of up to 4000 steps: see `theory.glasses.finite_step`.
    """
    a, dt = samples.attrs, samples.attrs["time_step"]
    t, tw = (np.rint(samples[name].to_numpy() / dt).astype(int) for name in ("t", "tw"))
    known = a.get("theory") == "pspin" and np.isinf(a["start_temperature"])
    if not known or a["dynamics"] not in get_args(Scheme) or t[-1] > MOST_STEPS:
        return None
    late = tw[:, None] + t
    inside = late <= t[-1]
    late = np.where(inside, late, tw[:, None])
    found = _solve_discrete(a["mixture"], a["temperature"], dt, int(t[-1]), a["dynamics"])
    solution = _solve(a["mixture"], a["temperature"], np.inf, float(t[-1] * dt) * (1 + 1e-9))
    times = late * dt, np.broadcast_to(tw[:, None] * dt, late.shape)
    C = found.correlation[late, tw[:, None]] - solution.correlation(*times)
    chi = found.integrated_response[late, tw[:, None]] - solution.integrated_response(*times)
    two_times = {"C": C, "MSD": -2 * C, "chi": chi}
    return {"E": found.energy[t] - solution.energy(t * dt)} | {
        name: np.where(inside, values, np.nan) for name, values in two_times.items()
    }


@lru_cache(maxsize=1)
def _solve(mixture: str, temperature: float, start_temperature: float, t_max: float) -> Solution:
    from lightning_landscape.theory.glasses.cugliandolo_kurchan import solve
    from lightning_landscape.theory.glasses.mixture import mixture_from_json

    return solve(mixture_from_json(mixture), temperature, t_max, start_temperature)


@lru_cache(maxsize=1)
def _solve_discrete(mixture: str, T: float, dt: float, steps: int, scheme: Any) -> DiscreteSolution:
    from lightning_landscape.theory.glasses.mixture import mixture_from_json

    return solve_discrete(mixture_from_json(mixture), T, dt, steps, scheme)
