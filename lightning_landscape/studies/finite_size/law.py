r"""The limit of infinite size and of a vanishing step, by weighted least squares.

    X(N, dt) = X + sum_k b_k N^{-w_k} + c dt

is linear in X, b and c: with fixed exponents w_k the limit X is a weighted sum of the means at
the points (N, dt), with weights that depend on the errors only. The limit and its statistical
error therefore follow without iteration, for all times of a curve at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_landscape.errors import require

__all__ = ["Law", "Limit", "extrapolate"]

Array = NDArray[np.float64]


class Limit(NamedTuple):
    """The limit of a quantity, for each entry of its arrays.

    Attributes:
        value: X.
        error: the statistical error and the model error, which is the difference of ``shorter``
            from X, added in quadrature.
        statistical: the error propagated from those of the means.
        shorter: X by a shorter law, without the last of several terms, and without the smallest
            size; X itself where too few sizes would remain.
        weights: X = sum of weights times means, shape (points, …).
        coefficients: X, b_1, …, and c where there are several steps, shape (coefficients, …).
        covariance: of the coefficients, shape (coefficients, coefficients, …).
        chi2: the sum of the squared residuals in units of the errors.
        freedom: points less coefficients.
    """

    value: Array
    error: Array
    statistical: Array
    shorter: Array
    weights: Array
    coefficients: Array
    covariance: Array
    chi2: Array
    freedom: int


class Law(NamedTuple):
    """The corrections to the limit.

    Attributes:
        exponents: the w_k > 0 of N^-w_k.
        order: of the step: the power of dt in its correction, 1 for Euler-Maruyama.
    """

    exponents: tuple[float, ...] = (1.0,)
    order: float = 1.0

    def check(self, sizes: Sequence[int], steps: Sequence[float]) -> None:
        """Raise a `UsageError` if the points do not determine the coefficients."""
        positive = len(self.exponents) > 0 and all(w > 0 for w in self.exponents)
        require(positive, "exponents", self.exponents, "must be positive numbers")
        enough = len({*sizes}) > len(self.exponents)
        required = f"must be at least {len(self.exponents) + 1} for exponents {self.exponents}"
        require(enough, "number of sizes", len({*sizes}), required)

    def design(self, sizes: ArrayLike, steps: ArrayLike) -> Array:
        """Return the matrix of the fit, shape (points, coefficients).

        >>> Law((1.0,)).design([10, 20, 20], [0.1, 0.1, 0.2])
        array([[1.  , 0.1 , 0.1 ],
               [1.  , 0.05, 0.1 ],
               [1.  , 0.05, 0.2 ]])
        """
        N, dt = np.asarray(sizes, float), np.asarray(steps, float)
        columns = [np.ones_like(N), *(N**-w for w in self.exponents)]
        if np.ptp(dt) > 0:
            columns.append(dt**self.order)
        return np.stack(columns, axis=1)


def extrapolate(
    law: Law, sizes: ArrayLike, steps: ArrayLike, means: ArrayLike, errors: ArrayLike
) -> Limit:
    """Return the limits N to infinity and dt to 0 of quantities known at some points.

    The model error is the whole difference from a fit without the last term of the law (if there
    are several) and without the smallest size, where that term matters most. It contains what the
    last term contributes beyond the smallest size, which is more than a next term should, so that
    the error is on the safe side.

    Args:
        law: the corrections.
        sizes: N of each point, shape (points,).
        steps: dt of each point, shape (points,).
        means: shape (points, …).
        errors: their standard errors, > 0, of the same shape.

    Raises:
        UsageError: fewer sizes than the law has coefficients.

    >>> N = np.array([10.0, 20.0, 40.0])
    >>> limit = extrapolate(Law((1.0,)), N, 0 * N, 3 + 2 / N, 0.1 + 0 * N)
    >>> round(float(limit.value), 6), round(float(limit.coefficients[1]), 6)
    (3.0, 2.0)
    """
    N, dt = np.asarray(sizes, float), np.asarray(steps, float)
    X, errors = np.asarray(means, float), np.asarray(errors, float)
    law.check([*N], [*dt])
    design = law.design(N, dt)
    weights, covariance, coefficients, chi2 = _fit(design, X, errors)
    statistical = np.sqrt(covariance[0, 0])
    value = shorter = coefficients[0]
    of_sizes, kept = 1 + len(law.exponents), N > N.min()
    terms = 1 + len(law.exponents[:-1] or law.exponents)
    if len({*N[kept]}) >= terms:  # the effect of the step is left as it is
        at_no_step = X - np.tensordot(design[:, of_sizes:], coefficients[of_sizes:], 1)
        shorter = _fit(design[kept, :terms], at_no_step[kept], errors[kept])[2][0]
    return Limit(
        value=value,
        error=np.hypot(statistical, shorter - value),
        statistical=statistical,
        shorter=shorter,
        weights=weights,
        coefficients=coefficients,
        covariance=covariance,
        chi2=chi2,
        freedom=len(N) - len(coefficients),
    )


def _fit(A: Array, X: Array, errors: Array) -> tuple[Array, Array, Array, Array]:
    """Return the weights of the limit, the covariance, the coefficients and chi^2."""
    y, sigma = X.reshape(len(A), -1).T, errors.reshape(len(A), -1).T  # (entries, points)
    scaled = A / sigma[..., None]
    covariance = np.linalg.inv(scaled.mT @ scaled)  # (entries, coefficients, coefficients)
    solve = covariance @ (scaled / sigma[..., None]).mT  # (entries, coefficients, points)
    coefficients = (solve @ y[..., None])[..., 0]
    residuals = (y - coefficients @ A.T) / sigma
    shape, K = X.shape[1:], A.shape[1]
    found = (
        solve[:, 0].T.reshape(X.shape),
        covariance.transpose(1, 2, 0).reshape(K, K, *shape),
        coefficients.T.reshape(K, *shape),
        np.square(residuals).sum(-1).reshape(shape),
    )
    weights, inverse, fitted, chi2 = (np.asarray(values, dtype=float) for values in found)
    return weights, inverse, fitted, chi2
