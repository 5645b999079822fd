"""The loss along paths between two configurations: profile and barrier."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["LossPath"]

_LABELS = {"line": "straight line", "band": "elastic band"}


@register("LossPath")
class LossPath(Result):
    """The loss along the straight line and the elastic band between two checkpoints."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield the losses of the ends and the barrier of each path."""
        nan = math.nan
        for k, name in ((0, "first"), (-1, "second")):
            yield Row(f"loss at the {name} end", float(dataset["line_loss"][k]), nan)
        for name, label in _LABELS.items():
            if f"{name}_loss" not in dataset:
                continue
            height = float(dataset.attrs[f"{name}_barrier"])
            excess = float(dataset.attrs[f"{name}_above_line"])
            note = f"{excess:.3g} above the line between the losses of the ends"
            if name == "band" and not dataset.attrs.get("band_converged", True):
                note += "; the band has not converged: give more --steps"
            yield Row(f"barrier along the {label}", height, nan, note=note)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return the profile."""
        return [_profile]


def _profile(dataset: Dataset, axes: Axes) -> None:
    """The loss against the distance along each path, as a share of its length."""
    for name, label in _LABELS.items():
        if f"{name}_loss" not in dataset:
            continue
        along = dataset[f"{name}_length"].values
        text = f"{label}, length {along[-1]:.3g}"
        (line,) = axes.plot(along / along[-1], dataset[f"{name}_loss"], ".-", label=text)
        if f"{name}_test_loss" in dataset:
            test = dataset[f"{name}_test_loss"]
            axes.plot(along / along[-1], test, "--", color=line.get_color(), label="held-out data")
    axes.set(xlabel="distance along the path / its length", ylabel="loss")
    axes.legend()
