r"""Linear response, effective temperature and the distance of copies.

The integrated response to a field h that acts on every degree of freedom from tw on is

    chi(t, tw) = (1/N) sum_i d<x_i(t)> / dh_i,   E -> E - h . x.

In equilibrium the fluctuation-dissipation theorem holds, T chi = C(t, t) - C(t, tw) for the
correlation C = <x . x>/N, or T chi = Delta/2 for the mean squared displacement. Out of it,
T_eff = d(Delta/2) / d chi is the temperature that a slow thermometer would show (Cugliandolo,
Kurchan, Peliti 1997, cond-mat/9611044); X = T / T_eff is the fluctuation-dissipation ratio.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.errors import require, require_kind
from lightning_landscape.observables.statistics import jackknife

__all__ = [
    "FAST",
    "SLOW",
    "copy_distance",
    "effective_temperature",
    "field_response",
    "noise_response",
    "ratio_temperature",
]

Array = NDArray[np.float64]

# Where the decay is fast, as in equilibrium, and where it is slow, in fractions of its range.
FAST, SLOW = (0.0, 0.25), (0.5, 1.0)


@checked
def noise_response(x: Tensor, start: Tensor, score: Tensor) -> Tensor:
    r"""Return the integrated response from the noise that drove a Langevin run, (R,), float64.

        chi(t, tw) = <[x(t) - x(tw)] . S(t, tw)> / N,   S = sum_{m=tw}^{t-1} (lr_m / a_m) \xi_m

    for the scheme x <- x - lr grad E + a xi with independent standard normals xi and
    a = sqrt(2 lr T): a field adds lr h to a step, and so does lr h / a added to its xi, so by
    Gaussian integration by parts d<x(t)>/dh_m = (lr_m / a_m) <x(t) xi_m>. This is exact for the
    discrete scheme at any step size (the noise of a step is independent of the point it starts
    from, as in Ito's convention), and in the continuum it is R(t, s) = <x(t) xi(s)> / 2T. On the
    sphere noise and field are projected alike, so it holds for the noise before the projection.
    x(tw) is subtracted because it is independent of the later noise: same mean, less scatter.

    The standard error of a replica is about sqrt(Delta (t - tw) / (2 T N)): it grows with time and
    with 1/T, but not with the response. At long times a field costs less.

    Args:
        x: configurations at t, shape (R, N).
        start: configurations at tw, shape (R, N).
        score: S, shape (R, N).

    Source: Chatelain 2003, J. Phys. A 36, 10739, and Ricci-Tersenghi 2003, Phys. Rev. E 68,
    065104 (Ising spins); Warren and Allen 2012, arXiv:1207.4691 (Brownian dynamics).
    """
    return (x.double() - start.double()).mul_(score.double()).mean(-1)


@checked
def field_response(plus: Tensor, minus: Tensor, signs: Tensor, field: float) -> Tensor:
    r"""Return the integrated response of twins in opposite fields, shape (R,), float64.

        chi = (x_+ - x_-) . \epsilon / (2 h N),   up to O(h^2)

    Args:
        plus: configurations in the field +h epsilon, shape (R, N).
        minus: those in -h epsilon, shape (R, N).
        signs: epsilon_i = +-1, shape (R, N).
        field: h.

    >>> x = torch.ones(1, 4).double()  # in the well |x|^2 / 2, where x = h epsilon in the end
    >>> field_response(0.1 * x, -0.1 * x, x, 0.1).item()
    1.0
    """
    for name, x in (("plus", plus), ("minus", minus), ("signs", signs)):
        require_kind(name, x, Tensor)
        shapes = (tuple(x.shape), tuple(plus.shape))
        require(x.dim() == 2 and x.shape == plus.shape, f"{name}.shape", shapes, "must be (R, N)")
    require(field > 0, "field", field, "must be > 0")
    return torch.linalg.vecdot((plus - minus).double(), signs.double()) / (
        2 * field * len(signs[0])
    )


@checked
def copy_distance(x: Tensor) -> Tensor:
    r"""Return d^2 = |x_a - x_b|^2 / N, the mean over pairs of copies a < b, shape (R,), float64.

    Args:
        x: configurations of the copies, shape (copies, R, N).

    >>> copy_distance(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])).item()
    1.0
    """
    # twice the unbiased variance over the copies is the mean over pairs of half the squares
    return 2 * x.double().var(0, correction=1).mean(-1)


@checked
def effective_temperature(
    decay: ArrayLike, chi: ArrayLike, window: tuple[float, float]
) -> tuple[float, float]:
    """Return T_eff, the inverse slope of chi against the decay, and its jackknife error.

    A straight line is fitted by least squares, with equal weights, to the means over replicas where
    the mean decay lies within ``window``. chi is fitted as a function of the decay and not the
    other way round, because it is the noisier of the two.

    Args:
        decay: Delta / 2, which is 1 - C on the sphere; shape (times, R), or (times,) for a curve
            without replicas; nan where not measured.
        chi: the integrated response at the same times, of the same shape.
        window: from where to where, in fractions of the largest mean decay.

    Returns:
        T_eff and its standard error over replicas; nan with fewer than two points.

    >>> decay = np.linspace(0.0, 0.6, 7)[:, None] * [1.0, 1.1]
    >>> round(effective_temperature(decay, decay / 0.3, (0.0, 1.0))[0], 6)
    0.3
    """
    lower, upper = window
    require(0 <= lower < upper <= 1, "window", window, "must be two increasing fractions")
    pair = np.stack([np.asarray(decay, float), np.asarray(chi, float)])
    pair = pair.reshape(*pair.shape[:2], -1)
    pair = pair[:, np.isfinite(pair).all((0, 2))]
    mean = pair[0].mean(-1)
    inside = (mean >= lower * mean.max(initial=0)) & (mean <= upper * mean.max(initial=0))
    if inside.sum() < 2:
        return float("nan"), float("nan")
    value, error = jackknife(_inverse_slope, pair[:, inside])
    return float(value), float(error)


def ratio_temperature(decay: ArrayLike, chi: ArrayLike) -> tuple[float, float]:
    """Return the ratio of decay and chi at one time, and its jackknife error.

    At times too short for a drift or a force to matter it is the strength of the noise alone:
    T for Langevin, `gradient_noise.temperature_of_sgd` for SGD.

    Args:
        decay: as for `effective_temperature`, but at that one time: shape (R,).
        chi: likewise.
    """
    pair = np.stack([np.asarray(decay, float), np.asarray(chi, float)]).reshape(2, -1)
    value, error = jackknife(lambda pair: np.asarray(np.divide(*pair.mean(-1))), pair)
    return float(value), float(error)


def _inverse_slope(pair: Array) -> Array:
    x, y = pair.mean(-1)
    x = x - x.mean()
    return np.asarray((x @ x) / (x @ y))
