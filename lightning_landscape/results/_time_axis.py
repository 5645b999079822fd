"""The time axis of panels whose first measurement is at time 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["logarithmic_time"]


def logarithmic_time(dataset: Dataset, axes: Axes) -> None:
    """Make the x axis logarithmic, with time 0 on it too; a record of time 0 alone stays as is."""
    later = dataset["t"].to_numpy()
    if (later > 0).any():
        axes.set_xscale("symlog", linthresh=later[later > 0].min())
        axes.set_xlim(left=0)
