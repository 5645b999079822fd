"""Stationary points of a network as stationary points of a wider one."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_landscape.errors import require

__all__ = ["embedding_spectrum"]

Array = NDArray[np.float64]


def embedding_spectrum(
    spectrum: ArrayLike, coupling: ArrayLike, penalty: float, slope: float = 1.0
) -> Array:
    r"""Return the Hessian spectrum after a hidden unit with zero weights has been added.

    For one hidden layer, f(x) = \sum_a v_a \sigma(w_a . x + b_a) + c, with \sigma(0) = 0 and the
    penalty lambda |theta|^2, a stationary point stays one if a unit with w = b = v = 0 is added.
    The energy changes in the new weights to second order by \sigma'(0) v . C (w, b) and the
    penalty, with

        C = (1/P) \sum_\mu (d loss / d f) (x_\mu, 1)^T,   shape (k, d + 1),

    so that the new eigenvalues are 2 lambda +- \sigma'(0) s_i, s_i the min(k, d + 1) singular
    values of C, and 2 lambda for the remaining |d + 1 - k|. The index rises by the number of s_i
    above 2 lambda / \sigma'(0): minima of a narrow network become saddles of wider ones.

    Args:
        spectrum: the eigenvalues in the narrow network, shape (n,).
        coupling: C at the stationary point.
        penalty: lambda.
        slope: \sigma'(0); 1 for tanh.

    Returns:
        the eigenvalues in the wider network, ascending, shape (n + k + d + 1,).

    Raises:
        UsageError: C is not a matrix.

    Source: the embedding, Fukumizu, Amari 2000, Neural Networks 13, 317; its spectrum is derived
    here.

    >>> embedding_spectrum([1.0], [[3.0, 4.0]], penalty=0.5).tolist()
    [-4.0, 1.0, 1.0, 6.0]
    """
    C = np.asarray(coupling, dtype=float)
    require(C.ndim == 2, "coupling", f"of shape {C.shape}", "must be a matrix (k, d + 1)")
    s = slope * np.linalg.svd(C, compute_uv=False)
    rest = np.zeros(abs(C.shape[0] - C.shape[1]))
    added = 2 * penalty + np.concatenate([s, -s, rest])
    return np.sort(np.concatenate([np.asarray(spectrum, dtype=float), added]))
