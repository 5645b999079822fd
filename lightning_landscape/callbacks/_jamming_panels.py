"""Panels of the jamming studies: the transition, the jump, test errors and avalanches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["line", "scan", "transition"]

Panel = Callable[["Dataset", "Axes"], None]
Array = NDArray[np.float64]


def transition(dataset: Dataset, axes: Axes) -> None:
    """Draw the share of networks that jam against P/N, and the fitted law, for each point."""
    from scipy.special import ndtr

    for k in range(dataset.sizes["points"]):
        at = dataset.isel(run=np.flatnonzero(dataset["point"] == k), points=k)
        N, r_c, s = int(at["point_N"]), float(at["ratio"]), float(at["spread"])
        P, share, error = _means(at["P"].to_numpy(), at["jammed"].to_numpy())
        points = axes.errorbar(P / N, share, error, fmt="o", markersize=4)
        r = np.geomspace((P / N).min() * 0.9, (P / N).max() * 1.1, 200)
        label = f"depth {int(at['point_depth'])}, N = {N}"
        color = points.lines[0].get_color()
        axes.plot(r, ndtr(np.log(r / r_c) / s), color=color, linewidth=1, label=label)
    axes.set(xscale="log", xlabel="P / N", ylabel="share that jams")
    axes.legend(frameon=False, fontsize="small")


def line(dataset: Dataset, axes: Axes) -> None:
    """Draw P* against N, and the line P = 3 N that large networks on random data lie on."""
    N = dataset["point_N"].to_numpy().astype(float)
    for depth in np.unique(dataset["point_depth"]):
        of = dataset["point_depth"].to_numpy() == depth
        P = (dataset["ratio"].to_numpy() * N)[of]
        error = (dataset["ratio_error"].to_numpy() * N)[of]
        axes.errorbar(N[of], P, error, fmt="o", markersize=4, label=f"depth {depth}")
    ends = np.array([N.min() / 1.5, N.max() * 1.5])
    axes.plot(ends, 3 * ends, color="black", linewidth=1, label="P = 3 N (Geiger 2019)")
    axes.set(xscale="log", yscale="log", xlabel="N", ylabel="P*")
    axes.legend(frameon=False, fontsize="small")


def scan(dataset: Dataset) -> list[Panel]:
    """Return the panels of a scan: jump and loss, and what else was measured."""
    jump = _against("unsatisfied", r"$N_\Delta / N$", per_weight=True, bound=0.5)
    panels = [jump, _against("loss", "loss")]
    if "test_error" in dataset:
        panels.append(_test_errors)
    if "avalanche" in dataset:
        panels.append(_avalanches)
    return panels


def _against(name: str, label: str, per_weight: bool = False, bound: float | None = None) -> Panel:
    """Return a panel of every network, and the mean, against P/N."""

    def panel(dataset: Dataset, axes: Axes) -> None:
        ratio = (dataset["P"] / dataset["N"]).to_numpy()
        for depth in np.unique(dataset["depth"]):
            of = dataset["depth"].to_numpy() == depth
            y = dataset[name].to_numpy().astype(float)
            y = y / dataset["N"].to_numpy() if per_weight else y
            dots = axes.plot(ratio[of], y[of], ".", markersize=3, alpha=0.4)
            x, mean, error = _means(ratio[of], y[of])
            color = dots[0].get_color()
            axes.errorbar(x, mean, error, marker="o", markersize=4, color=color, linewidth=1)
        if bound is not None:
            axes.axhline(bound, color="black", linewidth=1, linestyle=":")
        axes.set(xlabel="P / N", ylabel=label)

    return panel


def _test_errors(dataset: Dataset, axes: Axes) -> None:
    N = dataset["N"].to_numpy().astype(float)
    for name, label in (("test_error", "at the end"), ("early_test_error", "early stopping")):
        x, mean, error = _means(N, dataset[name].to_numpy())
        axes.errorbar(x, mean, error, marker="o", markersize=4, linewidth=1, label=label)
    # where half of the networks jam, between two sizes
    sizes, share, _ = _means(N, dataset["jammed"].to_numpy())
    if (share > 0.5).any() and (share < 0.5).any():
        axes.axvspan(sizes[share > 0.5].max(), sizes[share < 0.5].min(), color="0.85", zorder=0)
    axes.set(xscale="log", xlabel="N (shaded: the transition)", ylabel="test error")
    axes.legend(frameon=False)


def _avalanches(dataset: Dataset, axes: Axes) -> None:
    jammed = dataset["jammed"].to_numpy()
    kinds = {"avalanche": "some patterns replaced", "avalanche_control": "none replaced"}
    for name, label in kinds.items():
        S = dataset[name].to_numpy()[jammed].astype(float)
        if len(S) and S.max() > 0:
            edges = np.geomspace(0.5, S.max() + 1, 16)
            density = np.histogram(S, edges)[0] / (len(S) * np.diff(edges))
            centres = np.sqrt(edges[1:] * edges[:-1])
            axes.plot(centres[density > 0], density[density > 0], "o", markersize=4, label=label)
            axes.set(xscale="log", yscale="log")
            axes.legend(frameon=False)
    axes.set(xlabel="avalanche S of the jammed", ylabel="P(S)")


def _means(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """Return the distinct x, and mean and standard error of the y of each."""
    places = np.unique(x)
    groups = [y[x == place].astype(float) for place in places]
    mean = np.array([group.mean() for group in groups])
    error = np.array(
        [group.std(ddof=min(1, len(group) - 1)) / len(group) ** 0.5 for group in groups]
    )
    return places, mean, error
