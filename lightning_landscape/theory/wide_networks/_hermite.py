"""Expansions of functions of Gaussian preactivations in Hermite polynomials."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.activations import Activation, Function
from lightning_landscape.theory.wide_networks.averages import (
    Array,
    evaluate,
    normal_nodes,
    panel_edges,
)

__all__ = ["Series"]

_TERMS = 512
_TOLERANCE = 1e-12  # of an average, relative to the averages of the two inputs
_ROUNDING = 1e-14  # below which a remainder cannot be told from 0


class Expansion(NamedTuple):
    """The first N terms of the series of f for P inputs, and of its singular part r.

    Attributes:
        coefficients: c, shape (P, N).
        singular: the coefficients of r, shape (N,).
        rest_left: <(f - t r)^2> without these terms, shape (P,).
        singular_left: <r^2> without these terms.
    """

    coefficients: Array
    singular: Array
    rest_left: Array
    singular_left: float


class Series:
    """Hermite coefficients of f(s_a u) for P scales s_a, apart from a singular function of u.

    c_k(a) = <f(s_a u) He_k(u)> / sqrt(k!), u ~ N(0, 1). The singular part t_a r(u) is that of the
    jump of f or f' at 0; what is left has coefficients that decay faster.

    Args:
        sigma: the activation, for its kinks.
        function: f.
        scale: s, shape (P,).
        singular: r.
        strength: t, shape (P,).

    Attributes:
        square: <f^2>, shape (P,).
    """

    def __init__(
        self,
        sigma: Activation,
        function: Function,
        scale: Array,
        singular: Callable[[Array], Array],
        strength: Array,
    ) -> None:
        self.strength = strength
        self.square, self._rest_square = np.empty_like(scale), np.empty_like(scale)
        self._parts = []
        for chosen, u, weighted in _tables(sigma.kinks, scale):
            f, r = evaluate(function, scale[chosen, None] * u), singular(u)
            self.square[chosen] = f**2 @ weighted[0]
            self._rest_square[chosen] = (f - strength[chosen, None] * r) ** 2 @ weighted[0]
            self._singular_square = float(r**2 @ weighted[0])
            self._parts.append((chosen, f, r, weighted))

    def first(self, terms: int) -> Expansion:
        """Return the first terms of the series, at most 512."""
        coefficients = np.empty((len(self.square), terms))
        for chosen, f, r, weighted in self._parts:
            coefficients[chosen] = f @ weighted[:terms].T
            known = weighted[:terms] @ r
        rest = coefficients - self.strength[:, None] * known
        rest_left = _remainder(self._rest_square, (rest**2).sum(1))
        left = _remainder(np.array(self._singular_square), (known**2).sum())
        return Expansion(coefficients, known, rest_left, float(left))

    def tail(self, expansion: Expansion) -> Array:
        """Return a bound of what is left of <f_a f_b>, over what is tolerated, shape (P, P).

        It is for rho = 1; after N terms it falls as |rho|^N.
        """
        singular = np.abs(self.strength) * math.sqrt(expansion.singular_left)
        whole = singular + np.sqrt(expansion.rest_left)
        bound = np.outer(whole, whole) - np.outer(singular, singular)
        allowed = _TOLERANCE * np.sqrt(np.outer(self.square, self.square))
        return bound / allowed


def _remainder(square: Array, part: Array) -> Array:
    """Return the sum of the squares of all later coefficients, 0 where rounding hides it."""
    left = square - part
    return np.where(left > _ROUNDING * square, left, 0.0)


def _tables(kinks: tuple[float, ...], scale: Array) -> list[tuple[NDArray[np.intp], Array, Array]]:
    """Return (inputs, nodes u, weighted polynomials): one table for all inputs where it can be."""
    largest = 2.0 ** math.ceil(2 * math.log2(max(2.0, scale.max())))
    everyone: NDArray[np.intp] = np.arange(len(scale))
    if set(kinks) <= {0.0}:
        return [(everyone, *_table(largest, (0.0,)))]
    tables = {s: _table(largest, tuple(z / s for z in kinks)) for s in np.unique(scale)}
    return [(everyone[scale == s], *table) for s, table in tables.items()]


@lru_cache(maxsize=8)
def _table(K: float, kinks: tuple[float, ...]) -> tuple[Array, Array]:
    """Return nodes u and weights(u) He_k(u) / sqrt(k!), shape (512, J)."""
    edges = panel_edges(K)
    u, weights = normal_nodes(np.union1d(edges, [z for z in kinks if abs(z) < edges[-1]]))
    table = np.empty((_TERMS, len(u)))
    table[0], table[1] = weights, weights * u
    for k in range(1, _TERMS - 1):
        table[k + 1] = (u * table[k] - math.sqrt(k) * table[k - 1]) / math.sqrt(k + 1)
    return u, table
