"""The jamming transition: the critical P/N of each size, and the line of P against N."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.observables.threshold import slope
from lightning_landscape.results.quantities.jamming.runs import (
    LARGE,
    SOURCE,
    is_random,
    mean_of_each,
)
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from xarray import Dataset

__all__ = ["JammingTransition"]

Array = NDArray[np.float64]

_WORST_FIT = 4.0  # chi^2 per degree of freedom above which r_c is not linear in N^-1/2
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
            value, error = float(at["ratio"]), float(at["ratio_error"])
            yield Row(name, value, error, known, SOURCE, note, elsewhere=LARGE)
        if not in_width:
            yield from _extrapolations(dataset, known)
        yield from _line_rows(dataset, 1.0 if is_random(dataset) else math.nan)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return the fraction that jams against P/N, and P against N at the transition."""
        return [_transition, _line]


def _extrapolations(dataset: Dataset, known: float) -> Iterator[Row]:
    """Yield r_c of infinitely large networks of each depth, from at least three sizes.

    r_c = r_inf + c N^-1/2: of a network of given depth N^1/2 is its width, up to a factor, and
    1 / width is what corrections to infinite width begin with. The error contains the scatter
    about the straight line.
    """
    for depth in np.unique(dataset["point_depth"]):
        of = dataset.isel(points=np.flatnonzero(dataset["point_depth"] == depth))
        of = of.isel(points=np.flatnonzero(of["bound"] == 0))
        N, r_c, error = (of[name].to_numpy() for name in ("point_N", "ratio", "ratio_error"))
        if len(np.unique(N)) < 3:
            continue
        value, uncertainty, chi2 = _intercept(N**-0.5, r_c, error)
        note = f"linear in N^-1/2, χ²/dof = {chi2:.2g}"
        name = f"r_c, N → ∞, depth {int(depth)}"
        yield Row(name, value, uncertainty, known, SOURCE, note, holds=chi2 < _WORST_FIT)


def _intercept(x: Array, y: Array, error: Array) -> tuple[float, float, float]:
    """Return the value at x = 0 of a straight line through points, its error, chi^2 per dof.

    >>> _intercept(np.array([1.0, 2.0, 3.0]), np.array([3.0, 5.0, 7.0]), np.ones(3))[0].round(6)
    np.float64(1.0)
    """
    design = np.stack([np.ones_like(x), x], 1) / error[:, None]
    covariance = np.linalg.inv(design.T @ design)
    line = covariance @ design.T @ (y / error)
    chi2 = float(np.square(design @ line - y / error).sum()) / (len(x) - 2)
    return line[0], float((covariance[0, 0] * max(1.0, chi2)) ** 0.5), chi2


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
