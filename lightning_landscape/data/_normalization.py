"""Normalization, computed from the training samples and applied to the test samples as well."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.errors import require

__all__ = ["centred_on_sphere", "standardized"]


def standardized(x: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Return images, (P, channels, height, width), whose channels have mean 0 and variance 1."""
    std, mean = torch.std_mean(x, dim=(0, 2, 3), keepdim=True, correction=0)
    require(bool((std > 0).all()), "images", tuple(x.shape), "must vary in every channel")
    return (x - mean) / std, (test - mean) / std


def centred_on_sphere(x: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Return samples, (P, …), minus the mean of x, each rescaled to |x| = sqrt(d)."""
    require(len(x) >= 2, "samples", len(x), "must be at least 2, to subtract the mean")
    mean = x.mean(0)
    return _on_sphere(x - mean), _on_sphere(test - mean)


def _on_sphere(x: Tensor) -> Tensor:
    """Rescale each sample to |x| = sqrt(d); a zero sample stays zero."""
    flat = x.flatten(1)
    length = flat.norm(dim=1, keepdim=True).clamp(min=1e-30)
    return (flat * (flat.shape[1] ** 0.5 / length)).view_as(x)
