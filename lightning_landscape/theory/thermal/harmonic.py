r"""Overdamped Langevin steps in a quadratic valley: exact at any step size.

Along an eigenvector of curvature lambda a step of Euler and Maruyama is the autoregression
x <- (1 - lr lambda) x + sqrt(2 lr T) xi. Its stationary distribution is Gaussian, so that the
statistics of the energy U = sum_i lambda_i x_i^2/2 are known, including the error of the step size.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_landscape.errors import require

__all__ = [
    "configurational_temperature_ratio",
    "energy_cumulant",
    "energy_spectrum",
    "mean_square_displacement",
    "variance",
]

Array = NDArray[np.float64]


def variance(curvature: ArrayLike, temperature: float, lr: float) -> Array:
    """Return Var x = T / [lambda (1 - lr lambda / 2)].

    Args:
        curvature: lambda, of any shape, 0 < lr lambda < 2.
        temperature: T >= 0.
        lr: the step size.

    Raises:
        UsageError: the step is unstable, or the direction is flat and has no stationary state.

    >>> float(variance(2.0, temperature=0.1, lr=0.3))  # T / lambda = 0.05 in continuous time
    0.0714285...
    """
    lam = np.asarray(curvature, float)
    stable = bool(((lr * lam > 0) & (lr * lam < 2)).all())
    require(stable, "lr curvature", (lr * lam).tolist(), "must lie between 0 and 2")
    return temperature / (lam * (1 - lr * lam / 2))


def energy_cumulant(order: int, curvature: ArrayLike, temperature: float, lr: float) -> float:
    r"""Return the cumulant of U, `\frac{(k-1)!}{2} \sum_i (\lambda_i Var x_i)^k`.

    For lr -> 0 it is that of a Gamma distribution, (n/2) (k - 1)! T^k. Arguments as for `variance`.

    >>> energy_cumulant(1, [1.0, 1.0], temperature=1.0, lr=0.5)
    1.33333...
    """
    hot = np.asarray(curvature, float) * variance(curvature, temperature, lr)
    return math.factorial(order - 1) / 2 * float((hot**order).sum())


def energy_spectrum(
    frequencies: ArrayLike, curvature: ArrayLike, temperature: float, lr: float
) -> Array:
    r"""Return the one-sided power spectral density of U at ``frequencies`` (cycles per time unit).

    The covariance of U is `\frac12 \sum_i (\lambda_i Var x_i)^2 (1-lr\lambda_i)^{2n}` after
    n steps: a sum of the spectra of autoregressions, Lorentzians of width 2 lambda_i for lr -> 0.
    Its integral from 0 to 1/(2 lr) is Var U. Arguments as for `variance`.

    >>> f = np.linspace(0, 1, 100_001)[1:]
    >>> round(float(energy_spectrum(f, [1.0], temperature=1.0, lr=0.5).mean()), 4)  # 1/(2 lr) = 1
    0.8889
    """
    f, lam = np.asarray(frequencies, float)[..., None], np.asarray(curvature, float)
    decay = (1 - lr * lam) ** 2
    power = (lam * variance(lam, temperature, lr)) ** 2 / 2
    density = (1 - decay**2) / (1 - 2 * decay * np.cos(2 * np.pi * f * lr) + decay**2)
    return 2 * lr * (power * density).sum(-1)


def mean_square_displacement(
    times: ArrayLike, curvature: float, temperature: float, lr: float
) -> Array:
    """Return <[x(t) - x(0)]^2> in the stationary state, or along a flat direction.

    2 Var x [1 - (1 - lr lambda)^(t/lr)], which saturates at 2 T/lambda for small lr; 2 T t where
    lambda = 0.

    Args:
        times: t, multiples of lr.
        curvature: lambda, 0 <= lr lambda < 2.
        temperature: T >= 0.
        lr: the step size.

    >>> mean_square_displacement([1.0, 100.0], 1.0, temperature=0.5, lr=0.01).round(4)
    array([0.6372, 1.005 ])
    """
    t = np.asarray(times, float)
    if curvature == 0:
        return 2 * temperature * t
    decay = (1 - lr * curvature) ** np.round(t / lr)
    return 2 * variance(curvature, temperature, lr) * (1 - decay)


def configurational_temperature_ratio(curvature: ArrayLike, temperature: float, lr: float) -> float:
    """Return <|grad U|^2> / (T tr H): 1 in continuous time, 1/(1 - lr lambda/2) for one curvature.

    Arguments as for `variance`.

    >>> configurational_temperature_ratio([1.0, 1.0], temperature=0.1, lr=1.0)
    2.0
    """
    lam = np.asarray(curvature, float)
    return float((lam**2 * variance(lam, temperature, lr)).sum() / (temperature * lam.sum()))
