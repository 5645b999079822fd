"""The jamming transition: the critical P/N of each size, and the line of P against N."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.threshold import slope
from lightning_landscape.results.quantities.jamming.runs import SOURCE, is_random, mean_of_each
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from xarray import Dataset

__all__ = ["JammingTransition"]

_LARGE_NETWORKS = 3.0  # P/N at the transition on random data, Geiger 2019


@register("JammingTransition")
class JammingTransition(Result):
    """Where half of the networks jam; for random data with the published line P = 3 N."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield r_c = P*/N of each point, and the exponent of the line of each depth."""
        known = _LARGE_NETWORKS if is_random(dataset) else math.nan
        in_width = dataset.attrs["varied"] == "h"
        for k in range(dataset.sizes["points"]):
            at = dataset.isel(points=k)
            fixed = f"P = {int(at['point_P'])}" if in_width else f"N = {int(at['point_N'])}"
            ratio = "P/N*" if in_width else "P*/N"
            name = f"r_c = {ratio} (depth {int(at['point_depth'])}, {fixed})"
            note = f"a bound: widen the {'widths' if in_width else 'ratios'}" if at["bound"] else ""
            yield Row(name, float(at["ratio"]), float(at["ratio_error"]), known, SOURCE, note)
        yield from _line_rows(dataset, 1.0 if is_random(dataset) else math.nan)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return the fraction that jams against P/N, and P against N at the transition."""
        return [_transition, _line]


def _line_rows(dataset: Dataset, known: float) -> Iterator[Row]:
    """Yield the exponent b of the line P = c N^b of the transition, of each depth.

    What was varied has the errors: log(P/N) is a straight line of slope b - 1 in log N at given
    sizes, and of slope 1 - 1/b in log P at given numbers of patterns.
    """
    in_width = dataset.attrs["varied"] == "h"
    for depth in np.unique(dataset["point_depth"]):
        of = dataset.isel(points=np.flatnonzero(dataset["point_depth"] == depth))
        given = np.log(of["point_P" if in_width else "point_N"].to_numpy())
        if np.ptp(given) == 0:
            continue
        r_c = of["ratio"].to_numpy()
        c, error = slope(given, np.log(r_c), of["ratio_error"].to_numpy() / r_c)
        b = 1 / (1 - c) if in_width else 1 + c
        error *= b**2 if in_width else 1
        yield Row(f"b of the line P ∝ N^b (depth {depth})", b, error, known, SOURCE)


def _transition(dataset: Dataset, axes: Axes) -> None:
    """The fraction of networks that jam against P/N, and the fitted law, for each point."""
    from scipy.special import ndtr

    fixed = "P" if dataset.attrs["varied"] == "h" else "N"
    for k in range(dataset.sizes["points"]):
        at = dataset.isel(run=np.flatnonzero(dataset["point"] == k), points=k)
        of_run = (at["P"] / at["N"]).to_numpy()
        ratio, share, _ = mean_of_each(of_run, at["jammed"].to_numpy())
        R = np.array([(of_run == x).sum() for x in ratio])
        # of the posterior, as the standard error of all or none is 0
        error = np.sqrt((R * share + 1) * (R * (1 - share) + 1) / (R + 2) ** 2 / (R + 3))
        bars = axes.errorbar(ratio, share, error, fmt="o", markersize=4)
        r = np.geomspace(ratio.min() * 0.9, ratio.max() * 1.1, 200)
        label = f"depth {int(at['point_depth'])}, {fixed} = {int(at[f'point_{fixed}'])}"
        law = ndtr(np.log(r / float(at["ratio"])) / float(at["spread"]))
        axes.plot(r, law, color=bars.lines[0].get_color(), linewidth=1, label=label)
    axes.set(xscale="log", xlabel="P / N", ylabel="fraction that jams")
    _plain_numbers(axes.xaxis)
    axes.legend()


def _line(dataset: Dataset, axes: Axes) -> None:
    """P against N at the transition, and P = 3 N, the line of large networks on random data."""
    N, P = dataset["point_N"].to_numpy().astype(float), dataset["point_P"].to_numpy()
    relative = (dataset["ratio_error"] / dataset["ratio"]).to_numpy()
    for depth in np.unique(dataset["point_depth"]):
        of = dataset["point_depth"].to_numpy() == depth
        # the error is that of what was varied
        error = {"xerr": N * relative} if dataset.attrs["varied"] == "h" else {"yerr": P * relative}
        bars = {axis: values[of] for axis, values in error.items()}
        axes.errorbar(N[of], P[of], **bars, fmt="o", markersize=4, label=f"depth {depth}")
    ends = np.array([N.min() / 1.5, N.max() * 1.5])
    label = f"P = {_LARGE_NETWORKS:g} N (Geiger 2019)"
    axes.plot(ends, _LARGE_NETWORKS * ends, color="black", linewidth=1, label=label)
    axes.set(xscale="log", yscale="log", xlabel="N", ylabel="P at the transition")
    _plain_numbers(axes.xaxis)
    _plain_numbers(axes.yaxis)
    axes.legend()


def _plain_numbers(axis: Axis) -> None:
    """Write 2 and 3, and not powers of ten, on a logarithmic axis of about a decade."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
