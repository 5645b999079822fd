"""Nearly kernel: mean and variance of trained ensembles, and their limit of infinite width."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.observables.statistics import jackknife
from lightning_landscape.results.axes import shades
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["NearlyKernel", "mean_projection", "variance_ratio"]

Array = NDArray[np.float64]

_BLOCKS = 20  # of networks, one of which the jackknife leaves out


@register("NearlyKernel")
class NearlyKernel(Result):
    """Trained ensembles against the kernels; see `studies.ensembles.NearlyKernel`."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield n (variance ratio - 1) of each width, and mean and variance at n = inf."""
        for n, (ratio, error) in by_width(dataset, variance_ratio).items():
            quantity = f"n (variance / that of n = ∞ - 1), n = {n}"
            yield Row(quantity, n * (ratio - 1), n * error)
        for what, estimator in (("variance", variance_ratio), ("mean", mean_projection)):
            found = by_width(dataset, estimator)
            if len(found) >= 2:
                limit, _, error = _line(dict(sorted(found.items())[-2:]))
                note = "n → ∞, linear in 1/n through the two widest"
                yield Row(f"{what} / that of the kernel", limit, error, 1.0, note=note)
                slope, _, error = _line(_deviations(found))
                first, note = _first_order(dataset)[what], "n → ∞, linear in 1/n"
                yield Row(f"n ({what} / that of the kernel - 1)", slope, error, first, note=note)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return the ratio of the variances against 1/n, and the means against the kernel's."""
        return [_ratios, _means]


def variance_ratio(outputs: Array, mean: Array, variance: Array) -> float:
    """Return the variance over networks, summed over samples, relative to that of n = inf.

    Args:
        outputs: shape (networks, samples).
        mean: of networks of infinite width, shape (samples,).
        variance: likewise.
    """
    return float(outputs.var(0, ddof=1).sum() / variance.sum())


def mean_projection(outputs: Array, mean: Array, variance: Array) -> float:
    """Return the mean over networks, projected on that of n = inf; 1 if they are equal."""
    return float(outputs.mean(0) @ mean / (mean @ mean))


def by_width(
    dataset: Dataset, estimator: Callable[[Array, Array, Array], float]
) -> dict[int, tuple[float, float]]:
    """Return the estimate of each width and its jackknife error."""
    exact = dataset["mean_exact"].to_numpy(), dataset["variance_exact"].to_numpy()
    found = {}
    for n in np.unique(dataset["width"]):
        runs = dataset["output"].to_numpy()[dataset["width"].to_numpy() == n]
        outputs = runs.reshape(-1, runs.shape[-1])
        blocks = np.array_split(np.arange(len(outputs)), min(_BLOCKS, len(outputs)))

        def of_blocks(
            kept: Array, outputs: Array = outputs, blocks: list[NDArray[np.intp]] = blocks
        ) -> Array:
            rows = np.concatenate([blocks[int(k)] for k in kept])
            return np.array(estimator(outputs[rows], *exact))

        estimate, error = jackknife(of_blocks, np.arange(len(blocks), dtype=float))
        found[int(n)] = float(estimate), float(error)
    return found


def _line(found: dict[int, tuple[float, float]]) -> tuple[float, float, float]:
    """Return the line in 1/n through the estimates: limit, slope, and error of the limit."""
    n = np.array(list(found), dtype=float)
    values, errors = np.array(list(found.values())).T
    design = np.stack([np.ones_like(n), 1 / n], axis=1) / errors[:, None]
    covariance = np.linalg.inv(design.T @ design)
    limit, slope = covariance @ design.T @ (values / errors)
    return float(limit), float(slope), float(covariance[0, 0] ** 0.5)


def _deviations(found: dict[int, tuple[float, float]]) -> dict[int, tuple[float, float]]:
    """Return n (ratio - 1) of each width, and its error."""
    return {n: (n * (ratio - 1), n * error) for n, (ratio, error) in found.items()}


def _first_order(dataset: Dataset) -> dict[str, float]:
    """Return n (ratio - 1) of mean and variance at order 1/n; nan where it is not known."""
    if "mean_first_order" not in dataset:
        return {"mean": float("nan"), "variance": float("nan")}
    names = ("mean_exact", "mean_first_order", "variance_exact", "variance_first_order")
    mean, mean1, variance, variance1 = (dataset[name].to_numpy() for name in names)
    return {"mean": mean @ mean1 / (mean @ mean), "variance": variance1.sum() / variance.sum()}


def _ratios(dataset: Dataset, axes: Axes) -> None:
    found = by_width(dataset, variance_ratio)
    values, errors = np.array(list(found.values())).T
    axes.errorbar([1 / n for n in found], values, errors, fmt="o")
    if len(found) >= 2:
        (limit, slope), last = _line(found)[:2], max(1 / n for n in found)
        axes.plot([0, last], [limit, limit + slope * last], "-", color="C0", alpha=0.5)
    axes.plot(0, 1, "k*", markersize=12, label="kernel, n = ∞", clip_on=False)
    if np.isfinite(slope := _first_order(dataset)["variance"]):
        last = max(1 / n for n in found)
        axes.plot([0, last], [1, 1 + slope * last], "k--", label="theory, order 1/n")
    axes.set(xlabel="1/n", ylabel="variance / that of the kernel", xlim=(0, None))
    axes.legend()


def _means(dataset: Dataset, axes: Axes) -> None:
    exact = dataset["mean_exact"].to_numpy()
    widths = np.unique(dataset["width"])
    for n, colour in zip(widths, shades(len(widths)), strict=True):
        runs = dataset["output"].to_numpy()[dataset["width"].to_numpy() == n]
        axes.plot(exact, runs.mean((0, 1)), ".", color=colour, label=f"n = {n}")
    ends = exact.min(), exact.max()
    axes.plot(ends, ends, "k--", label="kernel")
    axes.set(xlabel="mean answer of the kernel", ylabel="mean answer of the networks")
    axes.legend()
