"""The exact dynamics of spherical glasses, N to infinity: the Cugliandolo-Kurchan equations.

For t > t', with the covariance f of `Mixture`, beta_0 = 1/T_0 (0 for a random start) and
R(t+, t) = C(t, t) = 1,

    dC(t,t')/dt = -mu(t) C(t,t') + int_0^t f''(C(t,s)) R(t,s) C(s,t') ds
                  + int_0^t' f'(C(t,s)) R(t',s) ds + beta_0 f'(C(t,0)) C(t',0)
    dR(t,t')/dt = -mu(t) R(t,t') + int_t'^t f''(C(t,s)) R(t,s) R(s,t') ds
    mu(t)       = T + int_0^t [f''(C) C + f'(C)] R ds + beta_0 f'(C(t,0)) C(t,0)
    E(t)        = -int_0^t f'(C) R ds - beta_0 f(C(t,0))

Sources: Cugliandolo and Kurchan, cond-mat/9303036; Barrat, Burioni and Mezard, cond-mat/9509142
(equilibrium start). The integration in log(t) at fixed t'/t is our own; storing two-time
functions at fixed ratios is due to Lang, Sachdev and Diehl, 2504.06849.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from lightning_landscape.errors import require
from lightning_landscape.theory.glasses.log_time import Slices, integrate
from lightning_landscape.theory.glasses.memory import POINTS, gather
from lightning_landscape.theory.glasses.quench import Quench
from lightning_landscape.theory.glasses.ratio_grid import Array, Integers, lagrange

__all__ = ["Solution", "solve"]

_LONGEST = 4e6  # in microscopic times
_LEVELS = [(0.3 * 1.5**-k, 1 / 6 * 1.5**-k) for k in range(6)]  # spacing of ratios, step of log(t)


def solve(
    mixture: Mapping[int, float],
    temperature: float,
    t_max: float,
    start_temperature: float = math.inf,
    tolerance: float = 1e-4,
) -> Solution:
    """Solve the Cugliandolo-Kurchan equations after a quench at t = 0.

    Args:
        mixture: {p: a_p}; {3: 0.5} is the pure 3-spin.
        temperature: T >= 0, constant from t = 0 on.
        t_max: the last time.
        start_temperature: T_0 of the equilibrium (planted) start, at least T_K; infinity for a
            random start.
        tolerance: of C, and of E in units of sqrt(2 f(1)), at all times.

    Returns:
        The finer of the first two resolutions whose errors are within ``tolerance``. The error
        estimate is a quarter of their difference: at fourth order, a step 1.5 times smaller
        reduces the error to a fifth.

    Raises:
        UsageError: an argument is outside its range.
        ArithmeticError: the tolerance cannot be met.

    Cost: 0.1 s to t = 40 and 5 s to t = 10^5 for 1e-4, plus 2 s of compilation, once; 10 to 100 MB.

    >>> solution = solve({3: 0.5}, temperature=0.0, t_max=10.0)
    >>> round(float(solution.energy(10.0)), 4), solution.error < 1e-4
    (-1.0816, True)
    """
    require(0 < t_max < math.inf, "t_max", t_max, "must be positive")
    require(tolerance >= 1e-7, "tolerance", tolerance, "must be at least 1e-7")
    quench, coarse = Quench.of(mixture, temperature, start_temperature), None
    longest = _LONGEST / quench.rate
    require(t_max <= longest, "t_max", t_max, f"must be at most {longest:.3g} (rounding)")
    for spacing, step in _LEVELS:
        try:
            slices = integrate(quench, t_max, spacing, step)
        except ArithmeticError:  # too coarse for this t_max
            continue
        fine = Solution(quench, slices)
        if coarse is not None:
            fine.error = _difference(coarse, fine) / 4
            if fine.error <= tolerance:
                return fine
        coarse = fine
    raise ArithmeticError(
        f"tolerance = {tolerance} at t_max = {t_max:g} cannot be reached; raise it or lower t_max"
    )


class Solution:
    """C, R, mu, E and the integrated response as functions of time; all methods broadcast.

    Attributes:
        error: the estimated error of C, and of E in units of sqrt(2 f(1)).
        t_max: the last time.
    """

    def __init__(self, quench: Quench, slices: Slices) -> None:
        self.error, self.t_max = math.nan, float(slices.times[-1])
        self._quench, self._slices = quench, slices
        rows = slices.C, slices.times[:, None] * slices.R, slices.grid.weights
        self._energy, self._multiplier = quench.energy(*rows), quench.multiplier(*rows)
        self._integrated = rows[1] @ slices.grid.integral.T

    def energy(self, t: ArrayLike) -> Array:
        """Return E(t), the energy per spin."""
        return self._one_time(self._energy, t)

    def multiplier(self, t: ArrayLike) -> Array:
        """Return mu(t); T - p E(t) for a pure model."""
        return self._one_time(self._multiplier, t)

    def correlation(self, t: ArrayLike, tw: ArrayLike) -> Array:
        """Return C(t, tw), symmetric in its arguments."""
        t, tw = np.broadcast_arrays(t, tw)
        return self._two_time(self._slices.C, np.maximum(t, tw), np.minimum(t, tw))

    def response(self, t: ArrayLike, tw: ArrayLike) -> Array:
        """Return R(t, tw) = d<s(t)>/dh(tw), 1 at t = tw (from above) and 0 at t < tw."""
        return self._causal(self._slices.R, t, tw)

    def integrated_response(self, t: ArrayLike, tw: ArrayLike) -> Array:
        """Return the integral of R(t, s) over s from tw to t; 0 at t < tw."""
        return self._causal(self._integrated, t, tw)

    def effective_temperature(self, t: ArrayLike, tw: ArrayLike) -> Array:
        """Return (dC(t, tw)/dtw) / R(t, tw) at t >= tw: T in equilibrium, T/X in aging."""
        slope = self._slices.C @ self._slices.grid.derivative.T
        slope[1:] /= self._slices.times[1:, None]
        slope[0] = self._quench.temperature
        return self._causal(slope, t, tw) / self.response(t, tw)

    def _causal(self, values: Array, t: ArrayLike, tw: ArrayLike) -> Array:
        t, tw = np.broadcast_arrays(t, tw)
        after = np.asarray(tw <= t)
        return np.where(after, self._two_time(values, t, np.where(after, tw, t)), 0.0)[()]

    def _time_stencil(self, t: Array) -> tuple[Integers, Array]:
        inside = bool(np.all((t >= 0) & (t <= self.t_max * (1 + 1e-9))))
        require(inside, "t", t, f"must be in [0, t_max = {self.t_max:g}]")
        first = self._slices.times[1]
        position = 1 + np.log(np.maximum(t, first) / first) / self._slices.step
        base = np.clip(np.floor(position) - (POINTS // 2 - 1), 1, len(self._energy) - POINTS)
        return base.astype(np.int64), lagrange(position - base, np.arange(POINTS, dtype=float))

    def _from_zero(self, value: Array, zero: float, t: Array) -> Array:
        """Replace values before the first slice, where all functions are linear in time."""
        return value + (zero - value) * np.maximum(0.0, 1 - t / self._slices.times[1])

    def _one_time(self, values: Array, t: ArrayLike) -> Array:
        t = np.asarray(t, dtype=float)
        base, weights = self._time_stencil(t)
        inside = (values[base[..., None] + np.arange(POINTS)] * weights).sum(-1)
        return self._from_zero(inside, values[0], t)

    def _two_time(self, values: Array, t: Array, tw: Array) -> Array:
        late, early = (np.asarray(x, dtype=float).reshape(1, -1) for x in (t, tw))
        require(bool(np.all(early >= 0)), "tw", tw, "must be at least 0")
        safe = np.where(late > 0, late, 1.0)
        nodes = self._slices.grid.stencil(early / safe, (safe - early) / safe)
        inside = gather(values, 0, *self._time_stencil(late), *nodes)
        return self._from_zero(inside, values[0, 0], late).reshape(np.shape(t))[()]


def _difference(coarse: Solution, fine: Solution) -> float:
    """Return the largest difference of two solutions on the nodes of the first."""
    slices, f = coarse._slices, coarse._quench.f
    t = slices.times
    C = fine.correlation(t[:, None], t[:, None] * slices.grid.theta)
    E = (fine.energy(t) - coarse._energy) / math.sqrt(2 * f(1.0))
    return float(max(np.abs(C - slices.C).max(), np.abs(E).max()))
