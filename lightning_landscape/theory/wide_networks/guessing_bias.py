"""Guessing bias: how unevenly wide networks at initialization share data among the classes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline
from scipy.special import ndtr, ndtri, owens_t

from lightning_landscape.errors import require, require_whole
from lightning_landscape.theory.wide_networks.averages import Array

__all__ = ["repeated_guess", "share_density"]

_ANGLES = 33  # of inputs in output space, between which the probability is interpolated
_NODES, _REACH = 80, 8.0  # of the quadrature, in standard deviations


def repeated_guess(correlation: ArrayLike, classes: int) -> Array:
    r"""Return the probability that a wide random network guesses the same class for two inputs.

    The outputs of a network of infinite width are independent Gaussian processes, one for each of
    C classes, with one kernel K; the guess is the largest output. With the correlation
    rho = K_ab / sqrt(K_aa K_bb) of the outputs for two inputs,

    .. math:: S(\rho) = C \int dx\,dy\; \phi_2(x, y; \rho)\, \Phi_2(x, y; \rho)^{C-1},

    with the density phi_2 and the distribution function Phi_2 of two normal numbers of correlation
    rho. For two classes, and for the sign of a single output, S = 1/2 + arcsin(rho) / pi;
    S(0) = 1/C and S(1) = 1.

    The mean of S over all pairs of P inputs, equal ones included, is the expectation of
    sum_c G_c^2 over networks, where G_c is the share of the inputs for which class c is guessed:
    exact for any data and any P. Guesses without bias have sum_c G_c^2 = 1/C + (1 - 1/C) / P.

    Accuracy: 1e-5; exact for two classes. Cost: 33 quadratures of 6560 points.

    Args:
        correlation: rho, any shape, in [-1, 1].
        classes: C; 1 is the sign of a single output.

    Raises:
        UsageError: a correlation is out of range, or there is no class.

    Source: the bias: Francazi, Lucchi & Baity-Jesi 2023, arXiv:2306.00809; this form follows from
    the Gaussian process at infinite width.

    >>> float(repeated_guess(1 / np.pi, classes=2))  # orthogonal inputs, one hidden ReLU layer
    0.6031152...
    """
    rho = np.asarray(correlation, float)
    require_whole("classes", classes)
    inside = bool((np.abs(rho) <= 1 + 1e-9).all())
    require(inside, "correlation", "given", "must be between -1 and 1")
    angle = np.arccos(np.clip(rho, -1.0, 1.0))
    if classes <= 2:
        return 1 - angle / np.pi
    # smooth in the angle, where it has a root in the correlation
    known = np.linspace(0.0, np.pi, _ANGLES)
    values = [1.0, *(_same(math.cos(a), classes) for a in known[1:-1]), 0.0]
    return CubicSpline(known, values)(angle)


def share_density(share: ArrayLike, correlation: float) -> Array:
    r"""Return the density of the share G of inputs for which the first of two classes is guessed.

    Where the outputs for any two inputs have one correlation rho > 0, such as for many random
    inputs in a high dimension, the outputs of one network are those of all inputs in common plus
    independent ones. So G = Phi(sqrt(gamma) z) with a normal number z,
    gamma = rho / (1 - rho), and

    .. math:: p(G) = \gamma^{-1/2} \exp[(1 - 1/\gamma)\, \Phi^{-1}(G)^2 / 2] .

    At gamma = 1 all shares are equally likely; beyond it most networks guess one class for nearly
    all inputs, as every deep ReLU network does.

    Args:
        share: G, any shape, in (0, 1).
        correlation: rho, in (0, 1).

    Raises:
        UsageError: rho is out of range.

    Source: Francazi, Lucchi & Baity-Jesi 2023, arXiv:2306.00809.

    >>> share_density([0.1, 0.5], 0.5).tolist()
    [1.0, 1.0]
    """
    require(0 < correlation < 1, "correlation", correlation, "must be between 0 and 1")
    gamma = correlation / (1 - correlation)
    z = ndtri(np.asarray(share, float))
    return gamma**-0.5 * np.exp((1 - 1 / gamma) * z**2 / 2)


def _same(rho: float, classes: int) -> float:
    """Return S by Gauss-Legendre quadrature, in x and in y = rho x + sqrt(1 - rho^2) v."""
    # of different numbers, so that y is 0 at none of them
    (x, w), (v, u) = _normal_nodes(_NODES), _normal_nodes(_NODES + 2)
    y = rho * x[:, None] + math.sqrt(1 - rho**2) * v
    both = _both_below(np.broadcast_to(x[:, None], y.shape), y, rho)
    return classes * float(w @ both ** (classes - 1) @ u)


def _normal_nodes(count: int) -> tuple[Array, Array]:
    """Return nodes and weights for means over a normal number."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    x = _REACH * nodes
    return x, _REACH * weights * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def _both_below(h: Array, k: Array, rho: float) -> Array:
    """Return the probability that two normal numbers of correlation rho are below h and k.

    Source: Owen 1956, Ann. Math. Statist. 27, 1075.
    """
    s = math.sqrt(1 - rho**2)
    apart = (h * k < 0) / 2
    tails = owens_t(h, (k - rho * h) / (h * s)) + owens_t(k, (h - rho * k) / (k * s))
    return np.clip((ndtr(h) + ndtr(k)) / 2 - tails - apart, 0.0, 1.0)
