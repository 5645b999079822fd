"""The replica axis: parameters as (R, N), and numbers that are one for all or one per replica."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.errors import UsageError, require

__all__ = [
    "add_",
    "flatten",
    "hot",
    "numbers",
    "of_replicas",
    "per_replica",
    "scale_",
    "select",
    "size",
    "unflatten",
]


def size(like: Iterable[Tensor]) -> int:
    """Return N, the numbers in one replica of tensors with the replica axis first.

    >>> size([torch.zeros(4, 3), torch.zeros(4, 2, 5)])
    13
    """
    return sum(p[0].numel() for p in like)


def flatten(parts: Iterable[Tensor]) -> Tensor:
    """Return tensors with the replica axis first as one, shape (R, N), part beside part.

    >>> flatten([torch.zeros(4, 3), torch.zeros(4, 2, 5)]).shape
    torch.Size([4, 13])
    """
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def unflatten(x: Tensor, like: Iterable[Tensor]) -> list[Tensor]:
    """Return the parts of ``x``, shape (R, N), in the shapes of ``like``; `flatten` undoes it.

    >>> [part.shape for part in unflatten(torch.zeros(4, 13), [torch.ones(4, 3, 4), torch.ones(4)])]
    [torch.Size([4, 3, 4]), torch.Size([4])]
    """
    shapes = [p.shape[1:] for p in like]
    parts = x.split([shape.numel() for shape in shapes], dim=1)
    return [part.reshape(len(x), *shape) for part, shape in zip(parts, shapes, strict=True)]


def select(x: Tensor, replicas: Tensor) -> Tensor:
    """Return the rows ``x[replicas]``, without a copy where these are all rows in their order.

    >>> x = torch.zeros(3, 2)
    >>> select(x, torch.arange(3)) is x, select(x, torch.tensor([2])).shape
    (True, torch.Size([1, 2]))
    """
    every = torch.arange(len(x), device=replicas.device)
    return x if replicas.equal(every) else x[replicas.to(x.device)]


def per_replica(value: Any, like: Tensor) -> Any:
    """Return a number as it is, or one per replica, (R,), so that it broadcasts to ``like``."""
    return value.to(like).view(-1, *[1] * (like.dim() - 1)) if isinstance(value, Tensor) else value


def hot(T: float | Tensor) -> bool:
    """Return whether any replica has a temperature above 0."""
    return bool(T.any()) if isinstance(T, Tensor) else T > 0


def add_(x: list[Tensor], factor: float | Tensor, y: list[Tensor]) -> None:
    """Add factor y to x in place, with one factor for all or one per replica, (R,)."""
    if isinstance(factor, Tensor):
        for a, b in zip(x, y, strict=True):
            a.addcmul_(per_replica(factor, a), b.to(a))
    else:
        torch._foreach_add_(x, y, alpha=factor)


def scale_(x: list[Tensor], factor: float | Tensor) -> None:
    """Multiply in place by one factor for all or one per replica, (R,)."""
    if isinstance(factor, Tensor):
        for a in x:
            a.mul_(per_replica(factor, a))
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
