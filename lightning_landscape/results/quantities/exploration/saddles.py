"""Saddles of any index: how many, and which part of the directions is unstable at which energy."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.results.registry import Panel
from lightning_landscape.results.table import Row
from lightning_landscape.theory.landscapes import index_fraction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["panels", "rows"]


def rows(dataset: Dataset) -> Iterator[Row]:
    """Yield the numbers of saddles and quasi-saddles, and the deviation from the index law."""
    descents = int(dataset.attrs.get("descents", 0))
    if not descents:
        return
    seen, nan = int(dataset["saddle_seen"].sum()), math.nan
    yield Row("saddles", dataset.sizes["saddle"], nan, note=f"seen {seen} times in {descents}")
    yield Row("quasi-saddles", int(dataset.attrs["quasi"]), nan, note=f"of {descents} descents")
    p = _order(dataset)
    if p and dataset.sizes["saddle"]:
        energy, index = _saddles(dataset)
        rms = np.sqrt(np.mean((index - index_fraction(p, energy)) ** 2))
        yield Row("rms of index/N − law", float(rms), nan, note=f"{len(energy)} saddles")


def panels(dataset: Dataset) -> list[Panel]:
    """Return index against energy, where there are saddles."""
    return [_index] if dataset.sizes.get("saddle") else []


def _order(dataset: Dataset) -> int:
    """Return the p of a pure spherical glass, 0 for anything else."""
    if dataset.attrs.get("theory") != "pspin":
        return 0
    mixture = json.loads(dataset.attrs["mixture"])
    return int(next(iter(mixture))) if len(mixture) == 1 else 0


def _saddles(dataset: Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return energies, per spin of a glass, and which part of the eigenvalues is negative."""
    index = (dataset["saddle_spectrum"] < 0).mean("mode").to_numpy()
    size = dataset.attrs["N"] if _order(dataset) else 1
    return dataset["saddle_energy"].to_numpy() / size, index


def _index(dataset: Dataset, axes: Axes) -> None:
    """Which part of the directions is unstable, against the energy."""
    energy, index = _saddles(dataset)
    axes.plot(energy, index, "o", color="black", markersize=3, label="saddles")
    p = _order(dataset)
    if p:
        e = np.linspace(min(-math.sqrt(2 * (p - 1) / p), energy.min()), energy.max(), 200)
        axes.plot(e, index_fraction(p, e), color="C3", label="semicircle law, N = ∞")
        axes.legend(frameon=False)
    axes.set(xlabel="energy per spin" if p else "energy", ylabel="index / N")
