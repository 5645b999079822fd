"""How deep a network of width n may be: information between outputs, exact and expanded."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln, logsumexp

from lightning_landscape.errors import require
from lightning_landscape.theory.wide_networks.averages import Array

__all__ = ["mutual_information", "mutual_information_series", "optimal_aspect_ratio"]


def optimal_aspect_ratio(nu: float, outputs: int = 1) -> float:
    """Return r* = 4 / ((20 + 3 n_L) nu), an order of magnitude for the largest useful L / n.

    The maximum over r of the mutual information of two halves of n_L outputs, *cut after its second
    order* in V / (n K^2) = nu r. The exact information has no maximum (`mutual_information`): r*
    marks where the next order is as large as the leading one, and fluctuations begin to hurt.

    Source: Roberts, Yaida & Hanin 2021, arXiv:2106.10165, appendix A; rederived here.

    Args:
        nu: relative variance of the metric in units of L / n, `Criticality.nu`.
        outputs: n_L.

    >>> round(optimal_aspect_ratio(nu=5.0), 4)
    0.0348
    """
    require(nu > 0, "nu", nu, "must be > 0")
    require(outputs >= 1, "outputs", outputs, "must be at least 1")
    return 4 / ((20 + 3 * outputs) * nu)


def mutual_information_series(v: float, outputs: tuple[int, int] = (1, 1)) -> float:
    """Return the mutual information (in nats) of n_1 and n_2 outputs to second order in v.

    (n_1 n_2 / 8) (v^2 - (20 + 3 n_1 + 3 n_2) v^3 / 6), v = V / (n K^2): of a Gaussian with a
    random scale of any law with relative variance v and cumulants of the order of a 1/n expansion.
    Its maximum is at v = 4 / (20 + 3 (n_1 + n_2)).

    Source: as `optimal_aspect_ratio`.
    """
    n1, n2 = _halves(outputs)
    return n1 * n2 / 8 * (v**2 - (20 + 3 * (n1 + n2)) / 6 * v**3)


def mutual_information(v: float, outputs: tuple[int, int] = (1, 1)) -> float:
    """Return the exact mutual information (in nats) of n_1 and n_2 outputs of random scale.

    Outputs z = sqrt(G) x, x ~ N(0, 1), of a network whose metric G is log-normal with relative
    variance v. It rises with v without a maximum. From entropies of the radius by trapezoid rules
    in log |z| and log G: 1e-9. Cost: 10 ms.

    Args:
        v: Var G / (E G)^2, > 0.
        outputs: n_1 and n_2.

    >>> round(mutual_information(0.05), 6)
    0.000258
    """
    require(v > 0, "v", v, "must be > 0")
    n1, n2 = _halves(outputs)
    return _entropy(n1, v) + _entropy(n2, v) - _entropy(n1 + n2, v)


def _halves(outputs: tuple[int, int]) -> tuple[int, int]:
    fits = len(outputs) == 2 and min(outputs) >= 1
    require(fits, "outputs", outputs, "must be two numbers, each at least 1")
    return outputs


def _entropy(n: int, v: float) -> float:
    """Return -E log p(z) of z in R^n, given log G ~ N(-s^2 / 2, s^2), s^2 = log(1 + v)."""
    s = math.sqrt(math.log1p(v))
    x = np.linspace(-9.0, 9.0, 241)
    log_G = s * x - s**2 / 2
    log_weight = -(x**2) / 2 - logsumexp(-(x**2) / 2)
    log_r: Array = np.linspace(-9 * s / 2 - 37 / n - 3, 9 * s / 2 + 3, 1200)
    exponent = -n / 2 * (math.log(2 * math.pi) + log_G) - np.exp(2 * log_r[:, None] - log_G) / 2
    log_p = logsumexp(exponent + log_weight, axis=1)
    log_surface = math.log(2) + n / 2 * math.log(math.pi) - gammaln(n / 2)
    weight = np.exp(log_p + log_surface + n * log_r) * (log_r[1] - log_r[0])
    return -float(weight @ log_p)
