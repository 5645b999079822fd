"""The tangent kernel: its motion in training, its alignment with the targets, its spectrum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.results.axes import logarithmic_time, points
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row, row, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["TangentKernel"]


@register("TangentKernel")
class TangentKernel(Result):
    """Motion and alignment in time, and the eigenvalues at the first and the last time."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield motion, alignment and the mean of the diagonal at a few times."""
        for k in spread(dataset.sizes["t"], 4):
            at, t = dataset.isel(t=k), f"(t = {float(dataset['t'][k]):.4g})"
            if k > 0:
                yield row(f"‖ΔΘ‖ / ‖Θ‖{t}", at["motion"])
            if "alignment" in at:
                yield row(f"alignment of Θ with the targets{t}", at["alignment"])
            yield row(f"mean of the diagonal of Θ{t}", at["diagonal"])

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return motion with alignment, and the spectrum."""
        return [_motion, _spectrum]


def _motion(dataset: Dataset, axes: Axes) -> None:
    """How far the kernel has moved, and its alignment with the targets, in time."""
    points(axes, dataset["t"], dataset["motion"], fmt="o-", label=r"$|\Delta\Theta|/|\Theta_0|$")
    if "alignment" in dataset:
        points(axes, dataset["t"], dataset["alignment"], fmt="s-", label="alignment with targets")
    axes.set(xlabel="t", ylabel="motion, alignment", ylim=(0, None))
    logarithmic_time(dataset, axes)
    axes.legend()


def _spectrum(dataset: Dataset, axes: Axes) -> None:
    """Eigenvalues, largest first, at the first and the last time."""
    rank = np.arange(1, dataset.sizes["eigenvalue"] + 1)
    for k, color in {0: "tab:blue", dataset.sizes["t"] - 1: "tab:orange"}.items():
        values = dataset["eigenvalues"].isel(t=k)[:, ::-1]
        label = f"t = {float(dataset['t'][k]):.4g}"
        points(axes, rank, values, fmt=".-", color=color, label=label)
    axes.set(yscale="log", xlabel="rank", ylabel=r"eigenvalues of $\Theta$")
    axes.legend()
