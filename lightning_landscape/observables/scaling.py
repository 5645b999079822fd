"""Collapse of two-time curves on t / tw^mu.

Arrays are as records hold them, replica axis last. Error bars come from leaving out one replica at
a time, of more than 32 one of 32 groups: points along one curve share their replicas, so that
errors point by point would understate what is fitted through them. With a single replica they are
nan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import minimize_scalar

from lightning_landscape.errors import require
from lightning_landscape.observables.statistics import Array, jackknife

__all__ = ["Collapse", "aging_onset", "collapse", "collapse_exponent"]

Integers = NDArray[np.int64]

_EXPONENTS = (-0.5, 2.0)
_OVERLAP = 0.5  # of all points must lie in the range of another curve, or shifts would be free
_MOST_GROUPS = 32


class Collapse(NamedTuple):
    """The exponent mu of t / tw^mu, its standard error, and how well the curves collapse.

    ``quality`` is the mean squared distance of a point from the other curves in units of the
    variance of that distance: about 1 where they are one curve, far above it where no exponent
    makes them one.
    """

    exponent: float
    error: float
    quality: float


def collapse(waiting_times: ArrayLike, times: ArrayLike, values: ArrayLike) -> Collapse:
    """Find mu for which values(tw, t) is a function of t / tw^mu alone.

    The objective is that of Houdayer and Hartmann: every point is compared with the curves of
    the other waiting times, interpolated in log t and log value, and the squared distance is
    divided by the variance over replicas of both. mu = 1 is full aging, mu < 1 sub-aging, and
    mu = 0 none.

    Args:
        waiting_times: tw > 0, shape (W,), at least 2.
        times: t > 0, shape (T,).
        values: positive, shape (W, T, R), as the displacement; nan where not measured.

    Raises:
        UsageError: fewer than two waiting times with at least four points.

    Source: Houdayer, Hartmann 2004, PRB 70, 014418, appendix; mu as in Herrera Segura et al.,
    arXiv:2209.02517.

    >>> tw, t = np.array([10.0, 100.0, 1000.0]), np.geomspace(1, 1000, 16)
    >>> MSD = np.log1p(t / tw[:, None] ** 0.7)[:, :, None]
    >>> round(collapse(tw, t, MSD).exponent, 2)
    0.7
    """
    tw, x, curves = _known(waiting_times, times, values)
    best = _best_exponent(_Curves(tw, x, curves), *_EXPONENTS)
    near = (best.exponent - 0.3, best.exponent + 0.3)

    def exponent(some: Array) -> Array:
        return np.array(_best_exponent(_Curves(tw, x, some), *near).exponent)

    return best._replace(error=float(jackknife(exponent, _means_of_groups(curves))[1]))


def collapse_exponent(waiting_times: ArrayLike, times: ArrayLike, values: ArrayLike) -> float:
    """Return the exponent of `collapse` without its error, which is most of its cost.

    >>> tw, t = np.array([10.0, 100.0, 1000.0]), np.geomspace(1, 1000, 16)
    >>> round(collapse_exponent(tw, t, np.log1p(t / tw[:, None] ** 0.4)[:, :, None]), 2)
    0.4
    """
    return _best_exponent(_Curves(*_known(waiting_times, times, values)), *_EXPONENTS).exponent


def _known(
    waiting_times: ArrayLike, times: ArrayLike, values: ArrayLike
) -> tuple[Array, Array, Array]:
    """Return ln tw, ln t and the curves of the waiting times with at least four points."""
    tw, x = np.log(np.asarray(waiting_times, float)), np.log(np.asarray(times, float))
    curves = np.asarray(values, float)
    curves = np.where(curves > 0, curves, np.nan)  # what has stopped has no logarithm
    enough = np.isfinite(curves).all(-1).sum(1) >= 4
    required = "needs at least two with four points each"
    require(enough.sum() >= 2, "waiting_times", list(np.exp(tw)), required)
    return tw[enough], x, curves[enough]


def _means_of_groups(curves: Array) -> Array:
    """Return the means of at most 32 groups of replicas, so that the cost does not grow with R."""
    R = curves.shape[-1]
    if R <= _MOST_GROUPS:
        return curves
    return np.stack([g.mean(-1) for g in np.array_split(curves, _MOST_GROUPS, -1)], -1)


class _Curves:
    """ln value as functions of ln t, one per waiting time; and their points, one after another."""

    def __init__(self, tw: Array, x: Array, values: Array) -> None:
        points = [_logarithm(x, curve) for curve in values]
        cubics = [PchipInterpolator(x, np.stack([y, v], -1)).c for x, y, v in points]
        self.tw = tw
        self.first = np.cumsum([0, *(len(x) for x, *_ in points)])  # and the end of the last
        # a row per point: the monotone cubics of the interval that begins there
        self.cubics = np.concatenate([np.pad(c, [(0, 0), (0, 1), (0, 0)]) for c in cubics], axis=1)
        self.x, self.y, self.variance = map(np.concatenate, zip(*points, strict=True))

    def quality(self, mu: float) -> float:
        return float(_quality(mu, self.tw, self.first, self.x, self.y, self.variance, self.cubics))


@numba.njit(cache=True)
def _quality(
    mu: float, tw: Array, first: Integers, x: Array, y: Array, variance: Array, cubics: Array
) -> float:
    met, total = 0, 0.0
    for i in range(len(tw)):
        for k in range(first[i], first[i + 1]):
            weights, weighted = 0.0, 0.0
            for j in range(len(tw)):
                at = x[k] + mu * (tw[j] - tw[i])
                low, high = first[j], first[j + 1] - 1
                if j == i or at < x[low] or at > x[high]:
                    continue
                interval = low + min(np.searchsorted(x[low:high], at, "right"), high - low) - 1
                d = at - x[interval]
                a, b, c, e = cubics[:, interval]
                other = ((a * d + b) * d + c) * d + e
                weights += 1 / other[1]
                weighted += other[0] / other[1]
            if weights > 0:
                met += 1
                total += (y[k] - weighted / weights) ** 2 / (variance[k] + 1 / weights)
    return total / met if met and met >= _OVERLAP * len(x) else np.inf


def _logarithm(x: Array, curve: Array) -> tuple[Array, Array, Array]:
    """Return where a curve is known, ln of its mean there, and the variance of that."""
    seen, R = np.isfinite(curve).all(-1), curve.shape[-1]
    mean = curve[seen].mean(-1)
    variance = curve[seen].var(-1, ddof=1) / R if R > 1 else mean**2
    return x[seen], np.log(mean), variance / mean**2


def _best_exponent(curves: _Curves, lowest: float, highest: float) -> Collapse:
    grid = np.linspace(lowest, highest, 26)
    qualities = [curves.quality(mu) for mu in grid]
    k = int(np.argmin(qualities))
    around = grid[max(k - 1, 0)], grid[min(k + 1, len(grid) - 1)]
    found = minimize_scalar(curves.quality, bounds=around, method="bounded")
    better = found.fun < qualities[k]
    exponent, quality = (found.x, found.fun) if better else (grid[k], qualities[k])
    return Collapse(float(exponent), np.nan, float(quality))


def aging_onset(
    temperatures: ArrayLike, collapses: Sequence[Collapse]
) -> tuple[float, float] | None:
    """Return the highest temperature that ages and the next one; aging sets in between them.

    A temperature ages where mu is above 0 by more than four standard errors. None where no
    temperature ages, or the highest one does.

    Args:
        temperatures: in increasing order; or any other noise strength.
        collapses: one per temperature.

    >>> aging_onset([0.1, 0.2, 0.3], [Collapse(mu, 0.02, 1.0) for mu in (0.6, 0.2, 0.01)])
    (0.2, 0.3)
    """
    T = np.asarray(temperatures, float)
    ages = np.flatnonzero([c.exponent > 4 * c.error for c in collapses])
    if len(ages) == 0 or ages[-1] == len(T) - 1:
        return None
    return float(T[ages[-1]]), float(T[ages[-1] + 1])
