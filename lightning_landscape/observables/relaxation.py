"""How one-time curves relax: laws of decay, plateaus, relaxation times.

Arrays are as records hold them, replica axis last. Error bars come from leaving out one replica at
a time: points along one curve share their replicas, so that errors point by point would understate
what is fitted through them. With a single replica they are nan.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from lightning_landscape.errors import require
from lightning_landscape.observables.statistics import (
    Array,
    jackknife,
    leave_one_out_error,
    leave_one_out_means,
)

__all__ = ["Decay", "Plateau", "decay", "plateau", "relaxation_time", "susceptibility"]


class Decay(NamedTuple):
    """Two laws fitted to a decay, E = a - b ln t and E = E_inf + A t^-alpha.

    ``logarithmic`` and ``power`` are their chi^2 per degree of freedom. The points of one window
    share their replicas, so only the comparison of the two is meaningful, not their distance
    from 1.
    """

    slope: float
    slope_error: float
    exponent: float
    exponent_error: float
    limit: float
    limit_error: float
    logarithmic: float
    power: float


def decay(times: ArrayLike, values: ArrayLike, window: tuple[float, float]) -> Decay:
    """Compare logarithmic with power-law decay in a window of time.

    Args:
        times: t > 0, shape (T,).
        values: E, shape (T, R).
        window: first and last t that count.

    Raises:
        UsageError: fewer than five points in the window.

    >>> t = np.geomspace(1, 1000, 40)
    >>> law = decay(t, (-1.15 + 0.3 * t ** -0.67)[:, None], (5, 1000))
    >>> round(law.exponent, 3), round(law.limit, 3), law.power < law.logarithmic
    (0.67, -1.15, True)
    """
    t, E = np.asarray(times, float), np.asarray(values, float)
    inside = (t >= window[0]) & (t <= window[1])
    required = f"holds {inside.sum()} points and needs five"
    require(inside.sum() >= 5, "window", window, required, "widen it")
    t, E = t[inside], E[inside]
    error = E.std(-1, ddof=1) / E.shape[-1] ** 0.5 if E.shape[-1] > 1 else np.ones(len(t))
    error = np.maximum(error, 1e-12 * np.abs(E).max())  # replicas that agree to the last digit

    def fits(mean: Array) -> Array:
        """Fit means of shape (..., T), all at once; shape (..., 5)."""
        _, slope, by_log = _linear(mean, error, np.log(t))
        alpha = _power(mean, error, t)
        limit, _, by_power = _linear(mean, error, t ** -alpha[..., None])
        quality = by_log / (len(t) - 2), by_power / (len(t) - 3)
        return np.stack([-slope, alpha, limit, *quality], -1)

    fitted, errors = fits(E.mean(-1)), leave_one_out_error(fits(leave_one_out_means(E).T))
    pairs = [x for pair in zip(fitted[:3], errors[:3], strict=True) for x in pair]
    return Decay(*(float(x) for x in (*pairs, *fitted[3:])))


def _linear(y: Array, error: Array, x: Array) -> tuple[Array, Array, Array]:
    """Return constant, slope and chi^2 of weighted least squares through y(x), of (..., T)."""
    weight = error.min() ** 2 / error**2
    x_mean, y_mean = ((weight * each).sum(-1) / weight.sum() for each in (x, y))
    from_x, from_y = x - x_mean[..., None], y - y_mean[..., None]
    slope = (weight * from_x * from_y).sum(-1) / (weight * from_x**2).sum(-1)
    left = (from_y - slope[..., None] * from_x) / error
    return y_mean - slope * x_mean, slope, np.square(left).sum(-1)


def _power(y: Array, error: Array, t: Array) -> Array:
    """Return the alpha of least chi^2 for each y, (..., T), by ever finer grids."""
    low, high = (np.full(y.shape[:-1], np.log(bound)) for bound in (0.01, 5))
    for points in (40, 15, 15, 15, 15, 15):  # the last spacing is 3e-6
        grid = np.linspace(low, high, points, axis=-1)
        chi_squared = _linear(y[..., None, :], error, t ** -np.exp(grid)[..., None])[2]
        k = chi_squared.argmin(-1)[..., None]
        low, high = (
            np.take_along_axis(grid, np.clip(k + step, 0, points - 1), -1)[..., 0]
            for step in (-1, 1)
        )
    return np.exp((low + high) / 2)


class Plateau(NamedTuple):
    """Where a curve is flat on logarithmic axes, and the mean of its logarithm there."""

    begin: float
    end: float
    value: float
    error: float


def plateau(
    times: ArrayLike, values: ArrayLike, steepest: float = 0.1, decades: float = 0.5
) -> Plateau | None:
    """Find the longest stretch of t in which d ln(value) / d ln(t) is small; None if there is none.

    The slope is that of a straight line through five successive points.

    Args:
        times: t > 0, shape (T,).
        values: positive, shape (T, R), as the displacement at one waiting time.
        steepest: the largest slope, in absolute value, that still counts as flat.
        decades: how long in log10 t the stretch has to be.

    >>> t = np.geomspace(0.01, 1e6, 60)
    >>> found = plateau(t, (t / (1 + t) + 1e-5 * t)[:, None])
    >>> round(found.value, 1), found.begin > 1, found.end < 1e5
    (1.0, True, True)
    """
    t, y = np.asarray(times, float), np.asarray(values, float)
    seen = np.isfinite(y).all(-1) & (y > 0).all(-1)
    x, log_y = np.log(t[seen]), np.log(y[seen].mean(-1))
    longest = (0, 0)
    begin = None
    for k in range(len(x) - 4):
        slope = np.polyfit(x[k : k + 5], log_y[k : k + 5], 1)[0]
        begin = None if abs(slope) > steepest else k if begin is None else begin
        if begin is not None and x[k + 4] - x[begin] > x[longest[1]] - x[longest[0]]:
            longest = (begin, k + 4)
    first, last = longest
    if len(x) == 0 or x[last] - x[first] < decades * np.log(10):
        return None

    def level(some: Array) -> Array:
        return np.exp(np.log(some.mean(-1)).mean())

    value, error = jackknife(level, y[seen][first : last + 1])
    return Plateau(*(float(v) for v in (np.exp(x[first]), np.exp(x[last]), value, error)))


def relaxation_time(
    times: ArrayLike, correlation: ArrayLike, level: float = np.exp(-1)
) -> tuple[float, float]:
    """Return the time at which the mean correlation first falls to ``level``, and its error.

    It is interpolated in log t; nan where the level is not reached.

    Args:
        times: t > 0, shape (T,).
        correlation: C(t), shape (T, R).
        level: 1/e by convention.

    >>> t = np.geomspace(0.01, 100, 60)
    >>> tau, error = relaxation_time(t, np.exp(-t / 3.0)[:, None])
    >>> round(tau, 3)
    3.0
    """
    x, C = np.log(np.asarray(times, float)), np.asarray(correlation, float)
    seen = np.isfinite(C).all(-1)
    x, C = x[seen], C[seen]

    def tau(some: Array) -> Array:
        mean = some.mean(-1) - level
        below = np.flatnonzero(mean <= 0)
        if len(below) == 0 or below[0] == 0:
            return np.array(np.nan)
        curve = PchipInterpolator(x, mean)
        return np.array(np.exp(brentq(curve, x[below[0] - 1], x[below[0]])))

    value, error = jackknife(tau, C)
    return float(value), float(error)


def susceptibility(correlation: ArrayLike, N: int) -> tuple[Array, Array]:
    """Return chi_4(t) = N Var[C(t)] over replicas and its standard error, each (T,).

    The dynamical susceptibility: its peak in t is at the relaxation time, and the height of the
    peak counts the spins that move together. Replicas have to differ in their disorder too.

    Args:
        correlation: C(t), shape (T, R), R > 2.
        N: degrees of freedom of a replica.

    Source: Franz, Parisi 2000, J. Phys. Condens. Matter 12, 6335.
    """
    C = np.asarray(correlation, float)
    R = C.shape[-1]
    require(R > 2, "replicas", R, "a variance over replicas with an error bar needs three")
    chi, error = jackknife(lambda some: N * some.var(-1, ddof=1), C)
    return np.asarray(chi, float), np.asarray(error, float)
