"""Transition probabilities of the metric from one layer to the next."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, logsumexp

from lightning_landscape.theory.wide_networks.averages import Array, evaluate, gaussian_nodes
from lightning_landscape.theory.wide_networks.layer import Layer

__all__ = ["RESPONDING", "Transition", "silent_reach"]

RESPONDING = {"relu": 0.5, "linear": 1.0}
"""Activations that are z with this probability and 0 otherwise: their transitions are closed."""

# Frequencies k = _BASE a + b, a and b < _BASE, of a density on mean +- _WINDOW standard deviations
_BASE, _WINDOW = 24, 14.0


class Transition:
    """The Markov chain of the metric on a grid, for one width.

    Args:
        layer: the layer.
        states: the values G of a layer: the start, C_b, and C_b + M at the nodes; shape (S,).
        log_M: the nodes, uniform, shape (S - 2,).
        width: n.
    """

    def __init__(self, layer: Layer, states: Array, log_M: Array, width: int) -> None:
        self._nodes = np.exp(log_M)
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
        dead = float(p[y == 0].sum())
        row[1] = dead**n
        near = np.abs(self._nodes - mean) < _WINDOW * deviation
        density = _density(y - mean, p, n, deviation, self._nodes[near] - mean, dead)
        row[2:][near] = density * self._nodes[near] * self._step
        return row


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


def _density(y: Array, p: Array, n: int, deviation: float, x: Array, dead: float) -> Array:
    """Return the density at x of the mean of n copies of the centred y, but for its atom.

    A Fourier series on +- _WINDOW standard deviations. With k = B a + b the exponentials are
    products of two short tables, and the sums over nodes and frequencies matrix products.
    """
    frequency = np.pi / (_WINDOW * deviation)
    phi = _powers(_BASE * frequency / n, y) * p @ _powers(frequency / n, y).T
    coefficients = phi**n
    if dead > 0:  # all n neurons dead: the atom at the lower end
        atom = np.outer(*(_powers(w * frequency / n, y.min()) for w in (_BASE, 1)))
        coefficients -= (dead * atom) ** n
    coefficients[0, 0] /= 2
    inner = coefficients @ _powers(-frequency, x)
    series = (_powers(-_BASE * frequency, x) * inner).sum(0).real
    return series / (_WINDOW * deviation)


def _powers(frequency: float, x: ArrayLike) -> NDArray[np.complex128]:
    """Return exp(i k frequency x) for k = 0, ..., _BASE - 1, shape (_BASE, X)."""
    phase = np.exp(1j * frequency * np.atleast_1d(x))
    table = np.ones((_BASE, len(phase)), dtype=complex)
    for k in range(1, _BASE):
        np.multiply(table[k - 1], phase, out=table[k])
    return table
