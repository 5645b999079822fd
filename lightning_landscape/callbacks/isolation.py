"""Isolation of one evaluation: what it changes in a module or a batch is as before afterwards.

The evaluation runs on copies. Before it, every tensor that is reachable from the module and the
batch, except the trainable parameters, is replaced by a copy, and what the containers and objects
hold is noted; after it, they hold again what they held. The originals are never written to, so a
graph that the evaluation leaves behind stays valid.

Copies are copy-on-write: they cost about 10 microseconds a tensor and no memory until one of them
is written to, so memory grows by what the evaluation changes and by nothing else.
"""

from __future__ import annotations

import collections
import copy
import io
import random
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import UsageError

__all__ = ["CannotRestore", "isolated", "keep", "snapshot"]

# An array above this size is made read-only for the evaluation instead of being copied.
_LARGE = 2**24

_ATOMS = (type(None), bool, int, float, complex, str, bytes, range, torch.dtype, torch.device,
          torch.Size, type, types.FunctionType, types.BuiltinFunctionType, types.MethodType,
          types.ModuleType)  # fmt: skip
# Data sets and optimizers, and objects of these packages, carry no state of a training step.
_STATELESS = (torch.optim.Optimizer, Dataset, DataLoader, Sampler)
_FOREIGN = {"torch", "pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities",
            "lightning_landscape", "logging", "threading", "_thread", "weakref", "functools",
            "concurrent", "asyncio", "re", "pathlib", "matplotlib"}  # fmt: skip
# Attributes of every module: its tensors and children are visited, its hooks are not state.
_OF_EVERY_MODULE = set(nn.Module().__dict__) - {"_parameters", "_buffers", "_modules", "training"}
_NOT_VISITED = _OF_EVERY_MODULE | {"_trainer", "_fabric", "_jit_module", "_hparams_initial"}


class CannotRestore(UsageError):
    """An evaluation changed something that cannot be put back."""


@contextmanager
def isolated(module: nn.Module, batch: Any) -> Iterator[Any]:
    """Let the body evaluate ``module`` once on the batch that is yielded, and undo what it does.

    Restored are parameters, buffers, attributes of every submodule and of the objects that they
    hold, containers at any depth, states of metrics, class attributes, generators of random
    numbers, iterators of the standard library, and the batch. Not seen: global variables and what
    only a closure holds.

    Args:
        module: the module that the body evaluates.
        batch: the batch; the body must use the one that is yielded.

    Raises:
        CannotRestore: a Python generator, a file, or a tensor that is also held elsewhere was
            changed; the sentence names the attribute.
    """
    guard = _Guard()
    try:
        for parameter in module.parameters():
            guard.protect(parameter)
        guard.visit(module, type(module).__name__)
        yield guard.visit(batch, "batch")
    finally:
        guard.undo()
    guard.check()


def snapshot(tensor: Tensor) -> Tensor:
    """Return a copy-on-write copy of a tensor without its graph; a plain one where there is none.

    >>> x = torch.zeros(2)
    >>> y = snapshot(x)
    >>> x.add_(1), y
    (tensor([1., 1.]), tensor([0., 0.]))
    """
    plain = tensor.detach()
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
    if isinstance(x, _ATOMS) or id(x) in seen:
        return seen.get(id(x), x)
    if isinstance(x, Tensor):
        seen[id(x)] = snapshot(x).requires_grad_(x.requires_grad)
    elif isinstance(x, tuple):
        inside = [_kept(value, seen) for value in x]
        seen[id(x)] = _as_tuple(x, inside)
    elif isinstance(x, set | bytearray | np.ndarray):
        seen[id(x)] = x.copy()
    elif isinstance(x, dict | list | collections.deque) or _has_state(x):
        seen[id(x)] = new = copy.copy(x)
        if isinstance(x, dict):
            dict.update(new, {key: _kept(value, seen) for key, value in x.items()})
        elif isinstance(x, list | collections.deque):
            _refill_sequence(new, [_kept(value, seen) for value in x])
        else:
            vars(new).update({name: _kept(value, seen) for name, value in vars(x).items()})
    else:
        return x
    return seen[id(x)]


def _has_state(x: Any) -> bool:
    stateless = isinstance(x, _STATELESS) or type(x).__module__.split(".")[0] in _FOREIGN
    return hasattr(x, "__dict__") and not stateless


def _as_tuple(x: tuple[Any, ...], inside: list[Any]) -> Any:
    make = getattr(type(x), "_make", type(x))  # of a named tuple
    return make(inside)


