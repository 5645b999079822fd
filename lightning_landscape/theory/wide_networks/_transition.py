"""Transition probabilities of the metric from one layer to the next."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, logsumexp

from lightning_landscape.theory.wide_networks.averages import Array, evaluate, gaussian_nodes
from lightning_landscape.theory.wide_networks.layer import Layer

__all__ = ["RESPONDING", "Transition", "silent_reach"]

RESPONDING = {"relu": 0.5, "linear": 1.0}
"""Activations that are z with this probability and 0 otherwise: their transitions are closed."""

# Frequencies k = base a + b, a and b < base, of a density on mean +- a window
_BASE, _WINDOW = 24, 14.0  # standard deviations
_FINE_BASE, _SMOOTH = 48, 1e-10  # where the later half of fewer coefficients is not below this
_FAR = 8.3  # standard deviations of a preactivation: beyond is nothing
_OFFSETS = np.arange(-4.0, 6.0)  # nodes around a point from which a function is interpolated there
_ANCHORS = np.array([4.0, 8.0, 13.0, 19.0, 26.0])  # and from 0 and M that are so many points away


class Transition:
    """The Markov chain of the metric on a grid, for one width.

    Args:
        layer: the layer.
        states: the values G of a layer: the start, C_b, and C_b + M at the nodes; shape (S,).
        log_M: the nodes, uniform, shape (S - 2,).
        width: n.
    """

    def __init__(self, layer: Layer, states: Array, log_M: Array, width: int) -> None:
        self._log_M, self._nodes = log_M, np.exp(log_M)
        self._step = float(log_M[1] - log_M[0])
        self._probabilities = np.array([self._row(layer, G, width) for G in states])

    def step(self, law: Array) -> Array:
        """Return the probabilities of the states a layer later, shape (S,)."""
        return law @ self._probabilities

    def _row(self, layer: Layer, G: float, n: int) -> Array:
        """Return the probabilities of all states after ``G``."""
        row = np.zeros(2 + len(self._nodes))
        if G > 0 and layer.sigma.name in RESPONDING:
            scale, share = layer.weight_variance * G / n, RESPONDING[layer.sigma.name]
            row[1] = (1 - share) ** n
            row[2:] = _mixture_of_gammas(self._nodes / (2 * scale), n, share) * self._step
            return row
        y, p = _law_of_a_term(layer, G)
        mean, deviation = float(p @ y), float(np.sqrt(p @ (y - p @ y) ** 2 / n))
        if deviation <= 1e-12 * mean or mean == 0:  # nothing is random: sigma(0) = 0 and G = 0
            row[1] = 1.0
            return row
        row[1] = float(p[y == 0].sum()) ** n
        series = _Series.of_mean(y, p, n, _WINDOW * deviation, _BASE)
        if series.is_smooth:
            near = np.abs(self._nodes - mean) < series.window
            row[2:][near] = series.density(self._nodes[near]) * self._nodes[near] * self._step
            return row
        farthest = layer.weight_variance * _largest_square(layer, _FAR * math.sqrt(G)) / n
        window = max(_WINDOW * deviation, farthest, 1.3 * mean)
        return row + self._spread(*_Series.of_mean(y, p, n, window, _FINE_BASE).points())

    def _spread(self, M: Array, probabilities: Array) -> Array:
        """Return the probabilities of the states by which averages of smooth functions are right.

        The probability of a point goes to the nodes around it with the weights of the polynomial
        that interpolates there, in log M, and about M = 0 in M.
        """
        row, nodes, half = np.zeros(2 + len(self._nodes)), self._nodes, len(_OFFSETS) // 2
        distance = M[1] - M[0]
        near = np.unique(np.searchsorted(nodes, distance * _ANCHORS))
        anchors, low = np.concatenate([[0.0], nodes[near]]), nodes[half] > M
        # what is farther below 0 is rounding
        below_0 = np.maximum(M[low], -_ANCHORS[-1] * distance)
        weights = _interpolation(below_0, anchors) @ probabilities[low]
        row[1], row[2 + near] = weights[0], weights[1:]
        place = (np.log(M[~low]) - self._log_M[0]) / self._step
        place = np.minimum(place, len(nodes) - 1.0)
        below = np.clip(np.floor(place).astype(int), half - 1, len(nodes) - half - 1)
        weights = _interpolation(place - below, _OFFSETS) * probabilities[~low]
        for offset, weight in zip(_OFFSETS.astype(int), weights, strict=True):
            row[2:] += np.bincount(below + offset, weight, minlength=len(nodes))
        return row


def _largest_square(layer: Layer, reach: float) -> float:
    """Return the largest sigma(z)^2 for |z| < reach."""
    return float((evaluate(layer.sigma.value, np.linspace(-reach, reach, 201)) ** 2).max())


def _interpolation(t: Array, nodes: Array) -> Array:
    """Return Lagrange's polynomials of the nodes at the points t, shape (nodes, T)."""
    distance = t - nodes[:, None]
    distance[distance == 0] = 1e-300
    others = np.subtract.outer(nodes, nodes) + np.eye(len(nodes))
    weights: Array = distance.prod(0) / distance / others.prod(1)[:, None]
    return weights


