"""Equilibrium dynamics of a spherical glass: the mode-coupling equation for C(t)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline

from lightning_landscape.errors import require
from lightning_landscape.theory.glasses.mixture import Array, Mixture
from lightning_landscape.theory.glasses.pspin import static_transition

__all__ = ["equilibrium_correlation"]

_STEP = 0.05  # of the coarsest of three grids, in units of 1/sqrt(C''(0))


def equilibrium_correlation(
    mixture: Mapping[int, float], temperature: float, times: ArrayLike
) -> Array:
    """Return C(t) = C(t' + t, t') in equilibrium at T >= T_K.

    dC/dt = -T C - (1/T) int_0^t f'(C(t - s)) C'(s) ds with C(0) = 1. The response is
    R(t) = -C'(t)/T. For T_K <= T < T_d the correlation does not decay below a plateau.

    Args:
        mixture: {p: a_p}.
        temperature: T.
        times: t >= 0, any shape.

    Returns:
        C at ``times``, same shape, to about 1e-6.

    Cost: O(n) per step, n^2/2 in total, with n = 100 to 200 times the last time: 1 s to t = 100.

    Raises:
        UsageError: T < T_K, or a negative time.

    Source: Kirkpatrick and Thirumalai, Phys. Rev. B 36, 5388 (1987).

    >>> equilibrium_correlation({3: 0.5}, 0.8, [0.0, 1.0, 5.0]).round(5)
    array([1.     , 0.65377, 0.36908])
    """
    f, times = Mixture(mixture), np.asarray(times, dtype=float)
    lowest = static_transition(f).temperature
    require(temperature >= lowest, "temperature", temperature, f"must be at least {lowest:.6g}")
    require(bool(np.all(times >= 0)), "times", times, "must not be negative")
    t_max = max(float(times.max()), _STEP)
    curvature = temperature**2 + float(f(1.0, 1))
    steps = max(8, int(np.ceil(t_max * curvature**0.5 / _STEP)))
    one, two, four = (_trapezoidal(f, temperature, t_max, steps * m)[::m] for m in (1, 2, 4))
    # the error is a series in even powers of the step
    limit = (64 * four - 20 * two + one) / 45
    return CubicSpline(np.linspace(0, t_max, steps + 1), limit)(times)


def _trapezoidal(f: Mixture, temperature: float, t_max: float, steps: int) -> Array:
    """Return C at ``steps`` + 1 equidistant times by the implicit trapezoidal rule."""
    T, h = temperature, t_max / steps
    C, slope, kernel = np.ones(steps + 1), np.full(steps + 1, -T), np.empty(steps + 1)
    kernel[0] = f(1.0, 1) / T
    for i in range(1, steps + 1):
        past = kernel[i - 1 : 0 : -1] @ slope[1:i]
        C[i], guess = C[i - 1] + h * slope[i - 1], np.inf
        while abs(C[i] - guess) > 1e-14:
            guess, kernel[i] = C[i], f(C[i], 1) / T
            memory = h * (past + kernel[i] * slope[0] / 2)
            slope[i] = -(T * guess + memory) / (1 + h * kernel[0] / 2)
            C[i] = C[i - 1] + h / 2 * (slope[i - 1] + slope[i])
    return C
