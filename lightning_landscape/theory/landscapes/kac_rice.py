"""Mean numbers of stationary points of the spherical p-spin glass, by index, at any N."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigvalsh_tridiagonal

from lightning_landscape.errors import require

__all__ = ["mean_by_index"]

Array = NDArray[np.float64]


def mean_by_index(p: int, N: int, samples: int = 10_000, seed: int = 0) -> tuple[Array, Array]:
    r"""Return the mean numbers of stationary points of index 0 … N-1, and their errors, each (N,).

        <n_k> = 2 sqrt(2/p) (p-1)^{N/2} E exp[-(p-2) x_k^2 / (2 p)]

    with x_0 <= … <= x_{N-1} the eigenvalues of the GOE of N x N matrices with the weight
    exp(-x^2/2): the Kac-Rice formula, exact at every N for isotropic Gaussian couplings. <n_0> is
    the mean number of minima, and that of transition states is <n_1>; x -> -x for odd p, and
    the symmetry of the ensemble for even p, make <n_k> = <n_{N-1-k}>, which is used.

    The average is over matrices drawn in tridiagonal form: N^2 operations a sample. The sum over k
    is `random_matrices.mean_stationary_points`, without any sampling.

    Args:
        p: of the pure model, >= 2.
        N: the number of spins.
        samples: how many matrices.
        seed: of these.

    Raises:
        UsageError: an argument out of range.

    Source: Auffinger, Ben Arous, Černý 2013, arXiv:1003.1129, theorem 2.1 and lemma 3.1; Dumitriu,
    Edelman 2002, math-ph/0206043, for the tridiagonal form.

    >>> mean, error = mean_by_index(p=3, N=3, samples=2000)  # exactly 3.139, 4.275, 3.139
    >>> bool((abs(mean - [3.139, 4.275, 3.139]) < 4 * error).all())
    True
    """
    require(p >= 2, "p", p, "must be at least 2")
    require(N >= 2, "N", N, "must be at least 2")
    require(samples >= 2, "samples", samples, "must be at least 2")
    rng = np.random.default_rng(seed)
    diagonals = rng.standard_normal((samples, N))
    beside = np.sqrt(rng.chisquare(np.arange(N - 1, 0, -1), (samples, N - 1)) / 2)
    x = np.stack([eigvalsh_tridiagonal(*matrix) for matrix in zip(diagonals, beside, strict=True)])
    weights = np.exp(-(p - 2) * x**2 / (2 * p))
    weights = (weights + weights[:, ::-1]) / 2
    scale = 2 * math.sqrt(2 / p) * (p - 1) ** (N / 2)
    return scale * weights.mean(0), scale * weights.std(0, ddof=1) / math.sqrt(samples)
