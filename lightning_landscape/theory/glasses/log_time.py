"""Integration of the Cugliandolo-Kurchan equations in the logarithm of time.

At fixed theta = t'/t all functions vary on the scale of log(t), even where C and R at fixed t' vary
on microscopic times. With lambda = log(t),

    dC/dlambda - theta dC/dtheta = t (memory - mu C),

and likewise for R. This is an advection from the diagonal theta = 1; it is solved implicitly, to
fourth order in lambda and spectrally in theta, with one Newton iteration for a whole slice,
including mu. Every decade of time costs the same number of slices, whereas on a uniform grid it
costs ten times as many steps as the decade before. The aging state is marginal: an error delta of
the memory acts as t delta, so that late times need finer ratios.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lightning_landscape.theory.glasses.memory import POINTS, Memory
from lightning_landscape.theory.glasses.quench import Quench
from lightning_landscape.theory.glasses.ratio_grid import Array, RatioGrid

__all__ = ["Slices", "integrate"]

_BACKWARD = np.array([25 / 12, -4, 3, -4 / 3, 1 / 4])  # derivative at the last of five points
_FORWARD = np.array([5, -10, 10, -5, 1])  # extrapolation from five points to the next


@dataclass(frozen=True)
class Slices:
    """C and R on slices: row n holds them at (t_n, theta_j t_n).

    Attributes:
        grid: the ratios theta, L nodes.
        step: the difference of log(t) between slices.
        times: t_n, shape (N,); 0 first, then geometric.
        C: the correlation, shape (N, L).
        R: the response, shape (N, L).
    """

    grid: RatioGrid
    step: float
    times: Array
    C: Array
    R: Array


def integrate(quench: Quench, t_max: float, spacing: float, step: float) -> Slices:
    """Integrate to ``t_max``; ``spacing`` (of the ratios' nodes) and ``step`` set the accuracy.

    Cost: O(L^3) per slice, for log(t_max)/step slices of L = O(log(t_max)/spacing) nodes.

    Raises:
        ArithmeticError: the ratios are too coarse for this t_max.
    """
    first = min(5e-3 / quench.rate, t_max)  # short_times has a relative error of 1e-7 there
    steps = math.ceil(math.log(t_max / first) / step)
    step = math.log(t_max / first) / steps if steps else step
    grid = RatioGrid(0.3 / (quench.rate * t_max), spacing)
    known = math.ceil(-math.log(grid.theta[1]) / step) + POINTS + 2
    exponents = np.arange(-known, steps + 1) * step
    times = np.append(0.0, first * np.exp(exponents))
    C, R = quench.short_times(times[:, None], times[:, None] * grid.theta)
    slices = Slices(grid, step, times, C, R)
    solver = _Implicit(quench, slices)
    for n in range(known + 2, len(times)):
        solver.advance(n)
    return slices


class _Implicit:
    """Newton's method, slice by slice."""

    def __init__(self, quench: Quench, slices: Slices) -> None:
        self.quench, self.slices = quench, slices
        self.memory = Memory(slices.grid, slices.step)
        size = len(slices.grid.theta)
        self.transport = np.eye(size) * _BACKWARD[0] / slices.step
        self.transport -= slices.grid.theta[:, None] * slices.grid.derivative

    def advance(self, n: int) -> None:
        """Solve slice n, in place, from the previous slices."""
        inner = len(self.slices.grid.theta) - 1  # all nodes but the diagonal, where C = R = 1
        for values in (self.slices.C, self.slices.R):
            values[n, :inner] = (_FORWARD @ values[n - 5 : n][::-1])[:inner]
            values[n, inner] = 1.0
        t = self.slices.times[n]
        for _ in range(10):
            residual, jacobian = self._system(n)
            rows = np.r_[:inner, inner + 1 : 2 * inner + 1]
            change = np.linalg.solve(jacobian[np.ix_(rows, rows)], residual[rows])
            self.slices.C[n, :inner] -= change[:inner]
            self.slices.R[n, :inner] -= change[inner:]
            # the next change is of the order of t times the square of this one
            if (1 + t * self.quench.rate) * np.abs(change).max() ** 2 < 1e-12:
                return
        raise ArithmeticError(f"no solution at t = {t:.6g}: the ratios are too coarse")

    def _system(self, n: int) -> tuple[Array, Array]:
        """Return the residual (2 L) of slice n and its derivative (2 L, 2 L)."""
        f, beta, t = self.quench.f, self.quench.beta, self.slices.times[n]
        C, R = self.slices.C[n], self.slices.R[n]
        f1, f2, f3 = (f(C, order) for order in (1, 2, 3))
        op = self.memory.operators(t, n, self.slices.C, self.slices.R, f2 * R, f1)
        weights = t * self.slices.grid.weights
        mu = self.quench.multiplier(C, R, weights)
        mu_C, mu_R = self.quench.multiplier_gradient(C, R, weights)
        from_start = self.memory.at_waiting_times(self.slices.C[:, 0], n)
        back_C, back_R = (
            self.transport @ x[n] + _BACKWARD[1:] @ x[n - 4 : n][::-1] / self.slices.step
            for x in (self.slices.C, self.slices.R)
        )
        force_C = op.C_sigma @ (f2 * R) + op.C_noise @ f1 + beta * f1[0] * from_start
        residual_C = back_C + t * (mu * C - force_C)
        residual_R = back_R + t * (mu * R - op.R_sigma @ (f2 * R))
        local = self.transport + t * mu * np.eye(len(C))
        C_C = local + t * (np.outer(C, mu_C) - op.C_sigma * (f3 * R) - op.C_noise * f2 - op.C_C)
        C_C[:, 0] -= t * beta * (f2[0] * from_start + f1[0] * self.memory.own)
        C_R = t * (np.outer(C, mu_R) - op.C_sigma * f2 - op.C_R)
        R_C = t * (np.outer(R, mu_C) - op.R_sigma * (f3 * R))
        R_R = local + t * (np.outer(R, mu_R) - op.R_sigma * f2 - op.R_R)
        return np.append(residual_C, residual_R), np.block([[C_C, C_R], [R_C, R_R]])
