"""Means over the networks of a jamming study, grouped by P/N."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.results.table import Row

if TYPE_CHECKING:
    from torch import Tensor
    from xarray import DataArray, Dataset

__all__ = ["LARGE", "SOURCE", "is_random", "mean_of_each", "mean_row"]

Array = NDArray[np.float64]

SOURCE = "Geiger 2019"
LARGE = "N ~ 8000"
"""The size of the networks of which a threshold and a jump were published."""


def is_random(dataset: Dataset) -> bool:
    """Return whether the networks were trained on random data, for which values are published."""
    return "RandomData" in dataset.attrs.get("config", "")


def mean_row(name: str, values: DataArray | Tensor, known: float = math.nan) -> Row:
    """Return the mean over networks with its standard error, and the published value."""
    x = np.asarray(values, dtype=float)
    error = x.std(ddof=1).item() / len(x) ** 0.5 if len(x) > 1 else math.nan
    return Row(name, x.mean().item() if len(x) else math.nan, error, known, SOURCE, elsewhere=LARGE)


def mean_of_each(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """Return the distinct x, and mean and standard error of the y of each."""
    places = np.unique(x)
    groups = [y[x == place].astype(float) for place in places]
    mean = np.array([group.mean() for group in groups])
    error = np.array(
        [group.std(ddof=min(1, len(group) - 1)) / len(group) ** 0.5 for group in groups]
    )
    return places, mean, error
