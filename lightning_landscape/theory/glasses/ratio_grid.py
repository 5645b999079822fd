"""The ratios theta = t'/t at which two-time functions are stored: dense at both ends of [0, 1].

At a late time t a glass has structure at every scale of t - t' and of t', from the microscopic
time to t itself. Nodes uniform in x, with theta = (tanh x + tanh X) / (2 tanh X), are uniform in
log(theta) and log(1 - theta), except close to the ends, where they are uniform in theta.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.special import roots_jacobi

__all__ = ["RatioGrid", "Stencil", "lagrange"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


def lagrange(position: Array, nodes: Array) -> Array:
    """Return the Lagrange polynomials of the ``nodes`` (k,) at ``position`` (...): shape (..., k).

    >>> lagrange(np.array(0.5), np.array([0.0, 1.0]))
    array([0.5, 0.5])
    """
    values = np.ones((*position.shape, len(nodes)))
    for a, at in enumerate(nodes):
        for other in np.delete(nodes, a):
            values[..., a] *= (position - other) / (at - other)
    return values


class Stencil(NamedTuple):
    """Interpolation from the L nodes to a set of points: consecutive nodes and their weights.

    Attributes:
        first: the first node of each point, shape (J, Q).
        weights: the weights of this node and the following ones, shape (J, Q, k).
    """

    first: Integers
    weights: Array

    def __call__(self, values: Array) -> Array:
        """Interpolate ``values`` (L,) to the points (J, Q)."""
        return _apply(values, self.first, self.weights)

    def adjoint(self, factors: Array, size: int) -> Array:
        """Return the matrix A (J, L) with ``A @ values == (factors * self(values)).sum(1)``."""
        return _scatter(factors, self.first, self.weights, size)


@numba.njit(cache=True)
def _apply(values: Array, first: Integers, weights: Array) -> Array:
    out = np.zeros(first.shape)
    for j in range(first.shape[0]):
        for q in range(first.shape[1]):
            for k in range(weights.shape[2]):
                out[j, q] += weights[j, q, k] * values[first[j, q] + k]
    return out


@numba.njit(cache=True)
def _scatter(factors: Array, first: Integers, weights: Array, size: int) -> Array:
    out = np.zeros((factors.shape[0], size))
    for j in range(factors.shape[0]):
        for q in range(factors.shape[1]):
            for k in range(weights.shape[2]):
                out[j, first[j, q] + k] += factors[j, q] * weights[j, q, k]
    return out


class RatioGrid:
    """Nodes in panels of equal width in x, each with the Radau points of a polynomial in x.

    Information flows from the diagonal theta = 1 to smaller theta. The panels use the collocation
    points of the Radau IIA methods, which makes the derivative below stable at any order: all
    eigenvalues of its block without the node theta = 1 have a negative real part.

    Args:
        smallest: the distance from both ends below which functions are smooth in theta.
        spacing: the mean distance of nodes in x; two units are a factor e^2 in theta or 1 - theta.
        degree: nodes per panel, one less than the number of points of its polynomial.

    Attributes:
        theta: the nodes, increasing from 0 to 1, shape (L,).
        complement: 1 - theta without cancellation, shape (L,).
        weights: of the integral over theta from 0 to 1, shape (L,).
        derivative: the matrix of d/dtheta, shape (L, L).
        integral: the matrix of the integral from theta to 1, shape (L, L).
    """

    def __init__(self, smallest: float, spacing: float, degree: int = 7) -> None:
        self._X = 0.5 * math.log(4 * spacing / smallest + 10)
        panels = math.ceil(2 * self._X / (degree * spacing))
        self._width = 2 * self._X / panels
        self._gap = 2 / (math.exp(2 * self._X) + 1)  # 1 - tanh X
        # the flow enters a panel at +1 and leaves it at -1, which is one of its nodes
        self._points = np.concatenate([[-1.0], roots_jacobi(degree - 1, 0, 1)[0], [1.0]])
        starts = -self._X + self._width * np.arange(panels)
        inner = starts[:, None] + self._width * (self._points[:-1] + 1) / 2
        x = np.append(inner.ravel(), self._X)
        self.theta, self.complement = self._ratio(x), self._ratio(-x)
        self.theta[[0, -1]] = self.complement[[-1, 0]] = 0.0, 1.0
        self._matrices(0.5 / (np.cosh(x) ** 2 * (1 - self._gap)))

    def _ratio(self, x: Array) -> Array:
        return (2 / (1 + np.exp(-2 * x)) - self._gap) / (2 * (1 - self._gap))

    def _matrices(self, slope: Array) -> None:
        """Assemble the panels' matrices; ``slope`` is dtheta/dx at the nodes."""
        size, degree, half = len(slope), len(self._points) - 1, self._width / 2
        order = np.arange(1, degree + 2)
        monomials = self._points[:, None] ** (order - 1)
        to_coefficients = np.linalg.inv(monomials)
        derivative = monomials[:, :-1] @ (order[:-1, None] * to_coefficients[1:]) / half
        to_end = (1 - self._points[:, None] ** order) / order
        radau = np.linalg.solve(monomials[:-1, :-1].T, to_end[0, :-1]) * half
        to_end = to_end @ to_coefficients * half
        self.weights = np.zeros(size)
        self.derivative, self.integral = np.zeros((2, size, size))
        self.derivative[-1, -1 - degree :] = derivative[-1]
        for first in range(size - 1 - degree, -1, -degree):
            own, end = slice(first, first + degree), first + degree
            self.weights[own] = radau
            self.derivative[own, first : end + 1] = derivative[:-1]
            self.integral[own] = self.integral[end]
            self.integral[own, first : end + 1] += to_end[:-1]
        self.weights *= slope
        self.derivative /= slope[:, None]
        self.integral *= slope

    def stencil(self, theta: Array, complement: Array) -> Stencil:
        """Return the interpolation to any ``theta`` with ``complement = 1 - theta``, same shape."""
        gap, stretch = self._gap, 2 * (1 - self._gap)
        x = 0.5 * np.log((gap + stretch * theta) / (gap + stretch * complement))
        degree = len(self._points) - 1
        panels = (len(self.theta) - 1) // degree
        at = (x + self._X) / self._width
        panel = np.clip(np.floor(at), 0, panels - 1).astype(np.int64)
        return Stencil(panel * degree, lagrange(2 * (at - panel) - 1, self._points))
