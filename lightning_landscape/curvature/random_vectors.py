"""Random vectors, and the part of the space that is left for them to explore."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_landscape.curvature.operators.vectors import norms
from lightning_landscape.curvature.results import Eigenpairs
from lightning_landscape.rng import Stream

if TYPE_CHECKING:
    from lightning_landscape.curvature.operators.base import CurvatureOperator

__all__ = ["Deflation", "chunks", "signs", "unit_vectors"]


class Deflation:
    r"""Converged eigenpairs, treated exactly; random vectors see their orthogonal complement only.

    `\mathrm{tr} f(H) = \sum_i f(\theta_i) + \mathrm{tr} P f(H)`, with the projection
    `P = 1 - \sum_i y_i y_i^T`. A pair that has not converged is left to the random vectors.

    Args:
        operator: R matrices of size N.
        pairs: their eigenpairs; None takes nothing out.

    Attributes:
        values: the eigenvalues taken out, shape (R, d), float64; 0 where one has not converged.
        residuals: theirs, shape (R, d).
        used: whether the pair is taken out, shape (R, d).
        vectors: shape (R, d, N); 0 where the pair is not taken out.
        dimension: N minus the number of pairs taken out, shape (R,), float64.
    """

    def __init__(self, operator: CurvatureOperator, pairs: Eigenpairs | None) -> None:
        if pairs is None:
            self.used = torch.zeros(operator.replicas, 0, dtype=torch.bool)
            self.values = self.residuals = self.used.double()
            shape = (operator.replicas, 0, operator.N)
            self.vectors = torch.empty(shape, dtype=operator.dtype, device=operator.device)
        else:
            self.used = pairs.converged
            self.values = pairs.eigenvalues * self.used
            self.residuals = pairs.residuals * self.used
            self.vectors = pairs.eigenvectors * self.used[..., None].to(pairs.eigenvectors)
        self.dimension = operator.N - self.used.sum(1).double()

    def remove_(self, V: Tensor) -> Tensor:
        """Project ``V``, shape (R, k, N), on the complement, in place."""
        if self.used.shape[1]:
            V.baddbmm_(V @ self.vectors.mT, self.vectors, alpha=-1)
        return V


def signs(operator: CurvatureOperator, random_vectors: range, seed: int) -> Tensor:
    """Return random signs, +1 or -1 independently, shape (R, n, N).

    Vector j is a function of (seed, j): the same on every rank, and whatever the others are. Those
    of different replicas are independent, so that errors average out over replicas.
    """
    stream = Stream(seed, "probes")
    shape = (operator.replicas, len(random_vectors), operator.N)
    V = torch.empty(shape, dtype=operator.dtype, device=operator.device)
    for row, j in enumerate(random_vectors):
        V[:, row].bernoulli_(0.5, generator=stream.generator(j, V.device))
    return V.mul_(2).sub_(1)


def unit_vectors(
    operator: CurvatureOperator, random_vectors: range, deflation: Deflation, seed: int
) -> Tensor:
    """Return random signs projected on the complement and normalised, (R, n, N)."""
    q = deflation.remove_(signs(operator, random_vectors, seed))
    return q.div_(norms(q)[..., None].to(q))


def chunks(operator: CurvatureOperator, count: int, vectors: int, memory: int) -> list[range]:
    """Split ``count`` random vectors so that ``vectors`` arrays for each fit into ``memory``."""
    each = vectors * operator.replicas * operator.N * operator.dtype.itemsize
    size = max(1, memory // each)
    return [range(first, min(first + size, count)) for first in range(0, count, size)]
