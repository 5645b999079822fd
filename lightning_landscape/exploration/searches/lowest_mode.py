"""The lowest mode of the Hessian by gradients only."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_landscape.exploration.landscape import Landscape

__all__ = ["Mode", "refine", "unit"]


class Mode(NamedTuple):
    """An estimate of the lowest eigenvalue and its eigenvector.

    Attributes:
        value: the Rayleigh quotient, shape (B,).
        vector: unit vectors, shape (B, N).
        residual: |H v - value v|, shape (B,).
    """

    value: Tensor
    vector: Tensor
    residual: Tensor


def unit(v: Tensor) -> Tensor:
    """Return the rows of ``v`` scaled to length 1; rows of zeros stay."""
    return v / v.norm(dim=1, keepdim=True).clamp_min(torch.finfo(v.dtype).tiny)


def refine(landscape: Landscape, x: Tensor, g: Tensor, vector: Tensor, iterations: int = 3) -> Mode:
    """Improve guesses of the lowest modes by Rayleigh-Ritz steps in three dimensions.

    The three are the guess v, its residual H v - l v and the last change of v (the locally optimal
    conjugate gradient method), with H from differences of gradients.

    Cost: 1 + ``iterations`` gradients a row.

    Args:
        landscape: where.
        x: configurations, shape (B, N).
        g: the gradients there.
        vector: the guesses, shape (B, N); zero modes are projected out.
        iterations: how many steps.

    Source: Knyazev 2001, SIAM J. Sci. Comput. 23, 517.
    """
    modes = landscape.zero_modes(x)
    v = unit(landscape.project(vector, modes))
    Hv = landscape.project(landscape.product(x, g, v), modes)
    p, Hp = torch.zeros_like(v), torch.zeros_like(v)
    for _ in range(iterations):
        value = torch.linalg.vecdot(v, Hv).unsqueeze(1)
        r = unit(Hv - value * v)
        r = unit(r - torch.linalg.vecdot(r, v).unsqueeze(1) * v)
        Hr = landscape.project(landscape.product(x, g, r), modes)
        basis, images = torch.stack([v, r, p], dim=1), torch.stack([Hv, Hr, Hp], dim=1)
        c = _ritz(basis, images).unsqueeze(1)
        p, Hp = (c[..., 1:] @ basis[:, 1:]).squeeze(1), (c[..., 1:] @ images[:, 1:]).squeeze(1)
        v, Hv = (c @ basis).squeeze(1), (c @ images).squeeze(1)
        length = v.norm(dim=1, keepdim=True)
        v, Hv = v / length, Hv / length
        # what is kept of the change is orthogonal to v and of length 1
        overlap = torch.linalg.vecdot(p, v).unsqueeze(1)
        p, Hp = p - overlap * v, Hp - overlap * Hv
        size = p.norm(dim=1, keepdim=True)
        scale = torch.where(size > 1e-8, 1 / size, 0.0)
        p, Hp = scale * p, scale * Hp
    value = torch.linalg.vecdot(v, Hv)
    return Mode(value, v, (Hv - value.unsqueeze(1) * v).norm(dim=1))


def _ritz(basis: Tensor, images: Tensor) -> Tensor:
    """Return the coefficients (B, 3) of the lowest Ritz vector in a basis that may be dependent."""
    overlaps = basis @ basis.mT
    s, U = torch.linalg.eigh(overlaps)
    good = s > 1e-6
    T = U * torch.where(good, s.clamp_min(1e-12).rsqrt(), 0.0).unsqueeze(1)
    A = basis @ images.mT
    A = T.mT @ ((A + A.mT) / 2) @ T
    barrier = 1 + 2 * torch.linalg.matrix_norm(A)
    A = A + torch.diag_embed(torch.where(good, 0.0, barrier.unsqueeze(1)))
    lowest = torch.linalg.eigh(A).eigenvectors[:, :, :1]
    return (T @ lowest).squeeze(2)
