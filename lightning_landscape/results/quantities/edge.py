"""The sharpness in time, against the bound that the optimizer sets to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lightning_landscape.results.axes import logarithmic_time, points
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row, row, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["EdgeOfStability"]


@register("EdgeOfStability")
class EdgeOfStability(Result):
    """Sharpness and batch sharpness, alone and in units of their bounds."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield both at a few times."""
        for k in spread(dataset.sizes["t"], 4):
            at = dataset.isel(t=k)
            t = f"(t = {float(at['t']):.4g})"
            yield row(f"sharpness{t}", at["sharpness"])
            if at["edge"].notnull().all():
                yield row(f"sharpness / bound{t}", at["edge"])
            if at["batch_edge"].notnull().all():
                yield row(f"batch sharpness · lr / 2{t}", at["batch_edge"])

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return the sharpness, and where there is a bound its ratio to it."""
        known = bool(dataset["edge"].notnull().any())
        return [_sharpness, *([_ratio] if known else [])]


def _sharpness(dataset: Dataset, axes: Axes) -> None:
    """The highest eigenvalue, and the curvature of a batch along its gradient, in time."""
    points(axes, dataset["t"], dataset["sharpness"], fmt="o-", label="highest eigenvalue")
    if dataset["batch_sharpness"].notnull().any():
        points(axes, dataset["t"], dataset["batch_sharpness"], fmt="s", label="batch sharpness")
    axes.set(xlabel="t", ylabel="curvature")
    logarithmic_time(dataset, axes)
    axes.legend()


def _ratio(dataset: Dataset, axes: Axes) -> None:
    """Both in units of the bound, which is at 1."""
    points(axes, dataset["t"], dataset["edge"], fmt="o-", label="highest eigenvalue")
    if dataset["batch_edge"].notnull().any():
        points(axes, dataset["t"], dataset["batch_edge"], fmt="s", label="batch sharpness")
    axes.axhline(1, color="black", linewidth=1)
    axes.set(xlabel="t", ylabel=f"in units of {dataset.attrs.get('bound', 'the bound')}")
    logarithmic_time(dataset, axes)
    axes.legend()
