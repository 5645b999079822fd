"""What the solvers return: numbers that carry their own evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Eigenpairs", "Estimate", "Spectrum", "Traces"]


@dataclass(frozen=True)
class Estimate:
    """A stochastic estimate and its standard error.

    Attributes:
        value: the mean over the random vectors, replica axis first, float64.
        error: its standard error, same shape; nan where there was a single random vector.
    """

    value: Tensor
    error: Tensor

    @classmethod
    def of(cls, samples: Tensor, exact: Tensor) -> Estimate:
        """Return the mean over the random vectors of ``samples``, (R, n, …), plus an exact part."""
        n = samples.shape[1]
        error = samples.std(1).div(n**0.5) if n > 1 else samples[:, 0] * torch.nan
        return cls(exact + samples.mean(1), error)


@dataclass(frozen=True)
class Eigenpairs:
    r"""Eigenpairs of R symmetric matrices, certified by their residuals.

    For unit vectors y an eigenvalue of H lies within `|Hy - \theta y|` of
    `\theta`, and within residual^2 / gap where the pair is isolated. Residuals say that
    what was found is right; they cannot say that nothing was missed (see `lanczos`, ``block``).

    Attributes:
        eigenvalues: shape (R, k), float64, the most wanted first; for both ends, descending.
        eigenvectors: unit vectors, shape (R, k, N), in the dtype of the operator.
        residuals: `|Hy - \theta y|`, shape (R, k), float64.
        converged: residual <= tolerance |eigenvalue| + 10 eps max|eigenvalue|, shape (R, k).
        separated: whether the best pair that was left out, at each end, has an interval
            `\theta \pm` residual that does not reach those taken, or has converged itself,
            shape (R,). False after the budget ran out: one that belongs here may be missing.
        orthogonality: largest entry of `|Y Y^T - 1|`, shape (R,); near 1 means ghosts.
        asymmetry: largest `|q_i^T H q_j - q_j^T H q_i|` met, relative to the largest
            eigenvalue, shape (R,). Above 1e-4 the products are not those of one symmetric matrix,
            for example because dropout draws a new mask at each.
        products: matrix-vector products spent per replica.
        tolerance: the relative residual that was asked for.
    """

    eigenvalues: Tensor
    eigenvectors: Tensor
    residuals: Tensor
    converged: Tensor
    separated: Tensor
    orthogonality: Tensor
    asymmetry: Tensor
    products: int
    tolerance: float


@dataclass(frozen=True)
class Spectrum:
    """All eigenvalues of R symmetric matrices.

    Attributes:
        eigenvalues: shape (R, N), float64, ascending.
        error: bound on the error of each eigenvalue, shape (R,): half the asymmetry of the matrix
            as its products gave it, in Frobenius norm, plus N eps of float64 times the largest
            eigenvalue. Errors of the products that are themselves symmetric are not in it.
        products: matrix-vector products spent per replica; 0 where the matrix is analytic.
    """

    eigenvalues: Tensor
    error: Tensor
    products: int

    def fraction_below(self, x: float = 0.0) -> Tensor:
        """Return the fraction of eigenvalues below ``x``, shape (R,)."""
        return (self.eigenvalues < x).double().mean(1)


@dataclass(frozen=True)
class Traces:
    r"""What one product per random vector tells: traces and the diagonal, with standard errors.

    Attributes:
        trace: tr H, (R,).
        trace_of_square: tr H^2 = squared Frobenius norm, (R,).
        diagonal: H_ii, (R, N).
        parts: the trace of each named block of the diagonal, (R,) each.
    """

    trace: Estimate
    trace_of_square: Estimate
    diagonal: Estimate
    parts: Mapping[str, Estimate]
