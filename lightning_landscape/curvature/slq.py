"""Stochastic Lanczos quadrature: the density of all eigenvalues from products with few vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.curvature.operators.vectors import dots, norms, require_finite
from lightning_landscape.curvature.quadrature import SpectralQuadrature
from lightning_landscape.curvature.random_vectors import Deflation, chunks, unit_vectors
from lightning_landscape.curvature.results import Eigenpairs
from lightning_landscape.curvature.trace import HutchinsonSamples
from lightning_landscape.errors import require

if TYPE_CHECKING:
    from lightning_landscape.curvature.operators.base import CurvatureOperator

__all__ = ["stochastic_lanczos"]


@checked
def stochastic_lanczos(
    operator: CurvatureOperator,
    random_vectors: int = 10,
    steps: int = 100,
    *,
    deflate: Eigenpairs | None = None,
    parts: Mapping[str, slice] | None = None,
    memory: int = 2**30,
    seed: int = 0,
) -> SpectralQuadrature:
    r"""Return the spectral measure of each matrix as Gauss quadratures, one for each random vector.

    Each random vector v has its own spectral measure, the weights of v on the eigenvectors, whose
    mean over v is the density of eigenvalues. ``steps`` Lanczos steps from v give the Gauss
    quadrature of its measure: nodes and weights exact for polynomials of degree 2 steps - 1.
    Vectors and replicas run in lockstep.

    The recursion is the plain one and keeps three arrays for each random vector: lost orthogonality
    repeats nodes and shares their weights, which leaves the measure right to rounding
    (A. Greenbaum, Linear Algebra Appl. 113, 7 (1989)). The first step also gives the traces (see
    `hutchinson`).

    Args:
        operator: R symmetric matrices of size N.
        random_vectors: number of random vectors; they set the standard errors.
        steps: Lanczos steps for each; they set the resolution.
        deflate: eigenpairs to be treated exactly (those converged). Outliers that are taken out
            leave the nodes to the bulk.
        parts: named ranges of coordinates, whose traces come along.
        memory: cap on the arrays in flight, in bytes; beyond it the random vectors go in groups.
        seed: of the random vectors.

    Cost: random_vectors x steps products, and about 15 N flops for each (4 N more per deflated
    pair).

    Raises:
        UsageError: ``random_vectors`` or ``steps`` is below 1, or everything is deflated.

    Source: S. Ubaru, J. Chen and Y. Saad, SIAM J. Matrix Anal. Appl. 38, 1075 (2017).

    >>> from lightning_landscape.curvature import DenseOperator
    >>> H = DenseOperator(torch.linspace(-1, 2, 301).diag())
    >>> negative = stochastic_lanczos(H, steps=60).fraction_below(0.0)
    >>> [round(bound.item(), 2) for bound in (negative.lower, negative.upper)]  # 100 of 301
    [0.3, 0.37]
    """
    require(random_vectors >= 1, "random_vectors", random_vectors, "must be at least 1")
    require(steps >= 1, "steps", steps, "must be at least 1")
    deflation = Deflation(operator, deflate)
    left = int(deflation.dimension.min())
    require(left >= 1, "deflate", f"{operator.N - left} eigenpairs", "leaves nothing to explore")
    samples = HutchinsonSamples(deflation, parts or {})
    recursions = []
    for chunk in chunks(operator, random_vectors, vectors=4, memory=memory):
        q = unit_vectors(operator, chunk, deflation, seed)
        recursions.append(_recursion(operator, q, min(steps, left), deflation, samples))
    alpha, beta = (torch.cat(groups, dim=1) for groups in zip(*recursions, strict=True))
    return SpectralQuadrature(alpha, beta, operator.N, deflation, samples.result())


def _recursion(
    operator: CurvatureOperator,
    q: Tensor,
    steps: int,
    deflation: Deflation,
    samples: HutchinsonSamples,
) -> tuple[Tensor, Tensor]:
    """Lanczos coefficients alpha and beta, each (R, n, steps), from unit vectors ``q``."""
    previous = torch.zeros_like(q)
    alpha = torch.zeros(*q.shape[:2], steps, dtype=torch.float64)
    beta = torch.zeros_like(alpha)
    scale = torch.zeros(q.shape[:2], dtype=torch.float64)
    for j in range(steps):
        w = operator.matmat(q)
        if j == 0:
            samples.add(q, w)
        deflation.remove_(w)
        if j > 0:
            w.addcmul_(beta[..., j - 1, None].to(w), previous, value=-1)
        alpha[..., j] = dots(q, w)
        require_finite(alpha[..., j])
        w.addcmul_(alpha[..., j, None].to(w), q, value=-1)
        norm = norms(w)
        scale = torch.maximum(scale, alpha[..., j].abs() + norm)
        ended = norm <= 10 * torch.finfo(w.dtype).eps * scale  # the measure has no more atoms
        beta[..., j] = norm.masked_fill(ended, 0)
        w.mul_(norm.reciprocal().masked_fill(ended, 0)[..., None].to(w))
        previous, q = q, w
    return alpha, beta
