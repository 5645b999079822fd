"""Copies of tensors and batches that a training step cannot reach."""

from __future__ import annotations

import collections
import copy
import types
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils.data import DataLoader, Dataset, Sampler

__all__ = ["ATOMS", "as_tuple", "has_state", "is_foreign", "keep", "refill_sequence", "snapshot"]

ATOMS = (type(None), bool, int, float, complex, str, bytes, range, torch.dtype, torch.device,
         torch.Size, type, types.ModuleType, types.CodeType)  # fmt: skip
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
# Data sets, and objects of these packages, carry no state of a training step.
_STATELESS = (Dataset, DataLoader, Sampler)
_PACKAGES = {"torch", "pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities",
             "lightning_landscape", "logging", "threading", "_thread", "weakref", "functools",
             "concurrent", "asyncio", "re", "pathlib", "matplotlib"}  # fmt: skip

# where the projects of others are found in miniature
_MINIATURES = "lightning_landscape.testing"


def is_foreign(kind: Any) -> bool:
    """Whether a class or function is of a package whose objects carry no state of a step."""
    module = getattr(kind, "__module__", None) or ""
    return module.partition(".")[0] in _PACKAGES and not module.startswith(_MINIATURES)


def has_state(x: Any) -> bool:
    """Whether an object has attributes that a training step may change."""
    return hasattr(x, "__dict__") and not isinstance(x, _STATELESS) and not is_foreign(type(x))


def snapshot(tensor: Tensor) -> Tensor:
    """Return a copy-on-write copy of a tensor without its graph; a plain one where there is none.

    A subclass of tensors keeps its class, and copies of its attributes.

    >>> x = torch.zeros(2)
    >>> y = snapshot(x)
    >>> x.add_(1), y
    (tensor([1., 1.]), tensor([0., 0.]))
    """
    kind = type(tensor)
    if kind in (Tensor, torch.nn.Parameter) or is_traceable_wrapper_subclass(tensor):
        return _clone(tensor.detach())
    # a subclass may have attributes, which its own methods ask for
    with torch._C.DisableTorchFunctionSubclass():
        copied = _clone(tensor.detach().as_subclass(Tensor)).as_subclass(kind)
    vars(copied).update(keep(vars(tensor)))
    return copied


def _clone(plain: Tensor) -> Tensor:
    try:
        return torch._lazy_clone(plain)
    except (RuntimeError, AttributeError, NotImplementedError):  # memory of NumPy, sparse, …
        return plain.clone()


def keep(batch: Any) -> Any:
    """Return a copy of a batch, at any depth, that a training step cannot reach.

    Its tensors are copies as `snapshot` makes them; its containers and objects are new ones.

    >>> batch = [torch.zeros(1), {"n": 3}]
    >>> kept = keep(batch)
    >>> batch.pop(), kept
    ({'n': 3}, [tensor([0.]), {'n': 3}])
    """
    return _kept(batch, {})


def _kept(x: Any, seen: dict[int, Any]) -> Any:
    if isinstance(x, ATOMS + _FUNCTIONS) or id(x) in seen:
        return seen.get(id(x), x)
    if isinstance(x, Tensor):
        seen[id(x)] = snapshot(x).requires_grad_(x.requires_grad)
    elif isinstance(x, tuple):
        inside = [_kept(value, seen) for value in x]
        seen[id(x)] = as_tuple(x, inside)
    elif isinstance(x, set | bytearray | np.ndarray):
        seen[id(x)] = x.copy()
    elif isinstance(x, dict | list | collections.deque) or has_state(x):
        seen[id(x)] = new = copy.copy(x)
        if isinstance(x, dict):
            dict.update(new, {key: _kept(value, seen) for key, value in x.items()})
        elif isinstance(x, list | collections.deque):
            refill_sequence(new, [_kept(value, seen) for value in x])
        else:
            vars(new).update({name: _kept(value, seen) for name, value in vars(x).items()})
    else:
        return x
    return seen[id(x)]


def as_tuple(x: tuple[Any, ...], inside: list[Any]) -> Any:
    """Return a tuple of the type of ``x``, a named one too."""
    make = getattr(type(x), "_make", type(x))
    return make(inside)


def refill_sequence(x: Any, values: list[Any]) -> None:
    """Let a list or deque hold these values."""
    x.clear()
    x.extend(values)
