"""The alignment of two symmetric matrices, such as noise covariance and curvature."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.operators.vectors import dots
from lightning_landscape.curvature.random_vectors import chunks, signs
from lightning_landscape.errors import require

__all__ = ["Alignment", "alignment", "subspace_overlap"]


class Alignment(NamedTuple):
    """tr(AB) and tr(AB) / (|A| |B|), each (R,), float64, with standard errors; 0 where exact.

    Attributes:
        trace: tr(AB).
        trace_error: its standard error.
        cosine: tr(AB) / (|A| |B|) with Frobenius norms: 1 for proportional matrices.
        cosine_error: its standard error.
    """

    trace: Tensor
    trace_error: Tensor
    cosine: Tensor
    cosine_error: Tensor


@checked
def alignment(
    A: CurvatureOperator,
    B: CurvatureOperator,
    leading: Tensor,
    random_vectors: int = 10,
    *,
    memory: int = 2**30,
    seed: int = 0,
) -> Alignment:
    r"""Return tr(AB) and the cosine tr(AB) / (|A| |B|) of the angle between two matrices.

    The space is split in two: on the span Q of ``leading``, where the large eigenvalues should
    be, the traces are exact; in its complement P they are means over random signs v,

        tr(AB) = sum_q (Aq).(Bq) + E[(APv).(BPv)],

    and tr(A^2), tr(B^2) likewise, from the same products. The variance is that of the complement
    only (Meyer, Musco, Musco and Woodruff, Hutch++, arXiv:2010.09649). Errors are those of a
    jackknife over the random vectors, which the ratio of correlated means needs. Where Q and these
    vectors would span the space, all unit vectors are taken instead and the result is exact.

    Args:
        A: R symmetric matrices of size N.
        B: R others.
        leading: vectors that hold the large eigenvalues of both, shape (R, k, N); they need be
            neither orthogonal nor exact, which costs accuracy but no bias.
        random_vectors: number of random vectors, at least 2.
        memory: cap on the vectors in flight, in bytes.
        seed: of the random vectors.

    Cost: min(k + random_vectors, N) products with each matrix.

    Raises:
        UsageError: the matrices differ in size, or there are fewer than 2 random vectors.

    >>> from lightning_landscape.curvature import DenseOperator
    >>> A, B = (DenseOperator(torch.tensor(d).diag()) for d in ([1.0, 0.0], [1.0, 1.0]))
    >>> round(alignment(A, B, torch.eye(2)[None]).cosine.item(), 6)
    0.707107
    """
    sizes = [(op.replicas, op.N) for op in (A, B)]
    require(sizes[0] == sizes[1], "B", sizes[1], f"must have (R, N) = {sizes[0]}, as A")
    several = "must be at least 2, for a standard error"
    require(random_vectors >= 2, "random_vectors", random_vectors, several)
    if leading.shape[1] + random_vectors >= A.N:
        exact = _forms(A, B, torch.eye(A.N, dtype=A.dtype, device=A.device), memory).sum(-1)
        zero = torch.zeros(A.replicas, dtype=torch.float64)
        return Alignment(exact[0], zero, _cosine(exact), zero)
    Q = torch.linalg.qr(leading.to(A.dtype).mT).Q.mT
    V = signs(A, range(random_vectors), seed)
    V = V - (V @ Q.mT) @ Q
    inside, outside = _forms(A, B, Q, memory).sum(-1), _forms(A, B, V, memory)
    values = inside + outside.mean(-1)
    left_out = (outside.sum(-1, keepdim=True) - outside) / (random_vectors - 1) + inside[..., None]
    cosines = _cosine(left_out)
    return Alignment(
        values[0],
        outside[0].std(-1) / random_vectors**0.5,
        _cosine(values),
        cosines.std(-1, correction=0) * (random_vectors - 1) ** 0.5,
    )


def _forms(A: CurvatureOperator, B: CurvatureOperator, V: Tensor, memory: int) -> Tensor:
    """Return (Av).(Bv), (Av).(Av), (Bv).(Bv), shape (3, R, k), of vectors (k, N) or (R, k, N)."""
    V = V.expand(A.replicas, -1, -1)
    portions = []
    for some in chunks(A, V.shape[1], vectors=4, memory=memory):
        a, b = (op.matmat(V[:, some.start : some.stop]) for op in (A, B))
        portions.append(torch.stack([dots(a, b), dots(a, a), dots(b, b)]))
    return torch.cat(portions, dim=-1)


def _cosine(forms: Tensor) -> Tensor:
    return forms[0] / (forms[1] * forms[2]).sqrt()


@checked
def subspace_overlap(U: Tensor, V: Tensor) -> Tensor:
    r"""Return the overlap of the spaces of the first j vectors of each, for j = 1 … k.

        q_j = (1/j) sum_{a,b <= j} (u_a . v_b)^2,

    the mean squared cosine of their principal angles: 1 where they agree, j/N for random ones.

    Args:
        U: orthonormal vectors, shape (R, k, N).
        V: others, shape (R, k, N).

    Returns:
        shape (R, k), float64.

    Raises:
        UsageError: their shapes are not the same, or not these.

    >>> subspace_overlap(torch.eye(3)[None, :2], torch.eye(3)[None, 1:])
    tensor([[0.0000, 0.5000]], dtype=torch.float64)
    """
    require(U.dim() == 3, "U.shape", tuple(U.shape), "must be (R, k, N)")
    require(U.shape == V.shape, "V.shape", tuple(V.shape), f"must be {tuple(U.shape)}, as U")
    squares = (U.double() @ V.double().mT).square()
    nested = squares.cumsum(1).cumsum(2).diagonal(dim1=1, dim2=2)
    return nested / torch.arange(1, nested.shape[1] + 1, device=nested.device)
