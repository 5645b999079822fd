"""Error bars over replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xarray import DataArray

__all__ = ["mean_and_error"]


def mean_and_error(values: DataArray, dim: str = "replica") -> tuple[DataArray, DataArray]:
    """Return the mean over ``dim`` and its standard error s/sqrt(R); the error of one value is nan.

    The error covers what differs between the replicas: with shared couplings that is the noise
    and the start, not the disorder.
    """
    R = values.sizes[dim]
    error = values.std(dim, ddof=1) if R > 1 else values.isel({dim: 0}, drop=True) * float("nan")
    return values.mean(dim), error / R**0.5
