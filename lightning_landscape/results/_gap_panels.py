"""The panels of a GapDistribution record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_landscape.observables.gaps import size_density
from lightning_landscape.observables.statistics import mean_and_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = [
    "SATISFIED",
    "UNSATISFIED",
    "avalanches",
    "distribution",
    "draw_side",
    "sizes",
    "unsatisfied",
]

Array = NDArray[Any]

UNSATISFIED = ("tab:red", r"$\Delta / \sqrt{L}$, unsatisfied")
SATISFIED = ("tab:blue", r"$|\Delta|$, satisfied")


def unsatisfied(dataset: Dataset, axes: Axes) -> None:
    """N_Delta / N in time, and the fraction of replicas that fit their data."""
    later = dataset.sel(t=dataset["t"] > 0)
    # where the loss vanishes gaps approach 0 from above, and counting them says nothing
    N_Delta = later["unsatisfied"].where(later["satisfied"] == 0, 0)
    mean, error = mean_and_error(N_Delta / dataset.attrs["weights"])
    axes.errorbar(later["t"], mean, error, fmt="o", markersize=3, label=r"$N_\Delta / N$")
    if "unsatisfied_exact" in dataset:
        ground_state = float(dataset["unsatisfied_exact"]) / dataset.attrs["weights"]
        axes.axhline(ground_state, color="black", linewidth=1)
    fit = later["satisfied"].mean("replica")
    axes.plot(later["t"], fit, color="gray", drawstyle="steps-mid", label="fraction that fits")
    axes.set(xscale="log", xlabel="t", ylim=(0, None))
    axes.legend(frameon=False, fontsize="small")


def distribution(dataset: Dataset, axes: Axes) -> None:
    """The densities of the gaps at the last time, on both sides, with fitted laws or exact ones."""
    last, edges = dataset.isel(t=-1), dataset["edge"].to_numpy()
    jammed = np.flatnonzero(last["satisfied"] == 0)  # the fits are of these
    replicas = last.isel(replica=jammed) if len(jammed) else last
    for side, counts, name, sign in (
        (UNSATISFIED, "positive_rescaled", "theta", 1),
        (SATISFIED, "negative", "gamma", -1),
    ):
        law = (dataset.attrs[f"{name}_window"], sign * float(last[name]))
        exact = last.get(f"{counts}_exact")
        draw_side(axes, replicas[counts].to_numpy(), edges, side, law, exact)
    axes.set(xscale="log", yscale="log", xlabel="gap", ylabel=f"density at t = {last['t']:.4g}")
    axes.legend(frameon=False, fontsize="small")


def draw_side(
    axes: Axes,
    counts: Array,
    edges: Array,
    side: tuple[str, str],
    law: tuple[Sequence[float], float],
    exact: ArrayLike | None = None,
) -> None:
    """Draw the density of the gaps of one side, and the exact one or the law fitted to it.

    Args:
        axes: logarithmic in both.
        counts: in each bin, shape (replicas, bins).
        edges: of the bins.
        side: its colour and its label.
        law: a window and the exponent there.
        exact: the exact density in each bin, if it is known.
    """
    color, label = side
    density, error = _density(counts, edges)
    x, shown = np.sqrt(edges[1:] * edges[:-1]), density > 0
    if not shown.any():
        return
    below = np.minimum(error, 0.9 * density)  # a log axis has no zero
    bars = np.stack([below, error])[:, shown]
    axes.errorbar(x[shown], density[shown], bars, fmt="o", markersize=3, color=color, label=label)
    if exact is not None:
        axes.plot(x[shown], np.asarray(exact)[shown], color=color, linewidth=1)
    elif np.isfinite(law[1]):
        _law(axes, x, density, np.array(law[0]), law[1], color)


def avalanches(dataset: Dataset, axes: Axes) -> None:
    """How many patterns changed since the time before: the size of each avalanche and the mean."""
    later = dataset.sel(t=dataset["t"] > 0)
    size = later["became_satisfied"] + later["became_unsatisfied"]
    for r in range(size.sizes["replica"]):
        axes.plot(later["t"], size.isel(replica=r), ".", color="gray", markersize=2)
    mean, error = mean_and_error(size)
    axes.errorbar(later["t"], mean, error, fmt="o", markersize=3, label="mean over replicas")
    axes.set(xscale="log", xlabel="t", ylabel="patterns that changed since the time before")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize="small")


def sizes(dataset: Dataset, axes: Axes) -> None:
    """The distribution of the sizes of all avalanches, with the law fitted to it."""
    from torch import from_numpy

    size = (dataset["became_satisfied"] + dataset["became_unsatisfied"]).to_numpy()
    x, density, error = (values.numpy() for values in size_density(from_numpy(size)))
    shown = density > 0
    below = np.minimum(error, 0.9 * density)  # a log axis has no zero
    bars = np.stack([below, error])[:, shown]
    axes.errorbar(x[shown], density[shown], bars, fmt="o", markersize=3, label="all times")
    if "tau" in dataset and np.isfinite(dataset["tau"]) and shown.any():
        tau, k = float(dataset["tau"]), np.arange(1, dataset.sizes["pattern"] + 1)
        law, seen = k**-tau / np.sum(k**-tau), k <= x[shown].max()
        label = rf"$\propto$ size$^{{{-tau:.2f}}}$"
        axes.plot(k[seen], law[seen], color="black", linewidth=1, label=label)
    axes.set(xscale="log", yscale="log", xlabel="patterns that changed", ylabel="probability")
    axes.legend(frameon=False, fontsize="small")


def _density(counts: Array, edges: Array) -> tuple[Array, Array]:
    """Return the density of one side, and its error: of counting, or between the replicas."""
    width = np.diff(edges) * max(counts.sum(), 1)
    n, R = counts.sum(0), len(counts)
    error = np.sqrt(n)
    if R > 1:
        error = np.maximum(error, np.sqrt(R) * counts.std(0, ddof=1))
    return n / width, error / width


def _law(axes: Axes, x: Array, density: Array, window: Array, s: float, color: str) -> None:
    """Draw x^s on its window, with the weight of the points there."""
    inside = (x > window[0]) & (x < window[1])
    scale = (density * x)[inside].sum() / (x ** (s + 1))[inside].sum()  # bins are as wide as x
    label = rf"$\propto x^{{{s:.2f}}}$"
    axes.plot(window, scale * window**s, color=color, linewidth=1.5, label=label)
