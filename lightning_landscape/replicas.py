"""Numbers that are one for all replicas, or one for each of them: (R,)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_landscape.errors import UsageError, require

__all__ = ["add_", "hot", "numbers", "of_replicas", "scale_"]


def hot(T: float | Tensor) -> bool:
    """Return whether any replica has a temperature above 0."""
    return bool(T.any()) if isinstance(T, Tensor) else T > 0


def add_(x: list[Tensor], factor: float | Tensor, y: list[Tensor]) -> None:
    """Add factor y to x in place, with one factor for all or one per replica, (R,)."""
    if isinstance(factor, Tensor):
        for a, b in zip(x, y, strict=True):
            a.addcmul_(factor.to(a).view(-1, *[1] * (a.dim() - 1)), b.to(a))
    else:
        torch._foreach_add_(x, y, alpha=factor)


def scale_(x: list[Tensor], factor: float | Tensor) -> None:
    """Multiply in place by one factor for all or one per replica, (R,)."""
    if isinstance(factor, Tensor):
        for a in x:
            a.mul_(factor.to(a).view(-1, *[1] * (a.dim() - 1)))
    else:
        torch._foreach_mul_(x, factor)


def numbers(argument: str, value: Any) -> float | Tensor:
    """Return a float, or a float64 tensor (R,); lr must be > 0, temperature >= 0."""
    bound = "> 0" if argument == "lr" else ">= 0"
    admissible = f"must be a number {bound}, or one for each replica"
    try:
        given = torch.as_tensor(value, dtype=torch.float64, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(f"{argument} = {value!r}: {admissible}") from None
    good = (given > 0) if argument == "lr" else (given >= 0)
    fits = given.dim() <= 1 and given.numel() > 0
    require(fits and bool((good & given.isfinite()).all()), argument, value, admissible)
    return given if given.dim() else given.item()


def of_replicas(argument: str, value: Any, parameter: Tensor) -> Any:
    """Return one value for each replica where there are several, one for each of equal groups."""
    if not isinstance(value, Tensor):
        return value
    R = parameter.shape[0] if parameter.dim() else 0
    require(
        R > 0 and R % len(value) == 0,
        argument,
        value.tolist(),
        f"has {len(value)} values but a parameter of shape {tuple(parameter.shape)} has "
        f"{R} replicas in front",
        f"give one number, one {argument} for each replica, or one for each of equal groups",
    )
    return value.repeat_interleave(R // len(value))
