"""Where a training stands: each measurement against its bound, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from lightning_landscape.results.diagnosis import network, step_size
from lightning_landscape.results.diagnosis.verdict import HEADER, Verdict, page, table

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["HEADER", "Verdict", "page", "table", "verdicts"]

_RULES: dict[str, Callable[[Dataset], Iterable[Verdict]]] = {
    "EdgeOfStability": step_size.edge,
    "GradientNoise": step_size.noise,
    "Stationarity": step_size.stationarity,
    "GapDistribution": network.fit,
    "Criticality": network.initialization,
    "HessianSpectrum": network.curvature,
    "NoiseSpectrum": network.alignment,
    "Preconditioning": step_size.preconditioning,
    "ClassBalance": network.classes,
}


def verdicts(records: Mapping[str, Dataset]) -> list[Verdict]:
    """Return what the records of a run say of its state.

    Args:
        records: by kind; kinds without a rule, and records without a measurement, give no row.
    """
    found: list[Verdict] = []
    for kind, rule in _RULES.items():
        if kind in records and records[kind].sizes.get("t", 1):
            found += rule(records[kind])
    return found
