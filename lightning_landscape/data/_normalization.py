"""Samples of one length."""

from __future__ import annotations

from torch import Tensor

__all__ = ["on_sphere"]


def on_sphere(x: Tensor) -> Tensor:
    """Return the samples, shape (P, d), each brought to |x| = sqrt(d); one that is 0 stays 0."""
    length = x.norm(dim=1, keepdim=True)
    return x * (x.shape[1] ** 0.5 / length.clamp(min=1e-30))
