"""What a record tells of the system that was measured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["bath_temperature", "has_several_temperatures", "system", "title"]


def has_several_temperatures(dataset: Dataset) -> bool:
    """Return whether the replicas of a record differ in temperature."""
    return bool(np.ptp(dataset.attrs.get("temperature", 0)) > 0)


def bath_temperature(dataset: Dataset) -> float | None:
    """Return the temperature T > 0 that all replicas share, or None."""
    T = np.atleast_1d(dataset.attrs["temperature"])
    return float(T[0]) if np.ptp(T) == 0 and T[0] > 0 else None


def system(dataset: Dataset) -> str:
    """Return what the numbers with a unit depend on: energy, size and mixture of couplings.

    Two runs of one system differ in their dynamics only, as far as a record tells.
    """
    a = dataset.attrs
    orders = json.loads(a["mixture"]) if "mixture" in a else {}
    pure = ", ".join(f"p = {p}" for p in orders) if len(orders) == 1 else f"mixture {orders}"
    return f"{a.get('energy', 'network')}, N = {a.get('N')}{f', {pure}' if orders else ''}"


def title(dataset: Dataset) -> str:
    """Return energy, size, number of replicas and temperature, as far as there are, in one line."""
    a = dataset.attrs
    if "N" not in a:  # a sweep, whose points are many systems
        return ""
    parts = [f"{a.get('energy', 'network')}, N = {a['N']}"]
    if "temperature" in a:
        if "replicas" in a:
            parts.append(f"{a['replicas']} replica{'s' if a['replicas'] != 1 else ''}")
        T = np.atleast_1d(a["temperature"])
        shown = (
            f"T = {T[0]:g}{'…' if (T != T[0]).any() else ''}" if T.dtype.kind in "iuf" else "T ?"
        )
        parts.append(shown if a.get("temperature_is_constant", True) else "T changes")
    return ", ".join(parts)
