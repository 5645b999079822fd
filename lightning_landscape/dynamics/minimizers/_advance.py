"""Numba kernel of one trial of all line searches, for the CPU. Importing this imports numba."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lightning_landscape.dynamics.minimizers._line_search import Rules
from lightning_landscape.dynamics.minimizers._two_loop import FAST, aim, dot, keep

__all__ = ["advance"]


@njit(fastmath=FAST, nogil=True, cache=True, error_model="numpy")
def advance(
    trial: tuple[NDArray, NDArray],
    values: NDArray,
    rows: tuple[NDArray, NDArray, NDArray],
    numbers: tuple[NDArray, NDArray],
    counts: tuple[NDArray, NDArray],
    exhausted: NDArray,
    search: tuple[NDArray, ...],
    pairs: tuple[NDArray, NDArray],
    rules: Rules,
    first: float,
    max_step: float,
    patience: int,
    square: float,
) -> None:
    """Do what follows an evaluation in `Descent.advance`, in place, one replica after the other.

    So all that belongs to a replica is in the cache for all that is done with it.

    Args:
        trial: where the trials ended and the gradients there, each (R, N).
        values: the values there, shape (R,).
        rows: `Descent.x`, ``g`` and ``d``, each (R, N).
        numbers: `Descent.E` and ``smallest``, each (R,).
        counts: `Descent.steps` and ``idle``, each (R,).
        exhausted: shape (R,).
        search: the fields of `LineSearch`, each (R,).
        pairs: `Memory.s` and ``y``, each (R, m, N).
        rules: of the line search.
        first: the longest step of a replica without pairs.
        max_step: the longest step.
        patience: the largest number of successive steps that lead nowhere.
        square: |x|^2 on the sphere, or 0.
    """
    new_x, new_g = trial
    x, g, d = rows
    E, smallest = numbers
    steps, idle = counts
    E0, slope0, longest, a, low, high, slope_low, trials = search
    s, y = pairs
    R, m, N = s.shape
    eps = np.finfo(x.dtype).eps
    step, change, room = np.empty(N, x.dtype), np.empty(N, x.dtype), np.empty((2, m), x.dtype)
    for r in range(R):
        slope = dot(new_g[r], d[r])
        if square > 0:  # the trial was scaled to the sphere
            length = 0.0
            for i in range(N):
                length += (x[r, i] + a[r] * d[r, i]) ** 2
            slope /= np.sqrt(length / square)
        accepted, failed = _judge(r, values[r], slope, search, rules, eps)
        if failed:
            exhausted[r] |= not s[r, m - 1].any()  # the direction was the gradient
            s[r] = 0
            y[r] = 0
        if accepted:
            norm = np.sqrt(dot(new_g[r], new_g[r]))
            useful = values[r] < E[r] - 4 * eps * abs(E[r]) or norm < smallest[r]
            idle[r] = 0 if useful else idle[r] + 1
            smallest[r] = min(smallest[r], norm)
            steps[r] += 1
            exhausted[r] |= idle[r] >= patience
            for i in range(N):
                step[i] = a[r] * d[r, i]
                change[i] = g[r, i]
                x[r, i] = new_x[r, i]
                g[r, i] = new_g[r, i]
            E[r] = values[r]
            if square > 0:
                _project(change, x[r], square)
                _project(step, x[r], square)
                for k in range(m):
                    _project(s[r, k], x[r], square)
                    _project(y[r, k], x[r], square)
            for i in range(N):
                change[i] = g[r, i] - change[i]
            keep(s[r], y[r], step, change, eps)
        if accepted or failed:
            aim(s[r], y[r], g[r], first, room, d[r])
            if square > 0:
                _project(d[r], x[r], square)
            slope = dot(d[r], g[r])
            if not slope < 0:
                s[r] = 0
                y[r] = 0
                aim(s[r], y[r], g[r], first, room, d[r])
                slope = dot(d[r], g[r])
            E0[r], slope0[r], slope_low[r] = E[r], slope, slope
            longest[r] = max_step / np.sqrt(dot(d[r], d[r]))
            a[r], low[r], high[r], trials[r] = min(1.0, longest[r]), 0, np.inf, 0


@njit(fastmath=FAST, nogil=True, cache=True)
def _project(v: NDArray, x: NDArray, square: float) -> None:
    """Remove from ``v`` its component along ``x``."""
    along = dot(v, x) / square
    for i in range(v.size):
        v[i] -= along * x[i]


@njit(fastmath=FAST, nogil=True, cache=True, error_model="numpy")
def _judge(
    r: int, E: float, slope: float, search: tuple[NDArray, ...], rules: Rules, eps: float
) -> tuple[bool, bool]:
    """Return whether a trial is accepted and whether a search has failed: `LineSearch.judge`."""
    E0, slope0, longest, a, low, high, slope_low, trials = search
    decreases = E <= E0[r] + rules.decrease * a[r] * slope0[r]
    flat = E <= E0[r] + rules.rounding * eps * abs(E0[r]) and slope <= -rules.flat * slope0[r]
    long = not ((decreases or flat) and np.isfinite(slope))  # nan and inf too
    short = not long and slope < rules.slope * slope0[r] and a[r] < longest[r]
    trials[r] += 1
    if not (long or short):
        return True, False
    before = low[r]
    if long:
        high[r] = a[r]
    else:
        low[r] = a[r]
    if np.isinf(high[r]):
        trial = min(rules.faster * a[r], longest[r])
    else:
        width = high[r] - low[r]
        trial = low[r] + width / 2
        if long and slope > 0:
            zero = before + (a[r] - before) * slope_low[r] / (slope_low[r] - slope)
            least, most = rules.margin * width, (1 - rules.margin) * width
            trial = low[r] + min(max(zero - low[r], least), most)
    if short:
        slope_low[r] = slope
    a[r] = trial
    return False, trials[r] >= rules.most
