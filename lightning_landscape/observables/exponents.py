"""Exponents of power laws by maximum likelihood, on a stated window."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.errors import require
from lightning_landscape.observables.statistics import jackknife

__all__ = ["PowerLaw", "fit_power_law", "fit_size_law"]

Array = NDArray[np.float64]

_FEWEST = 10  # with fewer samples an exponent has no meaningful error bar
_DRAWS = 200
# the law of sqrt(n) times the distance no longer depends on n from here on
_DRAWN = 1000


@dataclass(frozen=True)
class PowerLaw:
    """A law p(x) proportional to x^s on a window, fitted to samples.

    Attributes:
        exponent: s; nan where fewer than 10 samples lie in the window.
        error: the standard error of s from the likelihood, for independent samples.
        replica_error: its standard error from leaving out one replica at a time (jackknife), which
            holds where the samples of one replica depend on each other; nan for one replica.
        p_value: of the Kolmogorov-Smirnov distance: the fraction of samples drawn from the fitted
            law that are farther from their own fit. Below 0.05 no power law describes the window.
        count: how many samples lie in the window.
        low: the lower end of the window.
        high: the upper end of the window.
    """

    exponent: float
    error: float
    replica_error: float
    p_value: float
    count: int
    low: float
    high: float

    @property
    def error_bar(self) -> float:
        """The larger of the two standard errors, or the one that there is."""
        return float(np.fmax(self.error, self.replica_error))


@checked
def fit_power_law(samples: ArrayLike | Tensor, low: float, high: float, seed: int = 0) -> PowerLaw:
    r"""Fit p(x) = (s + 1) x^s / (high^(s+1) - low^(s+1)) to what lies in [low, high].

    The likelihood is highest where the mean of ln x is that of the law, and the standard error is
    1 / sqrt(n Var ln x): the bound of Cramer and Rao. No bins are involved. The exponent theta of
    P(Delta) ~ Delta^theta is s, and gamma of P(Delta) ~ |Delta|^-gamma is -s.

    Args:
        samples: shape (n,), or (R, n) with the replicas along the first axis; values outside
            the window, and nan, do not count.
        low: lower end of the window, > 0.
        high: upper end of the window.
        seed: of the synthetic samples for the p-value.

    Cost: the p-value draws 200 times at most 1000 samples, some 30 ms.

    Raises:
        UsageError: the window is empty or reaches 0.

    Source: Aban, Meerschaert, Panorska 2006, JASA 101, 270 (the truncated law); Clauset, Shalizi,
    Newman 2009, arXiv:0706.1062 (the p-value).

    >>> u = (np.arange(1000) + 0.5) / 1000  # evenly spread over the law with s = 0.3 on [0.01, 1]
    >>> x = (0.01**1.3 + u * (1 - 0.01**1.3)) ** (1 / 1.3)
    >>> fit = fit_power_law(x, 0.01, 1)
    >>> round(fit.exponent, 3), round(fit.error, 3)
    (0.3, 0.043)
    """
    require(0 < low < high < math.inf, "low, high", (low, high), "must be 0 < low < high")
    x = np.asarray(samples, dtype=float)
    return _fit(_Interval(low, high), x, seed)


@checked
def fit_size_law(sizes: ArrayLike, low: int, high: int, seed: int = 0) -> PowerLaw:
    """Fit p(x) = x^s / sum_k k^s to the whole numbers from ``low`` to ``high``.

    For sizes of avalanches, p ~ size^-tau: tau is -s. The same estimate as `fit_power_law`, with
    sums instead of integrals: small sizes are not approximated by a continuum.

    Args:
        sizes: shape (n,), or (R, n) with the replicas along the first axis; others do not count.
        low: the smallest size, >= 1.
        high: the largest size.
        seed: of the synthetic samples for the p-value.

    Cost: that of `fit_power_law`, and high - low operations some hundred times.

    Raises:
        UsageError: the window is empty or begins below 1.

    >>> sizes = np.repeat([1, 2, 3, 4], [144, 36, 16, 9])  # 144 / size^2
    >>> round(fit_size_law(sizes, 1, 4).exponent, 6)
    -2.0
    """
    require(1 <= low < high, "low, high", (low, high), "must be 1 <= low < high")
    x = np.asarray(sizes, dtype=float)
    return _fit(_Integers(low, high), x, seed)


class _Law(Protocol):
    """A law of x on a window; t = ln x, and x^s = e^(s t) is its density up to a factor."""

    low: float
    high: float

    def moments(self, s: float) -> tuple[float, float]:
        """Return the mean and the variance of t."""
        ...

    def below(self, t: Array, s: float) -> tuple[Array, Array]:
        """Return the probabilities of less than t, and of at most t."""
        ...

    def draw(self, u: Array, s: float) -> Array:
        """Return the t at which the distribution function reaches u."""
        ...


class _Interval:
    """x real: t is a truncated exponential variable, of rate u on [0, 1] after scaling."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self._start, self._length = math.log(low), math.log(high / low)

    def moments(self, s: float) -> tuple[float, float]:
        u = (s + 1) * self._length
        if abs(u) < 0.01:  # where the closed forms cancel
            mean, variance = 1 / 2 + u / 12 - u**3 / 720, 1 / 12 - u**2 / 240 + u**4 / 6048
        else:
            v = abs(u)
            mean = 1 / -math.expm1(-v) - 1 / v
            variance = 1 / v**2 - math.exp(-v) / math.expm1(-v) ** 2
            mean = mean if u > 0 else 1 - mean
        return self._start + mean * self._length, variance * self._length**2

    def below(self, t: Array, s: float) -> tuple[Array, Array]:
        u, z = (s + 1) * self._length, (t - self._start) / self._length
        F = _falling(z, u) if u <= 0 else 1 - _falling(1 - z, -u)
        return F, F

    def draw(self, u: Array, s: float) -> Array:
        rate = (s + 1) * self._length
        z = _falling_quantile(u, rate) if rate <= 0 else 1 - _falling_quantile(1 - u, -rate)
        return self._start + z * self._length


