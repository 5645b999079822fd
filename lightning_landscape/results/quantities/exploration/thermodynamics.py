"""The heat capacity of the minima in the harmonic superposition."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from lightning_landscape.results.registry import Panel
from lightning_landscape.results.table import Row
from lightning_landscape.theory.landscapes import Superposition

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["panels", "rows", "temperatures"]

_POINTS = 200
# of the spread of the energies: below the first only the lowest minimum counts, above the last
# the harmonic approximation has long failed
_RANGE = 0.02, 1.5


def rows(dataset: Dataset) -> Iterator[Row]:
    """Yield the peak of the excess heat capacity, where there is one between the ends."""
    if not _has_enough(dataset):
        return
    found = _superposition(dataset)
    T = temperatures(dataset)
    C = found.excess_heat_capacity(T)
    k = int(C.argmax())
    if 0 < k < len(T) - 1:
        best = minimize_scalar(
            lambda x: -float(found.excess_heat_capacity(x)), bounds=(T[k - 1], T[k + 1]),
            method="bounded", options={"xatol": 1e-8},
        )  # fmt: skip
        note = "harmonic superposition of the minima found"
        yield Row("heat capacity: T of its peak", float(best.x), math.nan, note=note)
        yield Row("heat capacity: peak above κ/2", float(-best.fun), math.nan)


def panels(dataset: Dataset) -> list[Panel]:
    """Return the heat capacity against the temperature, where there are two minima."""
    return [_draw] if _has_enough(dataset) else []


def temperatures(dataset: Dataset) -> NDArray[np.float64]:
    """Return temperatures from where only the lowest minimum counts to above all differences."""
    energy = dataset["minimum_energy"].to_numpy()
    return np.geomspace(*_RANGE, _POINTS) * np.ptp(energy)


def _has_enough(dataset: Dataset) -> bool:
    energy, spectrum = dataset["minimum_energy"].to_numpy(), dataset["minimum_spectrum"].to_numpy()
    return bool(len(energy) > 1 and np.ptp(energy) > 0 and (spectrum > 0).all())


def _superposition(dataset: Dataset, which: NDArray[np.bool_] | None = None) -> Superposition:
    kept = dataset if which is None else dataset.isel(minimum=which)
    spectrum = kept["minimum_spectrum"].to_numpy()
    L, h = np.log(spectrum).sum(1), kept["minimum_order"].to_numpy()
    return Superposition(kept["minimum_energy"].to_numpy(), L, h, spectrum.shape[1])


def _draw(dataset: Dataset, axes: Axes) -> None:
    """C = kappa/2 + var(E)/T^2, of all minima, and without those seen at most once."""
    T, kappa = temperatures(dataset), dataset.sizes["mode"]
    C = 0.5 + _superposition(dataset).excess_heat_capacity(T) / kappa
    axes.semilogx(T, C, label=f"{dataset.sizes['minimum']} minima")
    often = dataset["minimum_seen"].to_numpy() > 1
    if 1 < often.sum() < len(often):
        fewer = 0.5 + _superposition(dataset, often).excess_heat_capacity(T) / kappa
        axes.semilogx(T, fewer, "--", label=f"{often.sum()} seen more than once")
    k = int(C.argmax())
    if 0 < k < len(T) - 1:
        axes.plot(T[k], C[k], "o", color="C0", label=f"peak at T = {T[k]:.3g}")
    axes.set(xlabel="temperature", ylabel="heat capacity of the energy / modes")
    axes.legend()
