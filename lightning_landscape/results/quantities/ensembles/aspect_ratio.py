"""Aspect ratio: how the test loss of trained networks depends on r = L/n."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["AspectRatio"]

Estimate = tuple[float, float]


@register("AspectRatio")
class AspectRatio(Result):
    """Loss and accuracy against r; see `studies.ensembles.AspectRatio`."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield the test loss of every depth, and where it is smallest, beside r*."""
        losses = by_depth(dataset, "loss")
        for L, (loss, error) in losses.items():
            yield Row(f"test loss, L = {L} (r = {_r(dataset, L):.3g})", loss, error)
        best = min(losses, key=lambda L: losses[L][0])
        r_star = float(dataset.attrs["r_optimal"])
        source = "r*, an order of magnitude"
        yield Row("r of the smallest test loss", _r(dataset, best), np.nan, r_star, source)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return loss and accuracy against r."""
        return [_losses, _accuracies]


def by_depth(dataset: Dataset, name: str) -> dict[int, Estimate]:
    """Return mean and standard error over the networks of each depth."""
    found = {}
    for L in np.unique(dataset["depth"]):
        values = dataset[name].to_numpy()[dataset["depth"].to_numpy() == L].ravel()
        error = values.std(ddof=1) / values.size**0.5 if values.size > 1 else np.nan
        found[int(L)] = float(values.mean()), float(error)
    return found


def _r(dataset: Dataset, depth: int) -> float:
    return float(depth / dataset.attrs["width"])


def _draw(dataset: Dataset, axes: Axes, name: str) -> None:
    found = by_depth(dataset, name)
    r = [_r(dataset, L) for L in found]
    means, errors = np.array(list(found.values())).T
    axes.errorbar(r, means, errors, fmt="o-")


def _losses(dataset: Dataset, axes: Axes) -> None:
    _draw(dataset, axes, "loss")
    axes.axvline(dataset.attrs["r_optimal"], color="k", linestyle="--", label="r*")
    axes.set(xlabel="r = L/n", ylabel="test loss")
    axes.legend()


def _accuracies(dataset: Dataset, axes: Axes) -> None:
    _draw(dataset, axes, "accuracy")
    axes.set(xlabel="r = L/n", ylabel="accuracy")
