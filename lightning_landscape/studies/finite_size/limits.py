"""The limits of all quantities of a `FiniteSize` study, with exact values where known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.studies.finite_size.exact import step_effect, with_exact
from lightning_landscape.studies.finite_size.law import Law, Limit, extrapolate
from lightning_landscape.studies.finite_size.samples import mean_and_error
from lightning_landscape.studies.finite_size.temperature import effective_temperatures

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["limits"]

Array = NDArray[np.float64]


def limits(samples: Dataset, laws: Mapping[str, Law]) -> Dataset:
    """Return the samples with the limits of their means.

    For each quantity X there are ``X_limit``, ``X_error``, of that ``X_statistical``, the limit
    ``X_shorter`` by a shorter law, ``X_coefficients`` with ``X_covariance``, and ``X_chi2``; see
    `law.Limit`. Where all runs have one step whose effect theory knows, it is subtracted, see
    `exact.step_effect`; else it is part of the fit. Of T_eff see `temperature`. Where theory knows
    the limit, there is also ``X_exact``.

    Args:
        samples: E (run, t), C, MSD and chi (run, tw, t), with ``point``, N and ``time_step`` of
            each run.
        laws: of each quantity.
    """
    points = np.unique(samples["point"])
    members = [np.flatnonzero(samples["point"] == k) for k in points]
    if len(points) < 2 or min(map(len, members)) < 2:
        return samples
    first = [runs[0] for runs in members]
    N, dt = samples["N"].to_numpy()[first], samples["time_step"].to_numpy()[first]
    found, step = samples, step_effect(samples) if np.ptp(dt) == 0 else None
    for name in ("E", "C", "MSD", "chi"):
        if name not in samples or np.unique(N).size <= len(laws[name].exponents):
            continue
        found_at = [mean_and_error(samples, name, runs) for runs in members]
        means, errors = (np.stack(arrays) for arrays in zip(*found_at, strict=True))
        if step is not None:
            means -= step[name]
        measured = np.isfinite(means).all(0) & (errors > 0).all(0)
        limit = _masked(laws[name], N, dt, means, errors, measured)
        found = found.assign(_variables(name, limit, samples[name].dims[1:]))
    if "chi_limit" in found and "MSD_limit" in found:
        found = found.assign(effective_temperatures(found, members))
    return with_exact(found)


def _masked(
    law: Law, N: Array, dt: Array, means: Array, errors: Array, measured: NDArray[np.bool_]
) -> dict[str, Array]:
    """Extrapolate where there are measurements; nan elsewhere."""
    limit = extrapolate(law, N, dt, means[:, measured], errors[:, measured])

    def spread(values: Array) -> Array:
        out = np.full((*values.shape[:-1], *measured.shape), np.nan)
        out[..., measured] = values
        return out

    names = [name for name in Limit._fields if name != "freedom"]
    return {name: spread(getattr(limit, name)) for name in names} | {
        "freedom": np.array(limit.freedom)
    }


def _variables(name: str, limit: dict[str, Array], dims: tuple[Any, ...]) -> dict[str, Any]:
    K = f"{name}_term"
    return {
        f"{name}_limit": (dims, limit["value"]),
        f"{name}_error": (dims, limit["error"]),
        f"{name}_statistical": (dims, limit["statistical"]),
        f"{name}_shorter": (dims, limit["shorter"]),
        f"{name}_weights": (("points", *dims), limit["weights"]),
        f"{name}_coefficients": ((K, *dims), limit["coefficients"]),
        f"{name}_covariance": ((K, f"{K}_2", *dims), limit["covariance"]),
        f"{name}_chi2": (dims, limit["chi2"], {"freedom": int(limit["freedom"])}),
    }
