"""Initialisations at which signals and gradients keep their size, and their classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import brentq

from lightning_landscape.activations import Activation
from lightning_landscape.errors import UsageError, require
from lightning_landscape.theory.wide_networks.averages import (
    Array,
    GaussianAverages,
    evaluate,
    resolve,
)

__all__ = ["Criticality", "Kind", "Rates", "criticality", "learning_rates"]

Kind = Literal["scale-invariant", "vanishing", "vanishing, kinked", "half-stable"]

_SMALL = 1e-3  # K^(1/p) from which limits K -> 0 are extrapolated
_TINY = 1e-30  # where the slopes on either side of 0 are read off
_SEARCH = np.geomspace(1e-3, 300.0, 60)  # K of a half-stable point


@dataclass(frozen=True)
class Criticality:
    """The critical initialisation of an activation, and how signals behave there.

    - ``scale-invariant``: every K is a fixed point (ReLU, leaky ReLU, linear).
    - ``vanishing``: K* = 0, approached as K ~ amplitude / l (tanh, erf, sin).
    - ``vanishing, kinked``: K* = 0 where sigma' or sigma'' jumps at z = 0: K' = K - c K^(3/2) and
      K ~ amplitude / l^2, amplitude = (2 / c)^2 (ELU, SELU, softsign).
    - ``half-stable``: K* > 0, stable from one side only (GELU, SWISH, hard swish, mish). The other
      side is left over thousands of layers.

    Attributes:
        kind: the class.
        K: the fixed point K*; nan where it is any.
        weight_variance: C_W.
        bias_variance: C_b.
        p_perpendicular: limit of l (1 - chi_perp).
        p_parallel: limit of l (1 - chi_par).
        amplitude: limit of K l^p, p = p_parallel - 1; nan unless K vanishes.
        nu: limit of V / (l K^2), the relative variance of the metric in units of l / n.
    """

    kind: Kind
    K: float
    weight_variance: float
    bias_variance: float
    p_perpendicular: float
    p_parallel: float
    amplitude: float
    nu: float


def criticality(activation: str | Activation) -> Criticality:
    r"""Return the critical initialisation of an activation, solved and classified.

    A half-stable point solves d<sigma^2>/dK = <sigma'^2>, then C_W = 1 / <sigma'^2> and
    C_b = K* - C_W <sigma^2> >= 0. With one-sided slopes a_+ and a_- at 0, A_2 = (a_+^2 + a_-^2)/2
    and A_4 = (a_+^4 + a_-^4)/2, the others have C_W = 1 / A_2 and C_b = 0, and
    nu = 3 A_4 / A_2^2 - 1 times 1 (scale-invariant) or 1/3 (vanishing).

    Accuracy: 1e-10 for C_W and C_b, 1e-9 for exponents and amplitudes. Cost: 10 ms.

    Source: Roberts, Yaida & Hanin 2021, arXiv:2106.10165, chapter 5; the kinked class is derived
    here: K' / K = 1 - c sqrt(K) where sigma' or sigma'' jumps at 0.

    Raises:
        UsageError: there is no such point, as for softplus and sigmoid.

    >>> point = criticality("swish")
    >>> point.kind, round(point.K, 6), round(point.weight_variance, 8)
    ('half-stable', 14.320174, 1.98800468)
    """
    sigma = resolve(activation)
    zero, above, below = evaluate(sigma.value, np.array([0.0, _TINY, -_TINY]))
    slopes = np.array([above, -below]) / _TINY
    if abs(zero) < 1e-12 and slopes.any():
        C_W = 2 / float((slopes**2).sum())
        S0 = 1.5 * C_W**2 * float((slopes**4).sum()) - 1
        if _is_scale_invariant(sigma, slopes):
            return Criticality("scale-invariant", math.nan, C_W, 0.0, 0.0, 0.0, math.nan, S0)
        point = _vanishing(sigma, C_W, S0)
        if point is not None:
            return point
    point = _half_stable(sigma)
    if point is not None:
        return point
    raise UsageError(
        f"activation = {sigma.name}: must have a critical initialisation, which this one has not, "
        "since its gradients keep their size only if the bias variance is negative; "
        "use tanh, relu or gelu"
    )


def _is_scale_invariant(sigma: Activation, slopes: Array) -> bool:
    z = np.geomspace(1e-3, 1e3, 13)
    above, below = evaluate(sigma.value, z), evaluate(sigma.value, -z)
    return bool(np.allclose(above, slopes[0] * z) and np.allclose(below, -slopes[1] * z))


def _limit(f: Callable[[float], float]) -> float:
    """Return f(0) from f at e, e/2, e/4 and e/8, for a power series in e."""
    values = np.array([f(_SMALL / 2**k) for k in range(4)])
    for order in range(1, 4):
        values = (2**order * values[1:] - values[:-1]) / (2**order - 1)
    return float(values[0])


def _vanishing(sigma: Activation, C_W: float, S0: float) -> Criticality | None:
    """Return the class of K* = 0, or None where K = 0 is unstable."""

    def loss(K: float) -> float:
        return 1 - C_W * GaussianAverages(sigma, K).square / K

    far, near = loss(1e-6), loss(1e-8)
    if near <= 0:
        return None
    p = round(2 / math.log10(far / near))  # 1 - K'/K goes as K^(1/p)
    c = _limit(lambda e: loss(e**p) / e)
    d = _limit(lambda e: (1 - C_W * GaussianAverages(sigma, e**p).slope_square) / e)
    kind: Kind = "vanishing" if p == 1 else "vanishing, kinked"
    return Criticality(kind, 0.0, C_W, 0.0, p * d / c, p + 1.0, (p / c) ** p, S0 / 3)


def _half_stable(sigma: Activation) -> Criticality | None:
    def excess(K: float) -> float:
        average = GaussianAverages(sigma, K)
        return average.derivative(average.value**2) - average.slope_square

    values = [excess(K) for K in _SEARCH]
    for k in range(len(_SEARCH) - 1):
        if values[k] * values[k + 1] < 0:
            K = float(brentq(excess, _SEARCH[k], _SEARCH[k + 1], xtol=1e-13, rtol=1e-14))
            average = GaussianAverages(sigma, K)
            C_W = 1 / average.slope_square
            C_b = K - C_W * average.square
            if C_b >= 0:
                nu = C_W**2 * average.square_variance / K**2
                return Criticality("half-stable", K, C_W, C_b, 0.0, 0.0, math.nan, nu)
    return None


class Rates(NamedTuple):
    """Learning rates: those of layer l are lambda_b and lambda_W / n_{l-1}, each shape (L,)."""

    bias: Array
    weight: Array


def learning_rates(
    activation: str | Activation, depth: int, bias_rate: float = 1.0, weight_rate: float = 1.0
) -> Rates:
    """Return learning rates by which every layer contributes alike to the tangent kernel.

    lambda = rate / L where signals keep their size, and with p = p_perp where they vanish
    lambda_b = rate_b l^-p L^(p-1) and lambda_W = rate_W (L / l)^(p-1): the tangent kernel then
    stays of order 1 at any depth.

    Source: Roberts, Yaida & Hanin 2021, arXiv:2106.10165, chapter 9.

    Args:
        activation: a name in `ACTIVATIONS`, or an `Activation`.
        depth: L.
        bias_rate: rate_b.
        weight_rate: rate_W.

    Raises:
        UsageError: the activation has no critical initialisation.
    """
    require(depth >= 1, "depth", depth, "must be at least 1")
    point = criticality(activation)
    layers = np.arange(1, depth + 1, dtype=float)
    if not point.kind.startswith("vanishing"):
        return Rates(np.full(depth, bias_rate / depth), np.full(depth, weight_rate / depth))
    p = point.p_perpendicular
    return Rates(
        bias_rate * layers**-p * depth ** (p - 1), weight_rate * (depth / layers) ** (p - 1)
    )
