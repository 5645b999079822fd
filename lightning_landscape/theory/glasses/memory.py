"""The memory integrals of the Cugliandolo-Kurchan equations on geometrically spaced time slices.

A slice n holds C(t_n, theta_j t_n) and R(t_n, theta_j t_n) on the nodes of a `RatioGrid`; t_n grows
by the factor e^step from slice to slice, except that slice 0 is t = 0. Every stencil depends only
on ratios of times, so that one set serves all slices.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from lightning_landscape.theory.glasses.ratio_grid import Array, Integers, RatioGrid, lagrange

__all__ = ["POINTS", "Memory", "Operators", "gather", "time_stencil"]

POINTS = 6  # slices in an interpolation in log(t)


def time_stencil(ratio: Array, step: float) -> tuple[Integers, Array]:
    """Return offsets (...) to a slice n and weights (..., POINTS) that interpolate to ratio * t_n.

    The slices used are n + offset, …, n + offset + POINTS - 1 <= n. Ratio 0 means slice 0.
    """
    start = ratio <= 0
    position = np.log(np.where(start, 1.0, ratio)) / step
    offset = np.minimum(np.floor(position).astype(np.int64) - (POINTS // 2 - 1), 1 - POINTS)
    weights = lagrange(position - offset, np.arange(POINTS, dtype=float))
    weights[start] = np.eye(POINTS)[0]
    return np.where(start, np.iinfo(np.int32).min, offset), weights


@numba.njit(cache=True)
def gather(
    slices: Array, n: int, offset: Integers, time_weights: Array, first: Integers, weights: Array
) -> Array:
    """Interpolate ``slices`` (n, L) in time and ratio to the points (J, Q) seen from slice n."""
    out = np.empty(offset.shape)
    for j in range(offset.shape[0]):
        for q in range(offset.shape[1]):
            total, start, node = 0.0, max(0, n + offset[j, q]), first[j, q]
            for a in range(time_weights.shape[2]):
                inner = 0.0
                for k in range(weights.shape[2]):
                    inner += weights[j, q, k] * slices[start + a, node + k]
                total += time_weights[j, q, a] * inner
            out[j, q] = total
    return out


class Operators(NamedTuple):
    """Matrices (L, L) on one slice; a kernel is represented by its values on the nodes.

    With Sigma = f''(C) R and D = f'(C) on the slice t the integrals at the nodes are

        int_0^t Sigma(t,s) C(s,t') ds = C_sigma @ Sigma
        int_0^t' D(t,s) R(t',s) ds    = C_noise @ D
        int_t'^t Sigma(t,s) R(s,t') ds = R_sigma @ Sigma

    and C_C, C_R, R_R are their derivatives with respect to the slice's own C and R as they enter
    through the second factor of the integrands.
    """

    C_sigma: Array
    C_noise: Array
    R_sigma: Array
    C_C: Array
    C_R: Array
    R_R: Array


class Memory:
    """The memory integrals as linear operators on the kernels of a slice.

    Args:
        grid: the ratios, L nodes.
        step: the difference of log(t) between slices.
    """

    def __init__(self, grid: RatioGrid, step: float) -> None:
        theta, rest = grid.theta[:, None], grid.complement[:, None]
        ratio, gap = grid.theta, grid.complement
        self.size = len(ratio)
        # s = t' ratio before the waiting time t', and s = t' + (t - t') ratio between t' and t
        self._before = grid.stencil(theta * ratio, rest + theta * gap)
        late = theta + rest * ratio
        self._between = grid.stencil(late, rest * gap)
        safe = np.where(late > 0, late, 1.0)
        self._waiting = grid.stencil(
            np.where(late > 0, theta / safe, 0.0), np.where(late > 0, rest * ratio / safe, 1.0)
        )
        self._time_between = time_stencil(late, step)
        self._offset, self._time_weights = time_stencil(grid.theta, step)
        self._before_weights, self._between_weights = theta * grid.weights, rest * grid.weights
        # the weight of slice n itself in these interpolated past values
        self.own = np.where(self._offset == 1 - POINTS, self._time_weights[:, -1], 0.0)
        offset, weights = self._time_between
        self._own_between = np.where(offset == 1 - POINTS, weights[..., -1], 0.0)

    def at_waiting_times(self, slices: Array, n: int) -> Array:
        """Interpolate in time: row j is the slice of the waiting time theta_j t_n, (L, ...)."""
        past = np.maximum(n + self._offset, 0)[:, None] + np.arange(POINTS)
        return np.einsum("ja,ja...->j...", self._time_weights, slices[past])

    def _between_times(self, slices: Array, n: int) -> Array:
        return gather(slices, n, *self._time_between, *self._waiting)

    def operators(
        self, t: float, n: int, C: Array, R: Array, sigma: Array, noise: Array
    ) -> Operators:
        """Return the operators of slice n; rows n of ``C`` and ``R`` hold the current guess.

        Args:
            t: the time of the slice.
            n: the index of the slice.
            C: all slices of the correlation, shape (n + 1 or more, L).
            R: all slices of the response.
            sigma: f''(C) R on slice n, shape (L,).
            noise: f'(C) on slice n.
        """
        size = self.size
        before, between = t * self._before_weights, t * self._between_weights
        R_before = before * self.at_waiting_times(R, n)
        C_sigma = self._before.adjoint(before * self.at_waiting_times(C, n), size)
        C_sigma += self._between.adjoint(between * self._between_times(C, n), size)
        R_sigma = self._between.adjoint(between * self._between_times(R, n), size)
        own = self._own_between * between * self._between(sigma)
        own_between = self._waiting.adjoint(own, size)
        own_before = before * self.own[:, None]
        return Operators(
            C_sigma=C_sigma,
            C_noise=self._before.adjoint(R_before, size),
            R_sigma=R_sigma,
            C_C=own_between + own_before * self._before(sigma),
            C_R=own_before * self._before(noise),
            R_R=own_between,
        )
