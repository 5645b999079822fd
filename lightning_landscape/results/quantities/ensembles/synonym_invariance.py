"""Synonym invariance: the sensitivity of every layer to the synonyms of every level."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lightning_landscape.results.axes import logarithmic_time, points, shades
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row, row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["SynonymInvariance"]


@register("SynonymInvariance")
class SynonymInvariance(Result):
    """Sensitivities in time and, at the end, from layer to layer."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield the sensitivity of the outputs to each level, at the first and the last time."""
        for k in dict.fromkeys((0, dataset.sizes["t"] - 1)):
            at = dataset["sensitivity"].isel(t=k, layer=-1)
            for level in range(at.sizes["level"]):
                t = float(dataset["t"][k])
                name = f"sensitivity of the outputs to synonyms of level {level + 1} (t = {t:.4g})"
                yield row(name, at.isel(level=level))

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return the sensitivity of the outputs in time, and that of all layers at the end."""
        return [_in_time, *([_of_layers] if dataset.sizes["layer"] > 1 else [])]


def _in_time(dataset: Dataset, axes: Axes) -> None:
    levels = dataset.sizes["level"]
    for level, colour in enumerate(shades(levels)):
        values = dataset["sensitivity"].isel(layer=-1, level=level)
        label = f"synonyms of level {level + 1}"
        points(axes, dataset["t"], values, fmt="o-", color=colour, label=label)
    axes.set(xlabel="t", ylabel="sensitivity of the outputs", ylim=(0, None))
    logarithmic_time(dataset, axes)
    axes.legend()


def _of_layers(dataset: Dataset, axes: Axes) -> None:
    layers = range(1, dataset.sizes["layer"] + 1)
    levels = dataset.sizes["level"]
    for level, colour in enumerate(shades(levels)):
        values = dataset["sensitivity"].isel(t=-1, level=level)
        label = f"synonyms of level {level + 1}"
        points(axes, layers, values, fmt="o-", color=colour, label=label)
    axes.set(xlabel="layer", ylabel="sensitivity at the end", ylim=(0, None), xticks=list(layers))
    axes.legend()
