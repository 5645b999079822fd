"""Copies of tensors and batches that a training step cannot reach."""

from __future__ import annotations

import collections
import copy
import types
import weakref
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils.data import DataLoader, Dataset, Sampler

__all__ = [
    "ATOMS",
    "as_tuple",
    "has_state",
    "is_collection",
    "is_foreign",
    "keep",
    "refill",
    "refill_sequence",
    "slots",
    "snapshot",
]

ATOMS = (type(None), bool, int, float, complex, str, bytes, range, torch.dtype, torch.device,
         torch.Size, type, types.ModuleType, types.CodeType, weakref.ProxyType,
         weakref.CallableProxyType)  # fmt: skip
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_DATA = (Dataset, DataLoader, Sampler)
# Objects of these packages carry no state of a training step.
# What these packages have that does, and is neither a module nor an optimizer.
_STATEFUL = (torch.quasirandom.SobolEngine, torch.amp.GradScaler, weakref.WeakKeyDictionary,
             weakref.WeakValueDictionary)  # fmt: skip
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
    if isinstance(x, _STATEFUL):
        return True
    holds = hasattr(x, "__dict__") or bool(slots(x))
    return holds and not isinstance(x, _DATA) and not is_foreign(type(x))


def is_collection(x: Any) -> bool:
    """Whether an object is a user's data set, loader or sampler, such as a replay buffer."""
    return isinstance(x, _DATA) and not is_foreign(type(x))


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
    # a weak proxy whose object is gone cannot be asked for its class
    if type(x) in ATOMS or isinstance(x, ATOMS + _FUNCTIONS) or id(x) in seen:
        return seen.get(id(x), x)
    if isinstance(x, Tensor):
        seen[id(x)] = snapshot(x).requires_grad_(x.requires_grad)
    elif isinstance(x, tuple):
        seen[id(x)] = as_tuple(x, [_kept(value, seen) for value in x])
    elif isinstance(x, set | bytearray | np.ndarray):
        seen[id(x)] = x.copy()
    elif isinstance(x, dict | list | collections.deque) or has_state(x):
        seen[id(x)] = new = _another(x)
        if new is not x:
            _copy_into(new, x, seen)
    else:
        return x
    return seen[id(x)]


def _copy_into(new: Any, x: Any, seen: dict[int, Any]) -> None:
    """Let a new object hold copies of what ``x`` holds."""
    if isinstance(x, dict):
        refill(new, {key: _kept(value, seen) for key, value in x.items()})
    elif isinstance(x, list | collections.deque):
        refill_sequence(new, [_kept(value, seen) for value in x])
    if hasattr(x, "__dict__"):
        vars(new).update({name: _kept(value, seen) for name, value in vars(x).items()})
    for name in slots(x):
        if hasattr(x, name):
            object.__setattr__(new, name, _kept(getattr(x, name), seen))


def _another(x: Any) -> Any:
    """Return a new object of the class of ``x``, or ``x`` itself where its class allows none.

    What the class says of copies is asked only where the object has content that Python cannot see.
    """
    kind: Any = type(x)
    if not isinstance(x, dict | list | collections.deque):
        with suppress(TypeError):  # a base of it is written in C
            return object.__new__(kind)
    with suppress(Exception):  # whatever its class raises
        if (new := copy.copy(x)) is not x:
            return new
    try:
        return kind.__new__(kind)
    except Exception:
        return x


def slots(x: Any) -> tuple[str, ...]:
    """Return the names of the slots of an object, as far as they are of a user's class."""
    kind: Any = type(x)
    return _slots(kind)


@lru_cache(maxsize=1024)
def _slots(kind: Any) -> tuple[str, ...]:
    found: list[str] = []
    for base in kind.__mro__:
        names = () if is_foreign(base) else vars(base).get("__slots__", ())
        found += [names] if isinstance(names, str) else list(names)
    return tuple(name for name in found if name not in ("__dict__", "__weakref__"))


def as_tuple(x: tuple[Any, ...], inside: list[Any]) -> Any:
    """Return a tuple of the type of ``x``, a named one too."""
    make = getattr(type(x), "_make", type(x))
    return make(inside)


def refill(held: dict[Any, Any], before: dict[Any, Any]) -> None:
    """Let a dictionary hold these entries, without a method of a subclass."""
    # an OrderedDict, such as the hooks of a module, keeps its order beside the dict
    kind = collections.OrderedDict if isinstance(held, collections.OrderedDict) else dict
    kind.clear(held)
    kind.update(held, before)


def refill_sequence(x: Any, values: list[Any]) -> None:
    """Let a list or deque hold these values."""
    kind = list if isinstance(x, list) else collections.deque
    kind.clear(x)
    kind.extend(x, values)
