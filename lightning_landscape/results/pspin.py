"""The exact dynamics of the spherical p-spin glass of a record, from the same start."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from xarray import Dataset

    from lightning_landscape.theory.glasses.cugliandolo_kurchan import Solution
    from lightning_landscape.theory.glasses.mixture import Array

__all__ = ["REFERENCE", "curve", "is_solved"]

REFERENCE = "Cugliandolo, Kurchan 1993, PRL 71, 173; N to infinity"


def is_solved(dataset: Dataset) -> bool:
    """Return whether the Cugliandolo-Kurchan equations cover the run: a p-spin at constant T."""
    a = dataset.attrs
    return a.get("theory") == "pspin" and bool(a["temperature_is_constant"])


def curve(dataset: Dataset, t_max: float, read: Callable[[Solution], Array]) -> Array:
    """Return ``read`` of the solution up to ``t_max`` at the record's temperatures.

    Where the replicas differ in temperature, or in that of their start, the replica axis is last.

    Raises:
        UsageError: the equations cannot be solved for this mixture, temperature or time.
    """
    a = dataset.attrs
    pairs = np.stack(np.broadcast_arrays(a["temperature"], a["start_temperature"]), -1)
    distinct, which = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
    curves = np.stack([read(_solve(a["mixture"], T, T0, t_max)) for T, T0 in distinct], -1)
    return curves[..., which] if pairs.ndim > 1 else curves[..., 0]


@lru_cache(maxsize=2)
def _solve(mixture: str, temperature: float, start_temperature: float, t_max: float) -> Solution:
    from lightning_landscape.theory.glasses.cugliandolo_kurchan import solve
    from lightning_landscape.theory.glasses.pspin import mixture_from_json

    return solve(mixture_from_json(mixture), temperature, t_max, start_temperature)
