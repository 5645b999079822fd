"""Error bars over replicas."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_landscape.arguments import checked
from lightning_landscape.errors import require

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

__all__ = ["by_temperature", "jackknife", "leave_one_out_error", "leave_one_out_means",
           "mean_and_error", "rungs"]  # fmt: skip

Array = NDArray[np.float64]


@checked
def mean_and_error(values: DataArray, dim: str = "replica") -> tuple[DataArray, DataArray]:
    """Return the mean over ``dim`` and its standard error s/sqrt(R), which is nan for one value.

    The error covers what differs between the replicas: with shared couplings that is the noise
    and the start, not the disorder.
    """
    known = dim in getattr(values, "dims", ())
    require(known, "values", type(values).__name__, f"must be an array with the dimension {dim}")
    R = values.sizes[dim]
    error = values.std(dim, ddof=1) if R > 1 else values.isel({dim: 0}, drop=True) * float("nan")
    return values.mean(dim), error / R**0.5


def jackknife(estimator: Callable[[Array], Array], values: Array) -> tuple[Array, Array]:
    """Return ``estimator(values)`` and its standard error from leaving out one replica at a time.

    error^2 = (R - 1)/R sum_r (theta_r - mean theta)^2, with theta_r the estimate without replica
    r; for a mean it is s/sqrt(R). With one replica the error is nan.

    Args:
        estimator: from (…, R') values to an estimate of any shape.
        values: shape (…, R).

    Source: Efron, Stein 1981, Ann. Statist. 9, 586.

    >>> float(jackknife(lambda x: x.mean(-1), np.array([1.0, 2.0, 3.0]))[1])  # 1 / sqrt 3
    0.57735...
    """
    estimate, R = np.asarray(estimator(values)), values.shape[-1]
    if R == 1:
        return estimate, np.full_like(estimate, np.nan, dtype=float)
    without = np.stack([estimator(np.delete(values, r, axis=-1)) for r in range(R)])
    return estimate, leave_one_out_error(without)


def leave_one_out_means(values: Array) -> Array:
    """Return the means over all replicas but one, (..., R); nan for one replica."""
    R = values.shape[-1]
    if R == 1:
        return np.full_like(values, np.nan, dtype=float)
    return (values.sum(-1, keepdims=True) - values) / (R - 1)


def leave_one_out_error(without: Array) -> Array:
    """Return the standard error of an estimate from those without one replica, (R, ...)."""
    R = len(without)
    if R == 1:
        return np.full_like(without[0], np.nan)
    return np.sqrt((R - 1) * np.square(without - without.mean(0)).mean(0))


def by_temperature(record: Dataset) -> list[tuple[float, Dataset]]:
    """Return each temperature of a record's replicas, lowest first, with its replicas."""
    temperatures = np.broadcast_to(record.attrs["temperature"], record.sizes["replica"])
    return [(T, record.isel(replica=replicas)) for T, replicas in rungs(temperatures)]


def rungs(temperatures: ArrayLike) -> list[tuple[float, NDArray[np.intp]]]:
    """Return each temperature, lowest first, with the indices of the replicas that have it.

    >>> [(T, r.tolist()) for T, r in rungs([0.2, 0.1, 0.2])]
    [(0.1, [1]), (0.2, [0, 2])]
    """
    T = np.asarray(temperatures, float)
    return [(float(rung), np.flatnonzero(rung == T)) for rung in np.unique(T)]
