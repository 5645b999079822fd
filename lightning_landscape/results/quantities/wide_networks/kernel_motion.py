"""The motion of the tangent kernel in training against the width."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.results.axes import shades
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["KernelMotion"]

Array = NDArray[np.float64]

_KINKED = ("relu", "leaky_relu", "elu", "selu", "softsign", "hard_swish")


@register("KernelMotion")
class KernelMotion(Result):
    """|Delta Theta| / |Theta| against n, and its exponent; see `studies.wide_networks`."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield the motion at each width, and the exponent of n for each activation."""
        for sigma in _activations(dataset):
            n, mean, error = _curve(dataset, sigma)
            for k, width in enumerate(n):
                quantity = f"‖ΔΘ‖ / ‖Θ‖ ({sigma}, n = {width:g})"
                yield Row(quantity, float(mean[k]), float(error[k]))
            if len(n) > 1:
                exponent, uncertainty = _exponent(n, mean, error)
                smooth = sigma not in _KINKED
                exact = dataset.attrs["width_exponent"] - 1 if smooth else math.nan
                where = "leading order" if smooth else ""
                quantity = f"exponent of n ({sigma})"
                yield Row(quantity, exponent, uncertainty, exact, elsewhere=where)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return the motion against the width, and the alignment."""
        return [_motion, _alignment]


def _activations(dataset: Dataset) -> list[str]:
    return list(dict.fromkeys(dataset["activation"].to_numpy().tolist()))


def _curve(dataset: Dataset, sigma: str, name: str = "motion") -> tuple[Array, Array, Array]:
    """Return widths, means over seeds and standard errors."""
    of = dataset.isel(run=np.flatnonzero(dataset["activation"] == sigma))
    groups = of[name].groupby(of["width"])
    seeds = groups.count().to_numpy()
    error = groups.std(ddof=1).to_numpy() / np.sqrt(seeds)
    return np.unique(of["width"]).astype(float), groups.mean().to_numpy(), error


def _exponent(n: Array, mean: Array, error: Array) -> tuple[float, float]:
    """Return the slope of ln motion against ln n, weighted by the errors, and its error."""
    weight = (mean / error) ** 2
    x, y = np.log(n), np.log(mean)
    x = x - np.average(x, weights=weight)
    slope = float((weight * x * y).sum() / (weight * x * x).sum())
    residue = y - np.average(y, weights=weight) - slope * x
    freedom = max(1, len(n) - 2)
    scatter = max(1.0, float((weight * residue**2).sum()) / freedom)  # what is no power law counts
    return slope, math.sqrt(scatter / float((weight * x * x).sum()))


def _motion(dataset: Dataset, axes: Axes) -> None:
    """Motion against the width, with a line of slope -1."""
    names = _activations(dataset)
    for sigma, colour in zip(names, shades(len(names)), strict=True):
        n, mean, error = _curve(dataset, sigma)
        axes.errorbar(n, mean, error, fmt="o-", color=colour, label=sigma)
        axes.plot(n, mean[-1] * n[-1] / n, color=colour, linestyle=":", linewidth=1)
    axes.set(xscale="log", yscale="log", xlabel="n", ylabel=r"$|\Delta\Theta|/|\Theta|$")
    axes.legend(title="dotted: 1/n")


def _alignment(dataset: Dataset, axes: Axes) -> None:
    """Alignment of the kernel with the targets before and after training."""
    names = _activations(dataset)
    for sigma, colour in zip(names, shades(len(names)), strict=True):
        for name, fmt in (("alignment_before", "o:"), ("alignment", "o-")):
            n, mean, error = _curve(dataset, sigma, name)
            label = f"{sigma}, {'before' if fmt == 'o:' else 'after'}"
            axes.errorbar(n, mean, error, fmt=fmt, color=colour, label=label)
    axes.set(xscale="log", xlabel="n", ylabel="alignment with the targets")
    axes.legend()
