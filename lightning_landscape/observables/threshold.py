"""The threshold where a probability passes one half, from yes-or-no trials one after another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_landscape.errors import require

__all__ = ["Threshold", "slope"]

Array = NDArray[np.float64]

_POINTS = 240  # of the grid of places
_SPREADS = np.geomspace(0.01, 0.6, 12)
# Occasionally a trial fails for another reason, which must not move the threshold far.
_LAPSE = 0.02


class Estimate(NamedTuple):
    """The posterior of log x*: its mean, its standard deviation, and the mean of the width s."""

    log_place: float
    error: float
    spread: float


class Threshold:
    r"""The threshold x* of a response that turns from no to yes over a width s in log x.

        P(yes | x) = 0.01 + 0.98 \Phi((log x - log x*) / s)

    The posterior of (log x*, s) is kept on a grid, with priors flat in log x* over the range and
    flat in log s over 0.01 … 0.6: so estimate and error bar exist from the first trial on, even if
    all trials agree. Trials have to be independent.

    A single trial at the threshold is worth 2/pi of a direct measurement of one sample's threshold
    (the Fisher information of a probit at its middle): no method that needs several trials
    per sample does as well. `next_place` finds that middle.

    Cost: milliseconds per round.

    Args:
        low: the lower end of the range of x.
        high: the upper end.

    Raises:
        UsageError: not 0 < low < high.

    Source: Kontsevich, Tyler 1999, Vision Research 39, 2729, for the choice of the next trial;
    here the variance of log x* takes the place of the entropy.

    >>> threshold = Threshold(1.0, 10.0)
    >>> for x, yes in ((2.0, 0), (2.5, 1), (3.5, 3), (4.0, 4)):
    ...     threshold.add(x, yes, trials=4)
    >>> bool(2.5 < np.exp(threshold.estimate().log_place) < 3.5)
    True
    """

    def __init__(self, low: float, high: float) -> None:
        require(0 < low < high, "range", (low, high), "must satisfy 0 < low < high")
        self._places = np.linspace(np.log(low), np.log(high), _POINTS)
        self._log_posterior = np.zeros((_POINTS, len(_SPREADS)))

    def add(self, x: float, yes: int, trials: int) -> None:
        """Add ``yes`` of ``trials`` independent trials at x."""
        p = self._probability(np.log(x))
        self._log_posterior += yes * np.log(p) + (trials - yes) * np.log1p(-p)

    def estimate(self) -> Estimate:
        """Return mean and standard deviation of log x*, and the mean width."""
        weight = self._posterior()
        mean, variance = self._moments(weight.sum(1))
        return Estimate(mean.item(), variance.item() ** 0.5, (weight.sum(0) @ _SPREADS).item())

    def next_place(self, trials: int) -> float:
        """Return the x at which ``trials`` more leave the smallest variance of log x* expected."""
        mean, error, spread = self.estimate()
        reach = error + spread
        inside = np.clip(np.linspace(mean - reach, mean + reach, 15), *self._places[[0, -1]])
        expected = [self._expected_variance(x, trials) for x in inside]
        return float(np.exp(inside[int(np.argmin(expected))]))

    def _expected_variance(self, log_x: float, trials: int) -> float:
        from scipy.special import binom

        weight, p = self._posterior(), self._probability(log_x)
        yes = np.arange(trials + 1)[:, None, None]
        log_chance = yes * np.log(p) + (trials - yes) * np.log1p(-p)
        outcome = binom(trials, yes) * np.exp(log_chance)  # (outcomes, places, spreads)
        joint = np.einsum("kps,ps->kp", outcome, weight)
        chance = joint.sum(1)
        possible = chance > 1e-12
        _, variance = self._moments(joint[possible] / chance[possible, None])
        return float(chance[possible] @ variance)

    def _probability(self, log_x: float) -> Array:
        from scipy.special import ndtr

        z = (log_x - self._places[:, None]) / _SPREADS
        return _LAPSE / 2 + (1 - _LAPSE) * ndtr(z)

    def _posterior(self) -> Array:
        weight = np.exp(self._log_posterior - self._log_posterior.max())
        return weight / weight.sum()

    def _moments(self, weight: Array) -> tuple[Array, Array]:
        """Return mean and variance of log x* under weights, shape (…, places)."""
        mean = weight @ self._places
        return mean, weight @ self._places**2 - mean**2


def slope(x: ArrayLike, y: ArrayLike, error: ArrayLike) -> tuple[float, float]:
    """Return the slope of the straight line through y(x), and its standard error.

    Args:
        x: at least two different places.
        y: measured there.
        error: the standard errors of y, independent of each other.

    >>> slope([0, 1, 2], [1.0, 3.0, 5.0], [0.1, 0.1, 0.1])
    (2.0, 0.07071067811865475)
    """
    x, y, weight = np.asarray(x, float), np.asarray(y, float), np.asarray(error, float) ** -2.0
    distance = x - weight @ x / weight.sum()
    norm = weight @ distance**2
    return float(weight @ (distance * y) / norm), float(norm**-0.5)
