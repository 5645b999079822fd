"""Panels of the jamming studies: the transition, the jump, test errors and avalanches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_landscape.observables.gaps import (
    SATISFIED_BELOW,
    log_counts,
    size_density,
    transition_exponents,
)
from lightning_landscape.results._changes_record import (
    avalanche_sizes,
    is_decompressed,
    last_minima,
)
from lightning_landscape.results._gap_panels import SATISFIED, UNSATISFIED, draw_side

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from xarray import Dataset

__all__ = ["line", "scan", "transition"]

Panel = Callable[["Dataset", "Axes"], None]
Array = NDArray[np.float64]


def transition(dataset: Dataset, axes: Axes) -> None:
    """Draw the share of networks that jam against P/N, and the fitted law, for each point."""
    from scipy.special import ndtr

    fixed = "P" if dataset.attrs["varied"] == "h" else "N"
    for k in range(dataset.sizes["points"]):
        at = dataset.isel(run=np.flatnonzero(dataset["point"] == k), points=k)
        ratio, share, _ = _means((at["P"] / at["N"]).to_numpy(), at["jammed"].to_numpy())
        R = np.array([(at["P"] / at["N"] == x).sum() for x in ratio])
        # of the posterior, as the standard error of all or none is 0
        error = np.sqrt((R * share + 1) * (R * (1 - share) + 1) / (R + 2) ** 2 / (R + 3))
        points = axes.errorbar(ratio, share, error, fmt="o", markersize=4)
        r = np.geomspace(ratio.min() * 0.9, ratio.max() * 1.1, 200)
        label = f"depth {int(at['point_depth'])}, {fixed} = {int(at[f'point_{fixed}'])}"
        law = ndtr(np.log(r / float(at["ratio"])) / float(at["spread"]))
        axes.plot(r, law, color=points.lines[0].get_color(), linewidth=1, label=label)
    axes.set(xscale="log", xlabel="P / N", ylabel="share that jams")
    _plain_numbers(axes.xaxis)
    axes.legend(frameon=False, fontsize="small")


def line(dataset: Dataset, axes: Axes) -> None:
    """Draw P against N at the transition, and P = 3 N, where large networks on random data are."""
    N, P = dataset["point_N"].to_numpy().astype(float), dataset["point_P"].to_numpy()
    relative = (dataset["ratio_error"] / dataset["ratio"]).to_numpy()
    for depth in np.unique(dataset["point_depth"]):
        of = dataset["point_depth"].to_numpy() == depth
        # the error is that of what was varied
        error = {"xerr": N * relative} if dataset.attrs["varied"] == "h" else {"yerr": P * relative}
        bars = {axis: values[of] for axis, values in error.items()}
        axes.errorbar(N[of], P[of], **bars, fmt="o", markersize=4, label=f"depth {depth}")
    ends = np.array([N.min() / 1.5, N.max() * 1.5])
    axes.plot(ends, 3 * ends, color="black", linewidth=1, label="P = 3 N (Geiger 2019)")
    axes.set(xscale="log", yscale="log", xlabel="N", ylabel="P at the transition")
    _plain_numbers(axes.xaxis)
    _plain_numbers(axes.yaxis)
    axes.legend(frameon=False, fontsize="small")


def _plain_numbers(axis: Axis) -> None:
    """Write 2 and 3, and not powers of ten, on a logarithmic axis of about a decade."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def scan(dataset: Dataset) -> list[Panel]:
    """Return the panels of a scan: jump and loss, and what else was measured."""
    panels: list[Panel] = []
    if len(np.unique(dataset["P"] / dataset["N"])) > 1:
        jump = _against("unsatisfied", r"$N_\Delta / N$", per_weight=True, bound=0.5)
        panels += [jump, _against("loss", "loss")]
    if "test_error" in dataset:
        panels.append(_test_errors)
    if "avalanche" in dataset:
        if is_decompressed(dataset):
            panels += [_decompressed_number, _decompressed_loss, _gaps]
        panels.append(_avalanches)
    return panels or [_against("loss", "loss")]


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


def _decompressed_number(dataset: Dataset, axes: Axes) -> None:
    """Draw the N_Delta / N of each network that was jammed against P/N, change after change."""
    jammed = dataset.isel(run=np.flatnonzero(dataset["jammed"]))
    N_Delta = jammed["change_unsatisfied"] / jammed["N"]
    axes.plot((jammed["change_P"] / jammed["N"]).T, N_Delta.T, ".-", markersize=3, linewidth=1)
    axes.axhline(0.5, color="black", linewidth=1, linestyle=":")
    axes.set(xlabel="P / N after each change", ylabel=r"$N_\Delta / N$")


def _decompressed_loss(dataset: Dataset, axes: Axes) -> None:
    """Draw the loss of each network that was jammed against P/N, change after change."""
    jammed = dataset.isel(run=np.flatnonzero(dataset["jammed"]))
    L = jammed["change_loss"].where(jammed["change_loss"] >= SATISFIED_BELOW)
    axes.plot((jammed["change_P"] / jammed["N"]).T, L.T, ".-", markersize=3, linewidth=1)
    axes.set(yscale="log", xlabel="P / N after each change", ylabel="loss")


def _avalanches(dataset: Dataset, axes: Axes) -> None:
    """Draw the distribution of the sizes of avalanches in the jammed phase, and the control."""
    control = dataset["avalanche"].isel(change=0)[np.flatnonzero(dataset["jammed"])]
    for sizes, label in (
        (avalanche_sizes(dataset), "after a change"),
        (control, "without a change"),
    ):
        S = torch.from_numpy(sizes.to_numpy().astype(float)).nan_to_num()
        x, density, error = (values.numpy() for values in size_density(S))
        shown = density > 0
        below = np.minimum(error, 0.9 * density)  # a log axis has no zero
        bars = np.stack([below, error])[:, shown]
        axes.errorbar(x[shown], density[shown], bars, fmt="o", markersize=4, label=label)
    axes.set(xscale="log", yscale="log", xlabel="avalanche size S", ylabel="P(S)")
    axes.set_xlim(left=0.8)  # a size is 1 at least
    axes.legend(frameon=False)


def _gaps(dataset: Dataset, axes: Axes) -> None:
    """Draw the gaps of the last minima on both sides, with the laws fitted to them."""
    gaps, loss = last_minima(dataset)
    theta, gamma = transition_exponents(gaps, loss)
    edges = torch.logspace(-9, 4, 131, dtype=torch.float64)
    rescaled = gaps / loss.sqrt()[:, None]
    for side, fit, x in ((UNSATISFIED, theta, rescaled), (SATISFIED, gamma, -gaps)):
        law = ((fit.low, fit.high), fit.exponent)
        draw_side(axes, log_counts(x, edges).numpy(), edges.numpy(), side, law)
    axes.set(xscale="log", yscale="log", xlabel="gap", ylabel="density in the last minima")
    axes.legend(frameon=False, fontsize="small")


def _means(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """Return the distinct x, and mean and standard error of the y of each."""
    places = np.unique(x)
    groups = [y[x == place].astype(float) for place in places]
    mean = np.array([group.mean() for group in groups])
    error = np.array(
        [group.std(ddof=min(1, len(group) - 1)) / len(group) ** 0.5 for group in groups]
    )
    return places, mean, error
