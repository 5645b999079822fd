"""Results of a study as the columns of a record, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.studies.study import Result

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["columns", "results"]


def columns(
    recorded: Sequence[Result], dims: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[tuple[str, ...], NDArray[Any]]]:
    """Return the variables of a record from results with the same names.

    Args:
        recorded: at least one result.
        dims: the dimensions of a variable after ``run``; numbers need none.

    >>> columns([{"x": 1, "y": [2.0]}, {"x": 3, "y": [4.0, 5.0]}], {"y": ("t",)})["y"]
    (('run', 't'), array([[ 2., nan],
           [ 4.,  5.]]))
    """
    return {
        name: (("run", *dims.get(name, ())), _array([result[name] for result in recorded]))
        for name in recorded[0]
    }


def results(dataset: Dataset) -> list[Result]:
    """Return the results of which `columns` made the variables along ``run``."""
    names = [str(name) for name, values in dataset.items() if values.dims[:1] == ("run",)]
    values = [dataset[name].to_numpy().tolist() for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def _array(values: list[Any]) -> NDArray[Any]:
    """Return an array of numbers, or of lists, which nan makes as long as the longest."""
    if not isinstance(values[0], list):
        return np.array(values)
    longest = max(map(len, values))
    if all(len(row) == longest for row in values):
        return np.array(values)
    return np.array([row + [np.nan] * (longest - len(row)) for row in values])
