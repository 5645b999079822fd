"""Conversion from the units of other codes, given the covariance of their energy in our units.

Our convention is <H(s) H(s')> = N f(q) with f(1) = 1/2 for a pure model, |s|^2 = N and
ds/dt = -dH/ds + ….
In a code with k times this covariance, energies, temperatures and multipliers are larger by
sqrt(k) and times are smaller by sqrt(k); C and R are the same functions at corresponding times.

| code                         | convention                              | k     |
|------------------------------|-----------------------------------------|-------|
| DYNAMITE                     | f(q) = lambda q^p + (1-lambda) q^p2     | 2     |
| pele MeanFieldPSpinSpherical | sum over i<j<k, N^-(p-1)/2, Var J = 1   | 2/p!  |
| the same for p = 2           | sum over i<j, no power of N, Var J = 1  | N     |
| its example                  | the same with Var J = p!                | 2     |
| Kim-Latz                     | H in units of T, times in units of 1/T  | 1/T^2 |

For sums over distinct indices (pele) the covariance is correct up to terms of order 1/N.

>>> round(DYNAMITE.energy(-1.632993), 4)  # its threshold energy for p = 3
-1.1547
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.errors import require
from lightning_landscape.theory.glasses.mixture import Mixture

__all__ = ["DYNAMITE", "Units", "kim_latz", "pele"]

Number = TypeVar("Number", float, NDArray[np.float64])


@dataclass(frozen=True)
class Units:
    """Converts the numbers of another code to our units.

    Attributes:
        covariance: k, the covariance of its energy in units of ours.
    """

    covariance: float

    def energy(self, energy: Number) -> Number:
        """Convert an energy, a temperature or a multiplier."""
        return energy / math.sqrt(self.covariance)

    def time(self, time: Number) -> Number:
        """Convert a time or an integrated response."""
        return time * math.sqrt(self.covariance)

    def mixture(self, mixture: Mapping[int, float]) -> Mixture:
        """Convert the coefficients of its covariance."""
        return Mixture({p: a / self.covariance for p, a in mixture.items()})


DYNAMITE = Units(2.0)


def pele(p: int, coupling_variance: float = 1.0, N: int | None = None) -> Units:
    """Return the units of pele's ``MeanFieldPSpinSpherical``.

    Its prefactor N^-(p-1)/2 is there for p > 2 only. For p = 2 it is 1, so that k depends on N.

    Args:
        p: the number of spins in a product.
        coupling_variance: Var J of its interactions.
        N: the number of spins; needed for p = 2, where it matters.

    Raises:
        UsageError: p = 2 without N.

    >>> round(pele(3).energy(-1.0), 6)  # its energies are ours divided by sqrt(3)
    -1.732051
    >>> pele(2, N=100).energy(-10.0)
    -1.0
    """
    require(
        p > 2 or N is not None, "N", N, "is needed for p = 2, where pele scales by no power of N"
    )
    extensive = float(N) if p == 2 and N is not None else 1.0
    return Units(2 * coupling_variance * extensive / math.factorial(p))


def kim_latz(temperature: float) -> Units:
    """Return the units of a code that sets T = 1, for the run at our ``temperature``.

    >>> round(kim_latz(0.5).time(10.0), 6)
    20.0
    """
    return Units(1 / temperature**2)
