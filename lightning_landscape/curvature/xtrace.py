"""The trace by exchangeable leave-one-out low-rank approximations (XTrace)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.curvature.operators.vectors import dots
from lightning_landscape.curvature.random_vectors import signs
from lightning_landscape.curvature.results import Estimate
from lightning_landscape.errors import require

if TYPE_CHECKING:
    from lightning_landscape.curvature.operators.base import CurvatureOperator

__all__ = ["xtrace"]


@checked
def xtrace(operator: CurvatureOperator, products: int = 100, *, seed: int = 0) -> Estimate:
    r"""Return tr H, with less variance than plain random vectors where few eigenvalues dominate.

    Half of the products build `Q = \mathrm{orth}(H\Omega)`, the other half is HQ. With the
    basis `Q_{(i)}` that would have been built without vector i, and the
    part `\mu_i` of that vector orthogonal to it,

    .. math:: t_i = \mathrm{tr}\, Q_{(i)}^T H Q_{(i)}
              + \frac{N - m + 1}{|\mu_i|^2} \mu_i^T H \mu_i,

    and the estimate is the mean of the m values. The standard error is that of m independent
    values, which they are only nearly.

    Args:
        operator: R symmetric matrices of size N.
        products: to spend, even; m = products / 2 random vectors.
        seed: of the random vectors.

    Cost: the products, and memory for 3 m vectors.

    Raises:
        UsageError: ``products`` is odd, below 4, or above 2 N.

    Source: E. Epperly, J. Tropp and R. Webber, SIAM J. Matrix Anal. Appl. 45, 1 (2024),
    arXiv:2301.07825, section 2.

    >>> from lightning_landscape.curvature import DenseOperator
    >>> H = DenseOperator(torch.arange(1.0, 100).pow(-2).diag())  # its trace is 1.6348
    >>> estimate = xtrace(H, products=40)
    >>> abs(estimate.value.item() - 1.6348) < 4 * estimate.error.item() < 0.01
    True
    """
    N, m = operator.N, products // 2
    right = products % 2 == 0 and 2 <= m <= N
    require(right, "products", products, f"must be even, at least 4 and at most 2 N = {2 * N}")
    omega = signs(operator, range(m), seed)
    images = operator.matmat(omega)
    Q, C = torch.linalg.qr(images.mT)  # (R, N, m), (R, m, m)
    projected = (operator.matmat(Q.mT.contiguous()) @ Q).double().cpu()  # Q^T H Q
    overlaps = (Q.mT @ omega.mT).double().cpu()  # Q^T Omega
    C = C.double().cpu()
    left_out = _directions_left_out(C)
    a = overlaps - left_out * _columns_dot(left_out, overlaps)[:, None]
    length = N - _columns_dot(a, a)  # |mu|^2, where |omega|^2 = N
    form = dots(omega, images) - 2 * _columns_dot(a, C) + _columns_dot(a, projected @ a)
    low_rank = projected.diagonal(dim1=1, dim2=2).sum(1, keepdim=True)
    low_rank = low_rank - _columns_dot(left_out, projected @ left_out)
    rest = torch.where(length > 1e-6 * N, (N - m + 1) * form / length, 0.0)
    return Estimate.of(low_rank + rest, torch.zeros(operator.replicas, dtype=torch.float64))


def _columns_dot(A: Tensor, B: Tensor) -> Tensor:
    return (A * B).sum(1)


def _directions_left_out(C: Tensor) -> Tensor:
    """Unit columns s_i: Q (1 - s_i s_i^T) spans all columns of QC except the i-th, (R, m, m)."""
    diagonal = C.diagonal(dim1=1, dim2=2)
    least = (1e-14 * diagonal.abs().amax(1, keepdim=True)).clamp(min=1e-100)
    lifted = C + torch.diag_embed(torch.where(diagonal.abs() < least, least, 0.0))
    identity = torch.eye(C.shape[1], dtype=C.dtype).expand_as(C)
    S = torch.linalg.solve_triangular(lifted, identity, upper=True).mT
    return S / torch.linalg.vector_norm(S, dim=1, keepdim=True)
