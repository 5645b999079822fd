"""What has been replaced for an evaluation, and how to put it back."""

from __future__ import annotations

import array
import collections
import copy
import io
import random
import types
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lightning_landscape.callbacks.isolation._globals import carried, package_of
from lightning_landscape.callbacks.isolation._objects import class_attributes, restore_class
from lightning_landscape.callbacks.isolation._parameters import Moving, reached_by, version
from lightning_landscape.callbacks.isolation.copies import (
    ATOMS,
    as_tuple,
    has_state,
    is_collection,
    is_foreign,
    refill,
    refill_sequence,
    slots,
    snapshot,
)
from lightning_landscape.callbacks.isolation.stand_ins import (
    CannotRestore,
    MovesParameters,
    OnceOnly,
    discarding,
    in_memory,
    of_pandas,
    rebuilt,
)
from lightning_landscape.energies.energy import Energy

__all__ = ["Guard"]

# An array above this size is made read-only for the evaluation instead of being copied.
_LARGE = 2**24
# A global table with more entries is one of constants.
_MANY = 1000
_KINDS_OF_ATOMS = frozenset(ATOMS)
_SCHEDULERS = (torch.optim.lr_scheduler.LRScheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
# Of every module: its tensors and children are visited by themselves; what Lightning has is not.
_TENSORS = ("_parameters", "_buffers", "_modules")
_HOOKS = set(nn.Module().__dict__) - {*_TENSORS, "training"}
_NOT_VISITED = {*_TENSORS, "_trainer", "_fabric", "_jit_module", "_hparams_initial"}


class Guard:
    """What has been replaced, and how to put it back.

    Args:
        module: whose parameters that require gradients are used themselves.
    """

    def __init__(self, module: nn.Module) -> None:
        self._coordinates = {id(p) for p in module.parameters()}
        self._undo: list[Callable[[], object]] = []
        self._seen: dict[int, tuple[Any, Any]] = {}  # by id: the object, kept alive, and its copy
        self._storages: dict[int, Tensor] = {}
        self._originals: list[tuple[Tensor, int, str]] = []
        self._moving: list[Moving] = []
        self._moved: list[Moving] = []

    # before

    def settings(self, optimizer: torch.optim.Optimizer) -> None:
        """Let an optimizer that does no step meanwhile have the settings that it has now."""
        if id(optimizer) not in self._seen:
            self._seen[id(optimizer)] = (optimizer, optimizer)
            for group in optimizer.param_groups:
                self._undo.append(partial(refill, group, dict(group)))

    def shallow(self, x: Any) -> None:
        """Let an object have the attributes that it has now."""
        held = vars(x)
        self._undo.append(partial(refill, held, dict(held)))

    def visit(self, x: Any, path: str) -> Any:
        """Return what stands for ``x`` during the evaluation, and note how to restore it."""
        if type(x) in _KINDS_OF_ATOMS:
            return x
        seen = self._seen.get(id(x))
        if seen is not None:
            return seen[1]
        self._seen[id(x)] = (x, x)  # until it is known, so that cycles end
        inside = self._stand_in(x, path)
        self._seen[id(x)] = (x, inside)
        return inside

    def _stand_in(self, x: Any, path: str) -> Any:
        if isinstance(x, Tensor):
            return self._tensor(x, path)
        if isinstance(x, nn.Module):
            return self._module(x, path)
        if isinstance(x, ATOMS):
            return x
        if isinstance(x, dict):
            return self._dict(x, path)
        if isinstance(x, list | collections.deque):
            return self._sequence(x, path)
        if isinstance(x, tuple):
            return self._tuple(x, path)
        if isinstance(x, set | bytearray | array.array):
            return self._contents(x)
        if isinstance(x, np.ndarray):
            return self._array(x)
        if isinstance(x, types.FunctionType):
            return self._function(x, path)
        if isinstance(x, types.MethodType | types.BuiltinMethodType | partial):
            return self._bound(x, path)
        if (generator := self._random(x)) is not None:
            return generator
        if isinstance(x, io.IOBase):
            return self._file(x, path)
        if type(x).__module__.partition(".")[0] == "pandas" and hasattr(x, "memory_usage"):
            return of_pandas(x)
        return self._iterator(x, path) if isinstance(x, Iterator) else self._object(x, path)

    def _tensor(self, x: Tensor, path: str) -> Tensor:
        if is_lazy(x):
            return x
        is_parameter = isinstance(x, nn.Parameter)
        if x.requires_grad and id(x) in self._coordinates:  # the evaluation has to use it itself
            self._moving.append(Moving(x, path))
            return x
        self._originals.append((x, version(x), path))
        if x.grad_fn is not None:  # part of a graph that a copy would leave
            return x
        copied = self._copy(x)
        if is_parameter:
            return nn.Parameter(copied, requires_grad=x.requires_grad)
        return copied.requires_grad_() if x.requires_grad else copied

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
        # energies of ours have no state of a training step; the tensors of a compiled script
        # cannot be replaced, and `measuring` restores its buffers
        if isinstance(module, Energy | torch.jit.ScriptModule):
            return module
        self._class(type(module))
        held = vars(module)
        self._attributes(held, path, _NOT_VISITED)
        for name in _TENSORS:
            if held[name]:
                self._dict(held[name], path, "{}.{}")
            else:  # what the step adds is taken away again
                self._undo.append(held[name].clear)
        return module

    def _class(self, kind: type) -> None:
        """Note the plain attributes of a user's classes, and what their methods use beside."""
        for base, before in class_attributes(kind):
            if id(base) in self._seen:
                continue
            self._seen[id(base)] = (base, base)
            self._undo.append(partial(restore_class, base, before))
            for name, value in before.items():
                inside = self.visit(value, f"{base.__name__}.{name}")
                if inside is not value:
                    setattr(base, name, inside)
            self._used_by_methods(base)

    def _used_by_methods(self, base: type) -> None:
        """Visit global variables and closures."""
        names, functions = carried(base)
        for function in functions:
            self._function(function, function.__qualname__)
        for held, name in names:
            if name not in held:
                self._undo.append(partial(held.pop, name, None))
                continue
            value = held[name]
            self._undo.append(partial(held.__setitem__, name, value))
            if type(value) not in _KINDS_OF_ATOMS and _is_variable(value, package_of(base)):
                held[name] = self.visit(value, name)

    def _attributes(self, held: dict[str, Any], path: str, omit: set[str]) -> None:
        before = dict(held)
        self._undo.append(partial(refill, held, before))
        for name, value in before.items():
            if type(value) in _KINDS_OF_ATOMS or name in omit:
                continue
            if name not in _HOOKS or value:
                held[name] = self.visit(value, f"{path}.{name}")

    def _dict(self, x: dict[Any, Any], path: str, of: str = "{}[{!r}]") -> Any:
        before = dict(x)
        self._undo.append(partial(refill, x, before))
        for key, value in before.items():
            if type(value) not in _KINDS_OF_ATOMS:
                dict.__setitem__(x, key, self.visit(value, of.format(path, key)))
        return x

    def _sequence(self, x: Any, path: str) -> Any:
        before = list(x)
        self._undo.append(partial(refill_sequence, x, before))
        for k, value in enumerate(before):
            if type(value) not in _KINDS_OF_ATOMS:
                x[k] = self.visit(value, f"{path}[{k}]")
        return x

    def _tuple(self, x: tuple[Any, ...], path: str) -> Any:
        inside = [self.visit(value, f"{path}[{k}]") for k, value in enumerate(x)]
        if all(a is b for a, b in zip(inside, x, strict=True)):
            return x
        return as_tuple(x, inside)

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

    def _function(self, x: types.FunctionType, path: str) -> Any:
        """Visit what a function carries: its closure, default values and attributes."""
        if is_foreign(x):
            return x
        for cell in x.__closure__ or ():
            self._cell(cell, path)
        for value in x.__defaults__ or ():
            self.visit(value, path)
        if vars(x):
            self._attributes(vars(x), path, set())
        return x

    def _cell(self, cell: types.CellType, path: str) -> None:
        try:
            before = cell.cell_contents
        except ValueError:  # empty
            return
        self._undo.append(partial(setattr, cell, "cell_contents", before))
        cell.cell_contents = self.visit(before, path)

    def _bound(self, x: Any, path: str) -> Any:
        """Visit what a method or a partial function is bound to."""
        if isinstance(x, partial):
            function, *inside = [self.visit(value, path) for value in (x.func, *x.args)]
            held = {name: self.visit(value, path) for name, value in x.keywords.items()}
            return partial(function, *inside, **held)
        bound = self.visit(x.__self__, path)
        return x if bound is x.__self__ else getattr(bound, x.__name__)

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

    def _iterator(self, x: Iterator[Any], path: str) -> Any:
        if type(x).__module__ in ("builtins", "itertools"):
            copied = rebuilt(x, lambda inner: self.visit(inner, path))
            return OnceOnly(path) if copied is None else copied
        return OnceOnly(path) if is_foreign(type(x)) else self._object(x, path)

    def _file(self, x: io.IOBase, path: str) -> io.IOBase:
        if x.closed:
            return x
        if isinstance(x, io.StringIO | io.BytesIO):
            return in_memory(x)
        if not x.readable():
            return discarding(x)
        if x.writable() or not x.seekable():
            return OnceOnly(path)  # type: ignore[return-value]
        place = x.tell()
        self._undo.append(lambda: x.seek(place))
        return x

    def _object(self, x: Any, path: str) -> Any:
        if isinstance(x, torch.optim.Optimizer):
            self._optimizer(x, path)
        elif isinstance(x, _SCHEDULERS):
            self.shallow(x)
            self.visit(x.optimizer, path)
        elif is_collection(x):
            self.collection(x, path)
        elif has_state(x):
            self._class(type(x))
            self._attributes(getattr(x, "__dict__", {}), path, set())
            for name in slots(x):
                if hasattr(x, name):
                    self._slot(x, name, f"{path}.{name}")
        return x

    def _optimizer(self, x: torch.optim.Optimizer, path: str) -> None:
        """Visit one that the module steps by itself, with its parameters and their state."""
        for group in x.param_groups:
            self._dict(group, path)
        self._dict(x.state, path)
        for parameter in list(x.state):
            inside = self.visit(parameter, path)
            x.state[inside] = x.state.pop(parameter)

    def collection(self, x: Any, path: str) -> None:
        """Note what a data set holds, which may be very many things, but not what is in them."""
        held, before = vars(x), dict(vars(x))
        self._undo.append(partial(refill, held, before))
        for name, value in before.items():
            if isinstance(value, dict):
                self._undo.append(partial(refill, value, dict(value)))
            elif isinstance(value, list | collections.deque):
                self._undo.append(partial(refill_sequence, value, list(value)))
            elif isinstance(value, set | bytearray | array.array | Tensor | np.ndarray):
                held[name] = self.visit(value, f"{path}.{name}")
            else:
                self._random(value)

    def _slot(self, x: Any, name: str, path: str) -> None:
        before = getattr(x, name)
        try:
            object.__setattr__(x, name, self.visit(before, path))
        except (AttributeError, TypeError):  # a slot that only C code can set
            return
        self._undo.append(lambda: object.__setattr__(x, name, before))

    # after

    def undo(self) -> None:
        """Put everything back, in the reverse order."""
        for step in reversed(self._undo):
            step()
        self._moved = [moving for moving in self._moving if moving.restore()]

    def check(self, outputs: Sequence[Tensor]) -> None:
        """Refuse what could be seen to change and not be put back.

        Where derivatives are wanted, also a step that moves parameters on which its outputs depend:
        they would be taken at the values before it, of an energy after it.
        """
        changed = [path for x, before, path in self._originals if version(x) != before]
        if changed:
            raise CannotRestore(changed[0])
        if self._moved and torch.is_grad_enabled():
            used = reached_by(outputs)
            if any(id(moved.parameter) in used for moved in self._moved):
                raise MovesParameters(self._moved)


def _is_variable(value: Any, package: str) -> bool:
    """Whether the value of a global variable may be state of a step, and not a library's own."""
    if isinstance(value, dict | list | set | collections.deque):
        return len(value) <= _MANY
    kinds = Tensor | np.ndarray | torch.Generator | np.random.Generator | np.random.RandomState
    if isinstance(value, kinds | random.Random | nn.Module | Iterator):
        return True
    return package_of(type(value)) == package
