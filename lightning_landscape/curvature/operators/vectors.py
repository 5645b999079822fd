"""Norms and scalar products of blocks of vectors (R, k, N), in float64 on the CPU.

Sums over N are pairwise. `torch.linalg.vector_norm` adds float32 numbers up in a row on a CPU,
which is wrong by 1e-4 at N = 5 million.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.errors import require

__all__ = ["dots", "norms", "require_finite"]


def dots(V: Tensor, W: Tensor) -> Tensor:
    """Return the scalar products of the vectors (R, k, N), shape (R, k)."""
    return torch.linalg.vecdot(V, W).double().cpu()


def norms(W: Tensor) -> Tensor:
    """Return the norms of the vectors (R, k, N), shape (R, k)."""
    return dots(W, W).sqrt()


def require_finite(lengths: Tensor) -> None:
    """Refuse products whose norms, (R, k), are not finite, naming the first such replica."""
    good = lengths.isfinite().all(1)
    replica = int(good.int().argmin())
    remedy = "has its configuration diverged, or its energy no second derivative there?"
    require(bool(good.all()), "H v", f"nan or inf in replica {replica}", "must be finite", remedy)
