"""Transition probabilities of the metric from one layer to the next."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_landscape.theory.wide_networks.averages import Array, evaluate, gaussian_nodes
from lightning_landscape.theory.wide_networks.layer import Layer

__all__ = ["Transition"]

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
