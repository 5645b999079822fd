"""The Cugliandolo-Kurchan equations on a uniform grid: slow and simple, a reference for `solve`.

A uniform grid has a systematic error: with ten steps per unit of time the energy of the 3-spin at
t = 60 is off by 4e-3 (and below the threshold with another rule of the same order). Only the
Richardson extrapolation from three grids is returned, also for the two-time functions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lightning_landscape.errors import require
from lightning_landscape.theory.glasses.quench import Quench
from lightning_landscape.theory.glasses.ratio_grid import Array

__all__ = ["UniformSolution", "solve_uniform"]


@dataclass(frozen=True)
class UniformSolution:
    """The solution at equidistant times t_i.

    Attributes:
        times: t_i, shape (n,).
        energy: E(t_i).
        multiplier: mu(t_i).
        correlation: C(t_i, t_j), shape (n, n), symmetric.
        response: R(t_i, t_j), 0 above the diagonal.
        error: the largest correction, in C and E, of the last extrapolation step.
    """

    times: Array
    energy: Array
    multiplier: Array
    correlation: Array
    response: Array
    error: float


def solve_uniform(
    mixture: Mapping[int, float],
    temperature: float,
    t_max: float,
    start_temperature: float = math.inf,
    steps: int = 200,
) -> UniformSolution:
    """Solve the equations of `cugliandolo_kurchan` with ``steps``, 2 and 4 times ``steps`` steps.

    Heun's method and the trapezoidal rule, extrapolated from second to fourth order.

    Args:
        mixture: {p: a_p}.
        temperature: T >= 0 after t = 0.
        t_max: the last time.
        start_temperature: T_0 of an equilibrium start; infinity for a random one.
        steps: number of steps of the coarsest grid, on which the result is returned.

    Cost: 150 x steps^3 multiplications and additions, 256 x steps^2 bytes; 2 s for 300 steps.

    Raises:
        UsageError: an argument is outside its range.

    >>> round(float(solve_uniform({3: 0.5}, 0.0, t_max=2.0, steps=20).energy[-1]), 4)
    -0.9262
    """
    require(0 < t_max < math.inf, "t_max", t_max, "must be positive")
    require(steps >= 2, "steps", steps, "must be at least 2")
    quench = Quench.of(mixture, temperature, start_temperature)
    grids = [_March(quench, t_max, steps * m).every(m) for m in (1, 2, 4)]
    second = [_extrapolate(a, b, order=2) for a, b in pairwise(grids)]
    energy, multiplier, C, R = _extrapolate(second[0], second[1], order=3)
    error = max(np.abs(energy - second[1][0]).max(), np.abs(C - second[1][2]).max())
    return UniformSolution(np.linspace(0, t_max, steps + 1), energy, multiplier, C, R, float(error))


def _extrapolate(coarse: list[Array], fine: list[Array], order: int) -> list[Array]:
    """Remove the leading error, of this order, from results whose steps differ by a factor 2."""
    return [b + (b - a) / (2**order - 1) for a, b in zip(coarse, fine, strict=True)]


class _March:
    """One uniform grid, row after row: C[i, j] = C(t_i, t_j)."""

    def __init__(self, quench: Quench, t_max: float, steps: int) -> None:
        self.quench, self.h = quench, t_max / steps
        self.C, self.R = np.eye(steps + 1), np.eye(steps + 1)
        self.energy, self.multiplier = np.empty(steps + 1), np.empty(steps + 1)
        before = rates = self._rates(0)
        for i in range(steps):
            now, slope = self._row(i), rates.copy()
            slope[:, :i] += (rates[:, :i] - before) / 2  # Adams-Bashforth predicts,
            self._set_row(i + 1, now + self.h * slope)
            mean = (rates + self._rates(i + 1)[:, :-1]) / 2
            self._set_row(i + 1, now + self.h * mean)  # the trapezoidal rule corrects
            before, rates = rates, self._rates(i + 1)

    def _row(self, i: int) -> Array:
        return np.stack([self.C[i, : i + 1], self.R[i, : i + 1]])

    def _set_row(self, i: int, values: Array) -> None:
        self.C[i, :i] = self.C[:i, i] = values[0]
        self.R[i, :i] = values[1]

    def _rates(self, i: int) -> Array:
        """Return d/dt of C and R at (t_i, t_j) for j <= i; store the energy and mu of row i."""
        f, beta, rows = self.quench.f, self.quench.beta, slice(i + 1)
        C, R, (c, r) = self.C[rows, rows], self.R[rows, rows], self._row(i)
        weights = np.full(i + 1, self.h)
        weights[[0, -1]] = self.h / 2 if i else 0.0
        self.energy[i] = self.quench.energy(c, r, weights)
        self.multiplier[i] = mu = self.quench.multiplier(c, r, weights)
        sigma, noise = f(c, 2) * r, f(c, 1)
        memory = C @ (weights * sigma) + R @ (weights * noise) + beta * noise[0] * C[:, 0]
        response = (weights * sigma) @ R
        # the integrals end on the diagonal of R, which has half the weight
        memory[:-1] -= self.h / 2 * noise[:-1]
        response[1:] -= self.h / 2 * sigma[1:]
        return np.stack([memory - mu * c, response - mu * r])

    def every(self, stride: int) -> list[Array]:
        """Return energy, mu, C and R at every ``stride``-th time."""
        kept = slice(None, None, stride)
        two_times = [x[kept, kept] for x in (self.C, self.R)]
        return [self.energy[kept], self.multiplier[kept], *two_times]
