"""Predictions of trained networks of infinite width."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import solve

from lightning_landscape.errors import require
from lightning_landscape.theory.wide_networks.averages import Array

__all__ = ["Prediction", "bayesian", "gradient_descent"]


class Prediction(NamedTuple):
    """Outputs of an ensemble of trained networks.

    Attributes:
        mean: over initialisations, shape (M, k) or (M,) as the targets are.
        covariance: between test inputs, of each output, shape (M, M).
    """

    mean: Array
    covariance: Array


def gradient_descent(kernel: Array, tangent: Array, targets: Array) -> Prediction:
    """Return the prediction of gradient descent on the squared loss, run to its end.

    With A = Theta_bA Theta_AA^-1, for training inputs A and test inputs b, the mean is A y and the
    covariance K_bb - A K_Ab - (A K_Ab)^T + A K_AA A^T. Infinite width, leading order in L / n: at
    finite width the variance is larger by a factor 1 + O(1 / n), about 1 + 14 / n for tanh at L = 3
    and 8 images; see `gradient_flow_first_order`.

    Cost: one factorisation of (A, A). Source: Jacot, Gabriel & Hongler 2018, arXiv:1806.07572;
    Lee et al. 2019, arXiv:1902.06720.

    Args:
        kernel: K of the last layer for A training inputs, then M test inputs; (A + M, A + M).
        tangent: the tangent kernel of the same inputs.
        targets: y, shape (A, k) or (A,).

    Raises:
        UsageError: the shapes differ, or Theta_AA is singular.
    """
    require(kernel.shape == tangent.shape, "tangent", tangent.shape, f"must be {kernel.shape}")
    train = _train(kernel, targets)
    weights = _weights(tangent, train)
    test = slice(train.stop, None)
    mixed = weights @ kernel[train, test]
    inside = weights @ kernel[train, train] @ weights.T
    return Prediction(weights @ targets, kernel[test, test] - mixed - mixed.T + inside)


def bayesian(kernel: Array, targets: Array) -> Prediction:
    """Return the posterior of networks of infinite width that fit the targets exactly.

    Mean K_bA K_AA^-1 y and covariance K_bb - K_bA K_AA^-1 K_Ab: the prior on outputs is Gaussian
    with the kernel of the last layer. Leading order in L / n.

    Source: Neal 1996; Lee et al. 2018, arXiv:1711.00165.

    Args:
        kernel: K of the last layer for A training inputs, then M test inputs; (A + M, A + M).
        targets: y, shape (A, k) or (A,).

    >>> result = bayesian(np.array([[1.0, 0.5], [0.5, 1.0]]), targets=np.array([2.0]))
    >>> result.mean.tolist(), result.covariance.tolist()
    ([1.0], [[0.75]])
    """
    return gradient_descent(kernel, kernel, targets)


def _train(kernel: Array, targets: Array) -> slice:
    A = len(targets)
    fits = 0 < A < len(kernel) and kernel.shape == (len(kernel), len(kernel))
    shape = f"must be square, of {A} training inputs and the test inputs"
    require(fits, "kernel", kernel.shape, shape)
    return slice(0, A)


def _weights(kernel: Array, train: slice) -> Array:
    """Return A = kernel_bA kernel_AA^-1, shape (M, A)."""
    inner, across = kernel[train, train], kernel[train.stop :, train]
    condition = np.linalg.cond(inner)
    require(condition < 1e14, "kernel", f"of condition {condition:.1e}", "must be invertible")
    return solve(inner, across.T).T
