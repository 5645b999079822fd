"""A batch of a foreign project, cut along its samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lightning_landscape.errors import UsageError

__all__ = ["cut", "length"]


def length(batch: Any) -> int:
    """Return the number of samples of a batch: the length of the first tensor in it.

    Raises:
        UsageError: there is no tensor in it.
    """
    sizes = [len(t) for t in _tensors(batch) if t.dim()]
    if not sizes:
        raise UsageError(
            f"batch = {type(batch).__name__}: holds no tensor along which samples can be told "
            "apart; make the batch a tensor, or a list, tuple or dict of tensors"
        )
    return sizes[0]


def _tensors(batch: Any) -> list[Tensor]:
    if isinstance(batch, Tensor):
        return [batch]
    inside = batch.values() if isinstance(batch, Mapping) else batch
    nested = isinstance(batch, Mapping | list | tuple)
    return [t for value in inside for t in _tensors(value)] if nested else []


def cut(batch: Any, parts: int) -> list[Any]:
    """Return so many parts of a batch, all of one size; what is left over belongs to none.

    >>> import torch
    >>> [part["x"].tolist() for part in cut({"x": torch.arange(5), "of": "no"}, 2)]
    [[0, 1], [2, 3]]
    """
    B = length(batch)
    size = B // parts
    return [_rows(batch, B, slice(k * size, (k + 1) * size)) for k in range(parts)]


def _rows(batch: Any, B: int, rows: slice) -> Any:
    """Cut what has B entries, at any depth; a tensor of another length is common to all."""
    if isinstance(batch, Tensor):
        return batch[rows] if batch.dim() and len(batch) == B else batch
    if isinstance(batch, Mapping):
        return {key: _rows(value, B, rows) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return [_rows(value, B, rows) for value in batch]
    return batch