class _Guard:
    """What has been replaced, and how to put it back."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []
        self._seen: dict[int, tuple[Any, Any]] = {}  # by id: the object, kept alive, and its copy
        self._storages: dict[int, Tensor] = {}
        self._originals: list[tuple[Tensor, int, str]] = []
        self._trainable: list[tuple[Tensor, int, Tensor]] = []
        self._watched: list[tuple[Callable[[], Any], Any, str]] = []

    # before

    def protect(self, parameter: Tensor) -> None:
        """Keep the value of a trainable parameter, which the evaluation has to use itself."""
        if parameter.requires_grad and not is_lazy(parameter):
            self._seen[id(parameter)] = (parameter, parameter)
            self._trainable.append((parameter, _version(parameter), snapshot(parameter)))

    def visit(self, x: Any, path: str) -> Any:
        """Return what stands for ``x`` during the evaluation, and note how to restore it."""
        if isinstance(x, _ATOMS):
            return x
        if id(x) not in self._seen:
            self._seen[id(x)] = (x, x)  # until it is known, so that cycles end
            self._seen[id(x)] = (x, self._stand_in(x, path))
        return self._seen[id(x)][1]

    def _stand_in(self, x: Any, path: str) -> Any:
        if isinstance(x, Tensor):
            return self._tensor(x, path)
        if isinstance(x, nn.Module):
            return self._module(x, path)
        if isinstance(x, dict):
            return self._dict(x, path)
        if isinstance(x, list | collections.deque):
            return self._sequence(x, path)
        if isinstance(x, tuple):
            return self._tuple(x, path)
        if isinstance(x, set | bytearray):
            return self._contents(x)
        if isinstance(x, np.ndarray):
            return self._array(x)
        if (generator := self._random(x)) is not None:
            return generator
        return self._iterator(x, path) if isinstance(x, Iterator) else self._object(x, path)

    def _tensor(self, x: Tensor, path: str) -> Tensor:
        if is_lazy(x):
            return x
        self._originals.append((x, _version(x), path))
        if x.grad_fn is not None:  # part of a graph that a copy would leave
            return x
        copied = self._copy(x)
        if isinstance(x, nn.Parameter):
            return nn.Parameter(copied, requires_grad=x.requires_grad)
        return copied.requires_grad_(x.requires_grad)

    def _copy(self, x: Tensor) -> Tensor:
        """Copy a tensor; tensors that share memory have copies that share theirs."""
        if type(x) not in (Tensor, nn.Parameter) or x.layout != torch.strided:
            return snapshot(x)
        key = x.untyped_storage()._cdata
        if key not in self._storages:
            copied = snapshot(x)
            if copied.untyped_storage().nbytes() == x.untyped_storage().nbytes():
                self._storages[key] = copied
            return copied
        shared = self._storages[key].untyped_storage()
        out = torch.empty(0, dtype=x.dtype, device=x.device)
        return out.set_(shared, x.storage_offset(), x.size(), x.stride())

    def _module(self, module: nn.Module, path: str) -> nn.Module:
        if isinstance(module, Energy):  # ours have no state of a training step
            return module
        self._class(type(module))
        self._attributes(vars(module), path, _NOT_VISITED)
        return module

    def _class(self, kind: type) -> None:
        """Note the plain attributes of a user's classes, which count steps now and then."""
        for base in kind.__mro__:
            if base.__module__.split(".")[0] in _FOREIGN | {"builtins", "torchmetrics", "abc"}:
                continue
            if id(base) in self._seen:
                continue
            self._seen[id(base)] = (base, base)
            for name, value in list(vars(base).items()):
                if name.startswith("__"):
                    continue
                if isinstance(value, bool | int | float | str):
                    self._undo.append(partial(setattr, base, name, value))
                elif isinstance(value, dict | list | set | collections.deque):
                    self.visit(value, f"{base.__name__}.{name}")

    def _attributes(self, held: dict[str, Any], path: str, omit: set[str]) -> None:
        before = dict(held)
        self._undo.append(lambda: _refill(held, before))
        for name, value in before.items():
            if name in ("_parameters", "_buffers", "_modules"):
                self._dict(value, path, "{}.{}")
            elif name not in omit:
                held[name] = self.visit(value, f"{path}.{name}")

    def _dict(self, x: dict[Any, Any], path: str, of: str = "{}[{!r}]") -> Any:
        before = dict(x)
        self._undo.append(lambda: _refill(x, before))
        for key, value in before.items():
            if not isinstance(value, _ATOMS):
                dict.__setitem__(x, key, self.visit(value, of.format(path, key)))
        return x

    def _sequence(self, x: Any, path: str) -> Any:
        before = list(x)
        self._undo.append(lambda: _refill_sequence(x, before))
        for k, value in enumerate(before):
            if not isinstance(value, _ATOMS):
                x[k] = self.visit(value, f"{path}[{k}]")
        return x

    def _tuple(self, x: tuple[Any, ...], path: str) -> Any:
        inside = [self.visit(value, f"{path}[{k}]") for k, value in enumerate(x)]
        if all(a is b for a, b in zip(inside, x, strict=True)):
            return x
        return _as_tuple(x, inside)

    def _contents(self, x: Any) -> Any:
        before = copy.copy(x)
        if isinstance(x, set):
            self._undo += [partial(x.update, before), x.clear]  # undone in the reverse order
        else:
            self._undo.append(lambda: x.__setitem__(slice(None), before))
        return x

    def _array(self, x: np.ndarray) -> np.ndarray:
        if x.nbytes <= _LARGE:
            return x.copy()
        if x.flags.writeable:
            x.flags.writeable = False
            self._undo.append(lambda: setattr(x.flags, "writeable", True))
        return x

    def _random(self, x: Any) -> Any:
        if isinstance(x, torch.Generator):
            state = x.get_state()
            self._undo.append(lambda: x.set_state(state))
        elif isinstance(x, np.random.Generator):
            before = x.bit_generator.state
            self._undo.append(lambda: setattr(x.bit_generator, "state", before))
        elif isinstance(x, np.random.RandomState):
            old = x.get_state()
            self._undo.append(lambda: x.set_state(old))
        elif isinstance(x, random.Random):
            kept = x.getstate()
            self._undo.append(lambda: x.setstate(kept))
        else:
            return None
        return x

    def _iterator(self, x: Any, path: str) -> Any:
        if isinstance(x, types.GeneratorType):
            self._watch(lambda: _progress(x), path)
            return x
        if isinstance(x, io.IOBase):
            return self._file(x, path)
        if type(x).__module__ in ("builtins", "itertools"):
            try:
                return copy.copy(x)
            except TypeError:
                return x
        return self._object(x, path)

    def _file(self, x: io.IOBase, path: str) -> io.IOBase:
        if not x.closed and x.seekable():
            self._watch(x.tell, path)
        return x

    def _object(self, x: Any, path: str) -> Any:
        if isinstance(x, io.IOBase):
            return self._file(x, path)
        if isinstance(x, _STATELESS) or type(x).__module__.split(".")[0] in _FOREIGN:
            return x
        if _has_state(x):
            self._class(type(x))
            self._attributes(vars(x), path, set())
        for name in _slots(type(x)):
            if hasattr(x, name):
                self._slot(x, name, f"{path}.{name}")
        return x

    def _slot(self, x: Any, name: str, path: str) -> None:
        before = getattr(x, name)
        try:
            object.__setattr__(x, name, self.visit(before, path))
        except (AttributeError, TypeError):  # a slot that only C code can set
            return
        self._undo.append(lambda: object.__setattr__(x, name, before))

    def _watch(self, look: Callable[[], Any], path: str) -> None:
        self._watched.append((look, look(), path))

    # after

    def undo(self) -> None:
        """Put everything back, in the reverse order."""
        for step in reversed(self._undo):
            step()
        for parameter, version, value in self._trainable:
            if _version(parameter) != version:
                parameter.data.copy_(value)  # through .data: the graph of the energy stays valid

    def check(self) -> None:
        """Refuse what could be seen to change and not be put back."""
        changed = [path for look, before, path in self._watched if look() != before]
        changed += [path for x, version, path in self._originals if _version(x) != version]
        if changed:
            raise CannotRestore(
                f"{changed[0]}: is changed by an evaluation of the training step and cannot be "
                'restored; give the module a method energy(batch) and the probe loss_fn="energy", '
                "or give the probe a loss_fn(pl_module, batch) without side effects"
            )


def _version(x: Tensor) -> int:
    return 0 if x.is_inference() else x._version


def _refill(held: dict[Any, Any], before: dict[Any, Any]) -> None:
    dict.clear(held)
    dict.update(held, before)


def _refill_sequence(x: Any, before: list[Any]) -> None:
    x.clear()
    x.extend(before)


def _progress(generator: types.GeneratorType[Any, Any, Any]) -> Any:
    frame = generator.gi_frame
    if frame is None:
        return None
    return frame.f_lasti, {name: id(value) for name, value in frame.f_locals.items()}


def _slots(kind: type) -> list[str]:
    found: list[str] = []
    for base in kind.__mro__:
        names = vars(base).get("__slots__", ())
        found += [names] if isinstance(names, str) else list(names)
    return [name for name in found if name not in ("__dict__", "__weakref__")]
