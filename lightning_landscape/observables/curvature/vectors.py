"""Norms and scalar products of blocks of vectors (R, k, N), in float64 on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["dots", "norms"]


def norms(W: Tensor) -> Tensor:
    """Return the norms of the vectors (R, k, N), shape (R, k)."""
    return torch.linalg.vector_norm(W, dim=-1).double().cpu()


def dots(V: Tensor, W: Tensor) -> Tensor:
    """Return the scalar products of the vectors (R, k, N), shape (R, k)."""
    return (V[..., None, :] @ W[..., None])[..., 0, 0].double().cpu()
