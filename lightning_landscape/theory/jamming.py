"""Solvable jamming: linear classifiers and the spherical perceptron; published exponents."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import gammaln, logsumexp, ndtr

from lightning_landscape.errors import require

__all__ = [
    "NETWORKS",
    "SPHERES",
    "Exponents",
    "JammedPerceptron",
    "cover_probability",
    "log_cover_probability",
    "perceptron_capacity",
    "perceptron_contacts",
    "perceptron_jammed",
    "perceptron_margin",
]


class Exponents(NamedTuple):
    """P(Delta) ~ Delta^theta for Delta > 0 and |Delta|^-gamma for Delta < 0, at the transition.

    In the universality class of spheres gamma = 1 / (2 + theta).
    """

    theta: float
    gamma: float
    source: str


SPHERES = Exponents(0.42311, 0.41269, "Charbonneau 2014")
"""Spheres in infinite dimension and the non-convex perceptron; arXiv:1404.6809, 1501.03397."""

NETWORKS = Exponents(0.3, 0.2, "Geiger 2019, N ~ 8000")
"""Fully connected networks with the quadratic hinge; arXiv:1809.09349, abstract."""


def log_cover_probability(P: int, N: int) -> float:
    """Return the logarithm of `cover_probability`, also where the latter underflows.

    >>> round(log_cover_probability(5000, 20), 6)
    -3342.590198
    """
    for name, value in (("P", P), ("N", N)):
        require(value >= 1, name, value, "must be at least 1")
    if P <= N:
        return 0.0
    k = np.arange(N)
    terms = gammaln(P) - gammaln(k + 1) - gammaln(P - k)
    return float(min(0.0, logsumexp(terms) - (P - 1) * math.log(2)))


def cover_probability(P: int, N: int) -> float:
    """Return the probability that P random patterns in N dimensions are linearly separable.

    2^(1-P) sum_{k<N} C(P-1, k), for patterns in general position with independent, equally likely
    labels, or with any labels if the distribution of the patterns is symmetric; the classifier is
    the sign of w . x. The probability falls from 1 to 0 around P = 2 N, where it is 1/2, over a
    range of P of order sqrt(N): r_c = P/N = 2. For equally likely labels a bias counts as one more
    dimension.

    Source: Cover 1965, IEEE Trans. Electron. Comput. EC-14, 326.

    >>> [round(cover_probability(P, N=20), 4) for P in (36, 40, 44)]
    [0.7502, 0.5, 0.2712]
    """
    return math.exp(log_cover_probability(P, N))


def perceptron_capacity(margin: float) -> float:
    """Return alpha_c = P/N, the capacity of a spherical perceptron with margin kappa >= 0.

    1/alpha_c = int_{-kappa}^inf Dt (t + kappa)^2 = (1 + kappa^2) Phi(kappa) + kappa phi(kappa),
    for patterns y x . w / sqrt(N) >= kappa with normal x and |w|^2 = N, for N to infinity. The
    problem is convex, and the replica-symmetric result is exact.

    Raises:
        UsageError: the margin is negative, where the problem is not convex and the formula is
            only an upper bound.

    Source: Gardner 1988, J. Phys. A 21, 257.

    >>> perceptron_capacity(0.0), round(perceptron_capacity(1.0), 6)
    (2.0, 0.519572)
    """
    remedy = "the replica-symmetric formula is exact only where the problem is convex"
    require(0 <= margin < math.inf, "margin", margin, "must be finite and at least 0", remedy)
    return 1 / ((1 + margin**2) * float(ndtr(margin)) + margin * _normal_density(margin))


def perceptron_margin(load: float) -> float:
    """Return the largest margin at which a spherical perceptron can fit P = load N patterns.

    The inverse of `perceptron_capacity`, for 0 < load <= 2.

    >>> round(perceptron_margin(perceptron_capacity(0.7)), 9)
    0.7
    """
    require(0 < load <= 2, "load", load, "must lie in (0, 2]")
    highest = 1 / math.sqrt(load)  # as 1 + kappa^2 > 1/alpha_c > kappa^2
    return float(brentq(lambda kappa: perceptron_capacity(kappa) - load, 0, highest, xtol=1e-14))


def perceptron_contacts(margin: float) -> float:
    """Return the number of patterns on the margin at capacity, divided by N: alpha_c Phi(kappa).

    It is 1 for margin 0 (isostatic) and smaller for kappa > 0: the number of support vectors
    over N.

    >>> perceptron_contacts(0.0), round(perceptron_contacts(1.0), 6)
    (1.0, 0.437139)
    """
    return perceptron_capacity(margin) * float(ndtr(margin))


@dataclass(frozen=True)
class JammedPerceptron:
    """The ground state of the spherical perceptron above its capacity, for N to infinity.

    Attributes:
        load: alpha = P/N.
        margin: kappa.
        stiffness: s = sqrt(alpha_c / alpha), 1 at the transition.
        energy: E/N = (sqrt(alpha / alpha_c) - 1)^2 / 2.
        unsatisfied: N_Delta / N = alpha Phi(kappa).
    """

    load: float
    margin: float
    stiffness: float
    energy: float
    unsatisfied: float

    def gap_density(self, gap: ArrayLike) -> NDArray[np.float64]:
        """Return the density of the gaps Delta of all patterns, on both sides of 0.

        For random weights the fields z are normal. In the ground state the satisfied fields are
        unchanged, and the others are pulled towards the margin: Delta = (1 - s) (kappa - z) for
        z < kappa.
        """
        gap = np.asarray(gap, dtype=float)
        scale = np.where(gap > 0, 1 - self.stiffness, 1.0)
        return np.exp(-((self.margin - gap / scale) ** 2) / 2) / math.sqrt(2 * math.pi) / scale


def perceptron_jammed(load: float, margin: float) -> JammedPerceptron:
    """Return the ground state of E = sum max(0, kappa - z)^2 / 2 above capacity.

    With the response chi of a field, (chi / (1 + chi))^2 = alpha_c / alpha, and a field z < kappa
    moves to (z + chi kappa) / (1 + chi). The solution is replica symmetric and exact as long as
    larger |w| would lower the energy, int_{-inf}^kappa Dz (kappa - z)(z + chi kappa) >= 0: then the
    minimum over the ball |w|^2 <= N lies on the sphere, and the problem is convex.

    Args:
        load: alpha, above the capacity alpha_c(kappa).
        margin: kappa > 0.

    Raises:
        UsageError: the load is not above the capacity, or so far above it that the problem is no
            longer convex.

    Source: derived here, as a continuation of Gardner 1988; compare Griniasty, Gutfreund 1991,
    J. Phys. A 24, 715.

    >>> state = perceptron_jammed(load=2.0, margin=1.0)
    >>> round(state.energy, 5), round(state.unsatisfied, 5)
    (0.46269, 1.68269)
    """
    capacity = perceptron_capacity(margin)
    require(load > capacity, "load", load, f"must be above the capacity {capacity:.6g}")
    s, below = math.sqrt(capacity / load), float(ndtr(margin))
    chi, density = s / (1 - s), _normal_density(margin)
    # int Dz (kappa - z)(z + chi kappa) = chi kappa (kappa Phi + phi) - Phi
    convex = chi * margin * (margin * below + density) >= below
    require(convex, "load", load, f"is too far above the capacity {capacity:.6g}", "lower it")
    return JammedPerceptron(load, margin, s, (1 / s - 1) ** 2 / 2, load * below)


def _normal_density(x: float) -> float:
    return math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
