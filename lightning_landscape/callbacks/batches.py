"""A batch of a foreign project, cut along its samples."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_landscape.errors import UsageError, require

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["cut", "energies_of_parts", "length", "require_mean", "require_mean_of_parts"]

_REMEDY = (
    "give the probe a split_fn, which makes a list of smaller batches of one size of a batch, or "
    "none, so that it takes consecutive batches"
)


def length(batch: Any) -> int:
    """Return the number of samples of a batch: the length of the first tensor in it.

    Raises:
        UsageError: there is no tensor in it.
    """
    sizes = [len(t) for t in tensors(batch) if t.dim()]
    if not sizes:
        raise UsageError(
            f"batch = {type(batch).__name__}: holds no tensor along which samples can be told "
            "apart; make the batch a tensor, or a list, tuple, dict or dataclass of tensors"
        )
    return sizes[0]


def tensors(batch: Any) -> list[Tensor]:
    """Return the tensors of a batch, at any depth, in their order."""
    if isinstance(batch, Tensor):
        return [batch]
    if isinstance(batch, Mapping):
        inside = list(batch.values())
    elif _is_data(batch):
        inside = [getattr(batch, field.name) for field in fields(batch)]
    else:
        inside = list(batch) if isinstance(batch, list | tuple) else []
    return [t for value in inside for t in tensors(value)]


def _is_data(batch: Any) -> bool:
    return is_dataclass(batch) and not isinstance(batch, type)


def cut(batch: Any, parts: int) -> list[Any]:
    """Return so many parts of a batch, all of one size; what is left over belongs to none.

    Lists, tuples, named tuples, dicts and data classes keep their type; numbers and what is not
    made of tensors are common to all parts.

    Raises:
        UsageError: the tensors differ in length, so that their first axis cannot be the samples of
            all of them: times first, loaders of different sizes, several things of a graph.

    >>> import torch
    >>> [part["x"].tolist() for part in cut({"x": torch.arange(5), "of": "no"}, 2)]
    [[0, 1], [2, 3]]
    """
    B = length(batch)
    sizes = sorted({len(t) for t in tensors(batch) if t.dim()})
    admissible = "holds tensors of different lengths, so it cannot be cut into samples"
    require(len(sizes) == 1, "batch", f"lengths {sizes}", admissible, _REMEDY)
    size = B // parts
    return [_rows(batch, slice(k * size, (k + 1) * size)) for k in range(parts)]


def _rows(batch: Any, rows: slice) -> Any:
    """Cut every tensor with an axis, at any depth."""
    if isinstance(batch, Tensor):
        return batch[rows] if batch.dim() else batch
    if isinstance(batch, Mapping):
        part: Any = copy.copy(batch)
        for key, value in batch.items():
            part[key] = _rows(value, rows)
        return part
    if _is_data(batch):
        part = copy.copy(batch)
        for field in fields(batch):
            object.__setattr__(part, field.name, _rows(getattr(batch, field.name), rows))
        return part
    if isinstance(batch, list | tuple):
        inside = [_rows(value, rows) for value in batch]
        return type(batch)(*inside) if hasattr(batch, "_fields") else type(batch)(inside)
    return batch


def require_mean_of_parts(
    energy_of: Callable[[Any], Tensor], module: nn.Module, batch: Any, parts: int
) -> None:
    """Raise a `UsageError` unless the loss of a batch is the mean of those of its `cut` parts.

    Weighted by their numbers of samples, see `require_mean`.

    Cost: two evaluations of the batch.
    """
    B = length(batch)
    pieces = cut(batch, parts)
    used = B // parts * parts
    weights = [B // parts] * parts
    if used < B:
        pieces.append(_rows(batch, slice(used, B)))
        weights.append(B - used)
    require_mean(energy_of, module, batch, pieces, weights)


def require_mean(
    energy_of: Callable[[Any], Tensor],
    module: nn.Module,
    batch: Any,
    pieces: Sequence[Any],
    weights: Sequence[int] | None = None,
) -> None:
    """Raise a `UsageError` unless the loss of a batch is the weighted mean of those of its pieces.

    In the modes of evaluation, so that neither dropout nor batch norm is in the way: what is tested
    is whether the pieces are samples. Gradients stay on, for losses that contain derivatives.
    """
    with _evaluating(module):
        whole = energy_of(batch).detach()
        losses = torch.stack([energy_of(piece).detach() for piece in pieces])
    tolerance = max(1e-3, 4 * torch.finfo(whole.dtype).eps)
    whole, losses = whole.double(), losses.double()
    shares = torch.as_tensor(weights or [1] * len(pieces), device=losses.device).double()
    shares = (shares / shares.sum())[:, None]
    mean = (shares * losses).sum(0)
    scale = (shares * losses.abs()).sum(0) + whole.abs()
    require(
        bool(((mean - whole).abs() <= tolerance * scale).all()) or not bool(whole.isfinite().all()),
        "batch",
        f"loss {whole.mean().item():.4g}, mean of the losses of its {len(pieces)} parts "
        f"{mean.mean().item():.4g}",
        "the parts are not made of samples, or the loss is no mean over them",
        _REMEDY,
    )


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, training in modes:
            m.training = training


def energies_of_parts(
    energy_of: Callable[[Any], Tensor],
    module: nn.Module,
    batch: Any,
    most: int,
    split_fn: Callable[[Any], list[Any]] | str,
) -> list[Callable[[], Tensor]]:
    """Return the energies of parts of a batch, whose mean is its own; see `View.parts`."""
    if split_fn == "samples":
        count = min(most, length(batch))
        require_mean_of_parts(energy_of, module, batch, count)
        parts = cut(batch, count)
    else:
        assert callable(split_fn)
        parts = list(split_fn(batch))
        admissible = "must give at least 2 parts, for a variance"
        require(len(parts) >= 2, "split_fn", f"{len(parts)} parts", admissible)
        require_mean(energy_of, module, batch, parts)
    return [partial(energy_of, part) for part in parts]
