"""The covariance of a spherical glass, f(q) = sum_p a_p q^p, and its derivatives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import ArrayLike, NDArray

from lightning_landscape.errors import require
from lightning_landscape.mixture import checked_mixture, mixture_to_json

__all__ = ["Mixture", "mixture_from_json", "mixture_to_json"]

Array = NDArray[np.float64]


class Mixture(Mapping[int, float]):
    """The covariance f(q) = sum_p a_p q^p of a spherical glass, as a function and as {p: a_p}.

    Args:
        coefficients: {p: a_p} with integers p >= 2 and a_p > 0; {3: 0.5} is the pure 3-spin.

    Raises:
        UsageError: there is no term, a p is not an integer >= 2, or an a_p is not positive.

    >>> f = Mixture({3: 0.5})
    >>> [float(f(1.0, derivative=k)) for k in range(3)]
    [0.5, 1.5, 3.0]
    """

    def __init__(self, coefficients: Mapping[int, float]) -> None:
        self._coefficients = checked_mixture(coefficients)
        powers = np.zeros(max(coefficients) + 1)
        powers[list(self._coefficients)] = list(self._coefficients.values())
        orders = (polynomial.polyder(powers, order) for order in range(4))
        self._derivatives = [np.asarray(c, dtype=np.float64) for c in orders]

    @classmethod
    def pure(cls, p: int) -> Mixture:
        """Return f(q) = q^p / 2."""
        return cls({p: 0.5})

    def __call__(self, q: ArrayLike, derivative: int = 0) -> Array:
        """Return f(q), or its first, second or third derivative, elementwise."""
        return polynomial.polyval(np.asarray(q, dtype=float), self._derivatives[derivative])

    def polynomial(self, derivative: int = 0) -> Array:
        """Return the coefficients of f, or of its derivative, by increasing power of q."""
        return self._derivatives[derivative]

    @property
    def p(self) -> int:
        """The p of a pure model; raises `UsageError` for a mixture of several."""
        require(len(self) == 1, "mixture", self, "this is known only for pure models")
        return next(iter(self))

    def __getitem__(self, p: int) -> float:
        return self._coefficients[p]

    def __iter__(self) -> Iterator[int]:
        return iter(self._coefficients)

    def __len__(self) -> int:
        return len(self._coefficients)

    def __repr__(self) -> str:
        return f"Mixture({self._coefficients})"


def mixture_from_json(text: str) -> Mixture:
    """Return the mixture that `mixture_to_json` encoded.

    >>> mixture_from_json('{"3": 0.5}')
    Mixture({3: 0.5})
    """
    return Mixture({int(p): a for p, a in json.loads(text).items()})