def _mixture_of_gammas(x: Array, n: int, share: float) -> Array:
    """Return the density of log(chi^2_k / 2) at log x, k ~ Binomial(n, share), k >= 1.

    Given that k neurons respond, the sum of their squares is chi squared with k degrees of freedom.
    """
    k = _active(n, share)
    log_p = _log_binomial(n, k, share)[:, None] - gammaln(k / 2)[:, None]
    density: Array = np.exp(logsumexp(log_p + k[:, None] / 2 * np.log(x) - x, axis=0))
    return density


def _log_binomial(n: int, k: Array, share: float) -> Array:
    if share == 1:
        return np.zeros(len(k))
    return (
        gammaln(n + 1)
        - gammaln(k + 1)
        - gammaln(n - k + 1)
        + k * math.log(share)
        + (n - k) * math.log(1 - share)
    )


def silent_reach(layer: Layer, n: int) -> float:
    """Return how far log M falls below its mean with a probability of 1e-12, few neurons active.

    With k of n neurons active the probability that log M is x below is exp(-k x / 2) or so.
    """
    share = RESPONDING.get(layer.sigma.name)
    if share is None:
        return 0.0
    k = _active(n, share)
    return float(np.max(2 / k * (math.log(1e12) + _log_binomial(n, k, share))))


def _active(n: int, share: float) -> Array:
    """Return the numbers k >= 1 of active neurons that are possible."""
    return np.arange(1.0 if share < 1 else n, n + 1)


def _law_of_a_term(layer: Layer, G: float) -> tuple[Array, Array]:
    """Return values of y = C_W sigma(z)^2, z ~ N(0, G), and their probabilities."""
    if G == 0:
        z, p = np.zeros(1), np.ones(1)
    else:
        z, p = gaussian_nodes(G, layer.sigma.kinks)
    return layer.weight_variance * evaluate(layer.sigma.value, z) ** 2, p / p.sum()


class _Series(NamedTuple):
    """The Fourier series of a density on mean +- window.

    With k = B a + b the exponentials are products of two short tables, and the sums over nodes and
    frequencies matrix products.

    Attributes:
        mean: the middle.
        window: half of the period.
        coefficients: phi_k, the characteristic function about the mean at pi k / window,
            shape (B, B).
    """

    mean: float
    window: float
    coefficients: NDArray[np.complex128]

    @classmethod
    def of_mean(cls, y: Array, p: Array, n: int, window: float, base: int) -> _Series:
        """Return that of the mean of n copies of y, but for its atom, where all n are 0."""
        mean, dead = float(p @ y), float(p[y == 0].sum())
        y, p = y[p > 1e-20] - mean, p[p > 1e-20]
        frequency = np.pi / window
        tables = _powers(base * frequency / n, y, base), _powers(frequency / n, y, base)
        coefficients = (tables[0] * p @ tables[1].T) ** n
        if dead > 0:
            atom = (_powers(w * frequency / n, -mean, base) for w in (base, 1))
            coefficients -= (dead * np.outer(*atom)) ** n
        return cls(mean, window, coefficients)

    @property
    def is_smooth(self) -> bool:
        """Whether the series has converged."""
        later = self.coefficients[len(self.coefficients) // 2 :]
        return bool(np.abs(later).max() < _SMOOTH)

    def density(self, M: Array) -> Array:
        """Return the density at M, within the window."""
        x, frequency, base = M - self.mean, np.pi / self.window, len(self.coefficients)
        coefficients = self.coefficients.copy()
        coefficients[0, 0] /= 2
        inner = coefficients @ _powers(-frequency, x, base)
        series = (_powers(-base * frequency, x, base) * inner).sum(0).real
        return series / self.window

    def points(self) -> tuple[Array, Array]:
        """Return points of a uniform grid and their probabilities, after a filter of high order.

        What is narrower than their distance keeps its moments up to the tenth.
        """
        phi = self.coefficients.ravel()
        K = len(phi)
        N = 4 * K
        phi = phi * np.exp(-36 * (np.arange(K) / K) ** 12)
        padded = np.pad(phi, (0, N // 2 + 1 - K))
        probabilities = np.asarray(np.fft.fftshift(np.fft.hfft(padded, N)) / N, dtype=float)
        M = self.mean + 2 * self.window * (np.arange(N, dtype=np.float64) / N - 0.5)
        some = np.flatnonzero(np.abs(probabilities) > 1e-17)
        kept = slice(some[0], some[-1] + 1)
        return M[kept], probabilities[kept]


def _powers(frequency: float, x: ArrayLike, base: int) -> NDArray[np.complex128]:
    """Return exp(i k frequency x) for k = 0, ..., base - 1, shape (base, X)."""
    phase = np.exp(1j * frequency * np.atleast_1d(x))
    table = np.ones((base, len(phase)), dtype=complex)
    for k in range(1, base):
        np.multiply(table[k - 1], phase, out=table[k])
    return table
