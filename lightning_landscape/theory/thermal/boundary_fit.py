"""Fit of the exponential-wall model to measured energy fluctuations."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares

from lightning_landscape.errors import require
from lightning_landscape.theory.thermal.valleys import ExponentialWalls

__all__ = ["fit_walls"]

Array = NDArray[np.float64]


def fit_walls(
    temperature: ArrayLike,
    dimension: tuple[ArrayLike, ArrayLike],
    from_variance: tuple[ArrayLike, ArrayLike],
    curvature_over_energy: float = 1.0,
) -> ExponentialWalls | None:
    r"""Return the `ExponentialWalls` closest to 2 <U>/T and 2 Var U/T^2 at K temperatures.

    Least squares, weighted by the errors, in ln M and ln u, where u = eps e^(-kappa L) is the
    lowest energy of a wall. L and eps enter only through u, and are returned with eps = 1. Both
    data sets are 2 M a(u/T) up to terms of order z = u/T: M and u can be distinguished only by how
    slowly the data fall with T, which takes at least a decade of temperatures. If the data rise
    with T, or fall as a power of T, walls do not describe them: the fit ends at the boundary of
    the search region, and None is returned.

    Args:
        temperature: T > 0, shape (K,), K >= 2.
        dimension: 2 <U>/T and its errors, each (K,).
        from_variance: 2 Var U/T^2 and its errors, each (K,).
        curvature_over_energy: tr H/<U> = kappa^2.

    Raises:
        UsageError: there are fewer than two temperatures, or an error is not positive.

    >>> walls, T = ExponentialWalls(number=30, length=12), np.array([1e-4, 1e-3, 1e-2])
    >>> from_mean, from_var, _ = walls.dimensions(T)
    >>> fitted = fit_walls(T, (from_mean, 0.1 * from_mean), (from_var, 0.1 * from_var))
    >>> round(fitted.number, 3), round(fitted.length, 3)
    (30.0, 12.0)
    """
    T = np.asarray(temperature, float)
    require(len(T) >= 2, "temperature", T.tolist(), "needs two or more")
    values = np.concatenate([np.asarray(x[0], float) for x in (dimension, from_variance)])
    errors = np.concatenate([np.asarray(x[1], float) for x in (dimension, from_variance)])
    require(bool((errors > 0).all()), "errors", errors.tolist(), "must be greater than 0")

    def model(parameters: Array) -> ExponentialWalls:
        number, lowest = parameters
        kappa = math.sqrt(curvature_over_energy)
        return ExponentialWalls(math.exp(number), float(-lowest / kappa), kappa)

    def residuals(parameters: Array) -> Array:
        return (np.concatenate(model(parameters).dimensions(T)[:2]) - values) / errors

    cold, few = math.log(T.min()), math.log(max(values.mean(), 1e-3))
    starts = ((few + math.log(depth / 2), cold - depth) for depth in (2.0, 8.0, 20.0))
    bounds = ([few - 10, cold - 50], [few + 10, cold + 3])
    fits = [least_squares(residuals, start, bounds=bounds, xtol=1e-12) for start in starts]
    best = min(fits, key=lambda fit: fit.cost)
    inside = all(
        a + 0.01 < x < b - 0.01 for a, x, b in zip(bounds[0], best.x, bounds[1], strict=True)
    )
    return model(best.x) if inside else None
