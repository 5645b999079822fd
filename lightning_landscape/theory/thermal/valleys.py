r"""Exact distributions of the energy U of simple valleys at temperature T.

A `ThermalLaw` is the distribution of U in the Boltzmann state exp(-U/T): its cumulants and its
density. Independent parts of a landscape add: ``QuadraticValley(10) + ExponentialWalls(40)``
has the sum of their cumulants and the convolution of their densities.

`unconfined_wall` is a single wall with nothing on its far side, where there is no stationary state
and U decreases with time. The effect of a finite time step on a quadratic valley is in `harmonic`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import exp1

from lightning_landscape.errors import require

__all__ = [
    "ExponentialWalls",
    "QuadraticValley",
    "SumOfLaws",
    "ThermalLaw",
    "unconfined_wall",
]

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


class ThermalLaw(ABC):
    """The distribution of the energy U of a part of the landscape in the state exp(-U/T)."""

    @abstractmethod
    def cumulant(self, order: int, temperature: ArrayLike) -> Array:
        """Return the cumulant of U of this order k, in units of U^k."""

    @abstractmethod
    def least(self, temperature: float) -> float:
        """Return the smallest possible U/T."""

    @abstractmethod
    def log_transform(self, s: Complex, temperature: float) -> Complex:
        """Return ln <exp[-(s - 1)(U/T - least)]>, analytic off the negative real axis."""

    def mean(self, temperature: ArrayLike) -> Array:
        """Return <U>."""
        return self.cumulant(1, temperature)

    def variance(self, temperature: ArrayLike) -> Array:
        """Return Var U."""
        return self.cumulant(2, temperature)

    def dimensions(self, temperature: ArrayLike) -> tuple[Array, Array, Array]:
        r"""Return 2 <U>/T, 2 Var U/T^2 and 2 d<U>/dT; each counts the stiff directions.

        The last two are equal in any Boltzmann state whose landscape does not depend on T, since
        then d<U>/dT = Var U/T^2.
        """
        T = np.asarray(temperature, float)
        from_variance = 2 * self.variance(T) / T**2
        return 2 * self.mean(T) / T, from_variance, from_variance

    def density(self, energies: ArrayLike, temperature: float) -> Array:
        r"""Return the probability density of U at ``energies``, shape (n,).

        The Laplace transform is inverted on Talbot's contour, for all parts at once. The result has
        7 digits or more, also far in the tail, because exp(-U/T) is factored out first.

        Source: Abate, Whitt 2006, INFORMS J. Comput. 18, 408 (the fixed Talbot method).
        """
        T = float(temperature)
        require(T > 0, "temperature", temperature, "must be greater than 0")
        x = np.atleast_1d(np.asarray(energies, float)) / T - self.least(T)
        inside = x > 0
        # the contour passes the saddle point of the transform, so that the terms do not cancel
        nodes = 32 + math.ceil(2.5 * (float(self.mean(T)) / T - self.least(T)))
        theta = np.arange(1, nodes) * np.pi / nodes
        cot = 1 / np.tan(theta)
        contour = np.append(1.0 + 0j, theta * (cot + 1j))
        weight = np.append(0.5, 1 + 1j * (theta + (theta * cot - 1) * cot))
        scale = 0.4 * nodes
        s: Complex = (scale * contour / x[inside, None]).astype(complex)
        # in one exponent, because each of the three overflows if there are many directions
        exponent = scale * contour + self.log_transform(s, T) - x[inside, None]
        value = np.zeros_like(x)
        value[inside] = 0.4 / x[inside] * (np.exp(exponent) * weight).real.sum(1) / T
        return value

    def __add__(self, other: ThermalLaw) -> SumOfLaws:
        return SumOfLaws((self, other))


@dataclass(frozen=True)
class SumOfLaws(ThermalLaw):
    """Independent parts: cumulants add and densities convolve."""

    parts: tuple[ThermalLaw, ...]

    def cumulant(self, order: int, temperature: ArrayLike) -> Array:
        """Return the sum of the cumulants."""
        return np.sum([part.cumulant(order, temperature) for part in self.parts], axis=0)

    def least(self, temperature: float) -> float:
        """Return the sum of the lowest energies divided by T."""
        return sum(part.least(temperature) for part in self.parts)

    def log_transform(self, s: Complex, temperature: float) -> Complex:
        """Return the sum over the parts."""
        total = np.zeros_like(s)
        for part in self.parts:
            total = total + part.log_transform(s, temperature)
        return total


@dataclass(frozen=True)
class QuadraticValley(ThermalLaw):
    r"""U = sum_i lambda_i x_i^2/2 over n stiff directions: U/T is Gamma distributed with shape n/2.

    `\kappa_k = (n/2)(k-1)!\,T^k`: <U> = nT/2, Var U = nT^2/2. Flat directions do not
    contribute, and the curvature sum_i lambda_i does not depend on T.

    Args:
        directions: n > 0, the number of directions with any curvature > 0.

    Raises:
        UsageError: n is not positive.

    >>> valley = QuadraticValley(10)
    >>> [float(valley.cumulant(k, 0.01)) for k in (1, 2)]
    [0.05, 0.0005]
    >>> valley.density([0.05], 0.01).round(4)  # of Gamma(5) at 5, over T
    array([17.5467])
    """

    directions: float

    def __post_init__(self) -> None:
        require(self.directions > 0, "directions", self.directions, "must be greater than 0")

    def cumulant(self, order: int, temperature: ArrayLike) -> Array:
        """Return (n/2) (k - 1)! T^k."""
        T = np.asarray(temperature, float)
        return self.directions / 2 * math.factorial(order - 1) * T**order

    def least(self, temperature: float) -> float:
        """Return 0."""
        return 0.0

    def log_transform(self, s: Complex, temperature: float) -> Complex:
        """Return -(n/2) ln s."""
        return np.asarray(-self.directions / 2 * np.log(s), complex)


@dataclass(frozen=True)
class ExponentialWalls(ThermalLaw):
    r"""M constraints, each an exponential wall U = eps e^(-kappa x) on x in (-infinity, L].

    With the lowest energy u = eps e^(-kappa L) of a wall, z = u/T and
    `a(z) = e^{-z}/E_1(z)`, each wall has

        <U>/T = a,   Var U/T^2 = a (1 + z) - a^2,   <U''> = kappa^2 <U>,
        p(U) = e^(-U/T) / (U E_1(z)) for U >= u,

    and moments <U^k>/T^k = a (k - 1)! sum_{j<k} z^j/j!. For z -> 0, a -> 1/(ln(1/z) - 0.5772): each
    wall then acts as a quadratic valley with 2 a directions, a << 1, where a hardly depends on T,
    while the curvature is proportional to T.

    Args:
        number: M, the number of independent constraints; any number > 0 for the cumulants.
        length: L, in units of x.
        steepness: kappa.
        height: eps, in units of U.

    Raises:
        UsageError: an argument is not positive (L may have any sign).

    Source: the solvable model of Jules et al. 2023, arXiv:2304.01335; formulas rederived here.

    >>> wall = ExponentialWalls(length=20)
    >>> [round(float(wall.mean(T) / T), 5) for T in (1e-4, 1e-3, 1e-2, 1e-1)]
    [0.09792, 0.0799, 0.06749, 0.05841]
    >>> [round(float(wall.variance(T) / T**2), 5) for T in (1e-4, 1e-3, 1e-2, 1e-1)]
    [0.08833, 0.07352, 0.06293, 0.055]
    """

    number: float = 1
    length: float = 20.0
    steepness: float = 1.0
    height: float = 1.0

    def __post_init__(self) -> None:
        for name in ("number", "steepness", "height"):
            require(getattr(self, name) > 0, name, getattr(self, name), "must be greater than 0")

    def _z(self, temperature: ArrayLike) -> Array:
        T = np.asarray(temperature, float)
        require(bool((T > 0).all()), "temperature", temperature, "must be greater than 0")
        return self.height * math.exp(-self.steepness * self.length) / T

    def cumulant(self, order: int, temperature: ArrayLike) -> Array:
        """Return M times the cumulant of one wall, from its moments."""
        z, T = self._z(temperature), np.asarray(temperature, float)
        a, partial = 1 / _scaled_exp1(z).real, np.zeros_like(z)
        moments, cumulants = [np.ones_like(z)], [np.zeros_like(z)]
        for k in range(1, order + 1):
            partial = partial + z ** (k - 1) / math.factorial(k - 1)
            moments.append(a * math.factorial(k - 1) * partial)
            mixed = [math.comb(k - 1, j - 1) * cumulants[j] * moments[k - j] for j in range(1, k)]
            cumulants.append(moments[k] - sum(mixed))
        return self.number * cumulants[order] * T**order

    def curvature(self, temperature: ArrayLike) -> Array:
        """Return <tr U''> = kappa^2 <U>."""
        return self.steepness**2 * self.mean(temperature)

    def least(self, temperature: float) -> float:
        """Return M z."""
        return self.number * float(self._z(temperature))

    def log_transform(self, s: Complex, temperature: float) -> Complex:
        """Return M ln (F(z s) / F(z)) with F(z) = e^z E_1(z)."""
        z = self._z(temperature)
        ratio: Complex = _scaled_exp1(z * s) / _scaled_exp1(z)
        return np.asarray(self.number * np.log(ratio), complex)


def _scaled_exp1(z: ArrayLike) -> Complex:
    """Return e^z E_1(z), also where E_1 underflows."""
    z = np.asarray(z, complex)
    small = np.abs(z) < 40
    near, far = np.where(small, z, 1.0), np.where(small, 40.0, z)
    fraction = far + 41
    for k in range(20, 0, -1):
        fraction = far + 2 * k - 1 - k**2 / fraction
    return np.where(small, np.exp(near) * exp1(near), 1 / fraction)


def unconfined_wall(
    times: ArrayLike, temperature: float, steepness: float = 1.0
) -> tuple[Array, Array]:
    r"""Return the exact <U> and Var U at ``times`` of one exponential wall on an unbounded line.

    With r = U/T and `\tau = \kappa^2 T t` the overdamped motion in U = eps e^(-kappa x) is
    dr = (r - r^2) dtau + sqrt(2) r dW for every eps; from a high start, U_0 >> T,

        <r> = 1/tau + 4 int_0^inf y e^(-y^2 tau) / (e^(2 pi y) - 1) dy,   <r^2> = <r> - d<r>/dtau.

    The descent 1/tau crosses over to diffusion along the flat side, <r> -> 1/sqrt(pi tau): U keeps
    falling as the inverse of the distance, with Var U = T <U>. From a lower U_0 the same holds once
    tau U_0/T >> 1.

    Args:
        times: t > 0, any shape.
        temperature: T > 0.
        steepness: kappa.

    Source: derived here from the law of int e^(sqrt(2) W) at an exponential time, Yor 1992,
    Adv. Appl. Probab. 24, 509.

    >>> mean, variance = unconfined_wall([1.0, 1e4], temperature=1.0)
    >>> mean.round(6), 1 / math.sqrt(math.pi * 1e4)
    (array([1.152994, 0.005643]), 0.00564189...)
    """
    tau = steepness**2 * temperature * np.asarray(times, float)
    positive = bool((tau > 0).all())
    require(positive, "times", times, "must be > 0, like temperature and steepness")

    # trapezoidal rule in log y: the integrand is smooth and vanishes at both ends
    y = np.exp(np.arange(-36.0, 2.2, 0.05))
    weight = 0.05 * y**2 / np.expm1(2 * np.pi * y) * np.exp(-(y**2) * tau[..., None])
    first, third = weight.sum(-1), (y**2 * weight).sum(-1)
    mean = 1 / tau + 4 * first
    square = mean + 1 / tau**2 + 4 * third
    return temperature * mean, temperature**2 * (square - mean**2)
