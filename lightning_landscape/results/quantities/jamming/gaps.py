"""The gaps of patterns: how many are unsatisfied, their distribution, and avalanches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_landscape.errors import UsageError
from lightning_landscape.observables.gaps import size_density
from lightning_landscape.results.axes import log_errorbar, points
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row, row, spread
from lightning_landscape.theory.jamming import NETWORKS, SPHERES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import DataArray, Dataset

__all__ = ["SATISFIED", "UNSATISFIED", "Gaps", "draw_side"]

Array = NDArray[Any]

UNSATISFIED = ("tab:red", r"$\Delta / \sqrt{L}$, unsatisfied")
SATISFIED = ("tab:blue", r"$|\Delta|$, satisfied")


@register("GapDistribution")
class Gaps(Result):
    """Gaps and their exponents; exact for the perceptron's ground state above its capacity."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield N_Delta / N at a few times, how many replicas fit, and the exponents at the end."""
        later, weights = dataset.sel(t=dataset["t"] > 0), dataset.attrs["weights"]
        for k in spread(later.sizes["t"], 5):
            at = later.isel(t=k)
            at_the_end = at["t"] == dataset["t"][-1]
            exact = at.get("unsatisfied_exact") if at_the_end else None  # of the ground state
            known = None if exact is None else exact / weights
            yield row(f"N_Δ/N(t = {float(at['t']):.4g})", _unsatisfied(at) / weights, known)
        if not dataset.sizes["t"]:
            return
        last = dataset.isel(t=-1)
        yield row("loss at the end", last["loss"], last.get("loss_exact"))
        yield row("replicas that fit", last["satisfied"].astype(float))
        if "loss_exact" not in dataset:  # at the transition
            yield from _exponents(dataset)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return N_Delta(t), the distribution of gaps and, if measured, that of avalanches."""
        avalanches = [_avalanches, _sizes] if "became_satisfied" in dataset else []
        return [_unsatisfied_in_time, _distribution, *avalanches]

    def exact(self, dataset: Dataset) -> Dataset:
        """Add loss, N_Delta and the densities of the gaps on both sides, of the ground state."""
        if dataset.attrs.get("theory") != "perceptron":
            return dataset
        from lightning_landscape.theory.jamming import perceptron_jammed

        a, edges = dataset.attrs, dataset["edge"].to_numpy()
        try:
            state = perceptron_jammed(a["load"], a["margin"])
        except UsageError:  # below capacity it depends on the dynamics; far above, unknown
            return dataset
        loss, share = state.energy / state.load, state.unsatisfied / state.load
        x = np.sqrt(edges[1:] * edges[:-1])
        return dataset.assign(
            loss_exact=loss,
            unsatisfied_exact=a["N"] * state.unsatisfied,
            positive_rescaled_exact=("bin", state.gap_density(x * loss**0.5) * loss**0.5 / share),
            negative_exact=("bin", state.gap_density(-x) / (1 - share)),
        ).assign_attrs(theory_reference="Gardner 1988, J. Phys. A 21, 257; N to infinity")


def _unsatisfied(dataset: Dataset) -> DataArray:
    """Return N_Delta of each replica, 0 where the loss vanishes.

    There gaps approach 0 from above, and counting them says nothing.
    """
    return dataset["unsatisfied"].where(dataset["satisfied"] == 0, 0)


def _exponents(dataset: Dataset) -> Iterator[Row]:
    known = SPHERES if dataset.attrs.get("theory") == "perceptron" else NETWORKS
    for name, letter, value in (("theta", "θ", known.theta), ("gamma", "γ", known.gamma)):
        if dataset[name].notnull():
            low, high = dataset.attrs[f"{name}_window"]
            p_value = float(dataset[f"{name}_p_value"])
            quantity = f"{letter} on [{low:g}, {high:g}], p = {p_value:.2g}"
            error = float(dataset[f"{name}_error"])
            yield Row(quantity, float(dataset[name]), error, value, known.source)
    if "tau" in dataset and dataset["tau"].notnull():
        quantity = f"τ of avalanche sizes, p = {float(dataset['tau_p_value']):.2g}"
        yield Row(quantity, float(dataset["tau"]), float(dataset["tau_error"]))


def _unsatisfied_in_time(dataset: Dataset, axes: Axes) -> None:
    """N_Delta / N in time, and the fraction of replicas that fit their data."""
    later, weights = dataset.sel(t=dataset["t"] > 0), dataset.attrs["weights"]
    points(axes, later["t"], _unsatisfied(later) / weights, label=r"$N_\Delta / N$")
    if "unsatisfied_exact" in dataset:
        ground_state = float(dataset["unsatisfied_exact"]) / weights
        axes.axhline(ground_state, color="black", linewidth=1)
    fit = later["satisfied"].mean("replica")
    axes.plot(later["t"], fit, color="gray", drawstyle="steps-mid", label="fraction that fits")
    axes.set(xscale="log", xlabel="t", ylim=(0, None))
    axes.legend()


def _distribution(dataset: Dataset, axes: Axes) -> None:
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
    axes.legend()


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
    log_errorbar(axes, x, density, error, color=color, label=label)
    if exact is not None:
        axes.plot(x[shown], np.asarray(exact)[shown], color=color, linewidth=1)
    elif np.isfinite(law[1]):
        _law(axes, x, density, np.array(law[0]), law[1], color)


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


def _avalanches(dataset: Dataset, axes: Axes) -> None:
    """How many patterns changed since the time before: the size of each avalanche and the mean."""
    later = dataset.sel(t=dataset["t"] > 0)
    size = later["became_satisfied"] + later["became_unsatisfied"]
    axes.plot(later["t"], size.transpose("t", "replica"), ".", color="gray", markersize=2)
    points(axes, later["t"], size, label="mean over replicas")
    axes.set(xscale="log", xlabel="t", ylabel="patterns that changed since the time before")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    axes.legend()


def _sizes(dataset: Dataset, axes: Axes) -> None:
    """The distribution of the sizes of all avalanches, with the law fitted to it."""
    from torch import from_numpy

    size = (dataset["became_satisfied"] + dataset["became_unsatisfied"]).to_numpy()
    x, density, error = (values.numpy() for values in size_density(from_numpy(size)))
    log_errorbar(axes, x, density, error, label="all times")
    if "tau" in dataset and np.isfinite(dataset["tau"]) and (density > 0).any():
        tau, k = float(dataset["tau"]), np.arange(1, dataset.sizes["pattern"] + 1)
        law, seen = k**-tau / np.sum(k**-tau), k <= x[density > 0].max()
        label = rf"$\propto$ size$^{{{-tau:.2f}}}$"
        axes.plot(k[seen], law[seen], color="black", linewidth=1, label=label)
    axes.set(xscale="log", yscale="log", xlabel="patterns that changed", ylabel="probability")
    axes.legend()