def _falling(z: Array, u: float) -> Array:
    """Return the distribution function of the density e^(u z) on [0, 1], u <= 0."""
    return z if u > -1e-9 else np.expm1(u * z) / math.expm1(u)


def _falling_quantile(F: Array, u: float) -> Array:
    return F if u > -1e-9 else np.log1p(F * math.expm1(u)) / u


class _Integers:
    """x a whole number."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = float(low), float(high)
        self._t = np.log(np.arange(low, high + 1))

    def moments(self, s: float) -> tuple[float, float]:
        p = self._weights(s)
        mean = float(p @ self._t)
        return mean, float(p @ (self._t - mean) ** 2)

    def below(self, t: Array, s: float) -> tuple[Array, Array]:
        p, k = self._weights(s), np.searchsorted(self._t, t)
        F = np.cumsum(p)[k]
        return F - p[k], F

    def draw(self, u: Array, s: float) -> Array:
        cumulated = np.cumsum(self._weights(s))
        return self._t[np.searchsorted(cumulated[:-1], u)]

    def _weights(self, s: float) -> Array:
        p = np.exp(s * self._t - max(s * self._t[0], s * self._t[-1]))
        return p / p.sum()


def _fit(law: _Law, x: Array, seed: int) -> PowerLaw:
    x = np.atleast_2d(x)
    inside = (x >= law.low) & (x <= law.high)
    t = np.log(np.where(inside, x, 1.0))
    of_replicas = np.stack([inside.sum(1), t.sum(1)])  # all that the likelihood depends on

    def exponent(sums: Array) -> Array:
        n, total = sums.sum(-1)
        return np.array(_solve(law, total / n) if n >= _FEWEST else np.nan)

    estimate, replica_error = (float(value) for value in jackknife(exponent, of_replicas))
    n, error, p_value = int(inside.sum()), math.nan, math.nan
    if math.isfinite(estimate):
        error = 1 / math.sqrt(n * law.moments(estimate)[1])
        p_value = _p_value(law, np.sort(t[inside]), estimate, seed)
    return PowerLaw(estimate, error, replica_error, p_value, n, law.low, law.high)


def _solve(law: _Law, mean: float) -> float:
    """Return the s at which the law has this mean of t; nan where only an infinite s has."""
    from scipy.optimize import brentq

    reach = 8.0
    while reach < 1e4 and not law.moments(-reach)[0] < mean < law.moments(reach)[0]:
        reach *= 4
    if not law.moments(-reach)[0] < mean < law.moments(reach)[0]:
        return math.nan
    root: Callable[..., float] = brentq
    return root(lambda s: law.moments(s)[0] - mean, -reach, reach, xtol=1e-10)


def _p_value(law: _Law, t: Array, s: float, seed: int) -> float:
    """Compare sqrt(n) times the distance with that of samples of the law, each fitted again."""
    measured = math.sqrt(len(t)) * _distance(law, t, s)
    n, rng = min(len(t), _DRAWN), np.random.default_rng(seed)
    farther = 0
    for drawn in np.sort(law.draw(rng.random((_DRAWS, n)), s)):
        fitted = _solve(law, drawn.mean())
        farther += not math.sqrt(n) * _distance(law, drawn, fitted) < measured
    return (1 + farther) / (1 + _DRAWS)


def _distance(law: _Law, t: Array, s: float) -> float:
    """Return the largest difference of the distribution functions of sorted samples and law."""
    less, at_most = law.below(t, s)
    less_measured = np.searchsorted(t, t, side="left") / len(t)  # ties step together
    at_most_measured = np.searchsorted(t, t, side="right") / len(t)
    return float(max(np.abs(less - less_measured).max(), np.abs(at_most - at_most_measured).max()))
