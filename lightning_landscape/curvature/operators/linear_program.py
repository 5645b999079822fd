"""A linear function as the list of operations that its derivative took."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["LinearProgram"]


class LinearProgram:
    """The derivative of a function at a point, as a function of the direction.

    The function is evaluated once, in forward mode, and the operations that saw the direction are
    noted in their order; all else is a constant of them. A call does these again. It is what
    `torch.func.linearize` gives, at the price of some 20 us an operation instead of some ms.

    Where an operation writes into a constant, the program writes into a copy of it. What depends
    on the values of the point, such as a branch, is as it was there.

    Cost: one evaluation in forward mode; memory, the constants that the operations take.

    Args:
        function: from tensors to tensors.
        point: the tensors.
        direction: of their shapes; any but zeros, which PyTorch would take a shorter way with.

    Raises:
        NotImplementedError: an operation writes into a part of a constant.

    >>> program = LinearProgram(lambda x: [x**3], [torch.tensor(2.0)], [torch.tensor(1.0)])
    >>> program([torch.tensor(10.0)])
    [tensor(120.)]
    """

    def __init__(
        self,
        function: Callable[..., Sequence[Tensor]],
        point: Sequence[Tensor],
        direction: Sequence[Tensor],
    ) -> None:
        recorder = _Recorder(direction)
        with recorder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of PyTorch's forward mode, about itself
            derivative = torch.func.jvp(function, tuple(point), tuple(direction))[1]
        self._results = [recorder.place_of(t) for t in derivative]
        self._operations = _needed(recorder.operations, self._results)
        self._last_uses = _last_uses(self._operations, self._results)

    def __call__(self, direction: Sequence[Tensor]) -> list[Tensor]:
        """Return the derivative in a direction."""
        values: dict[int, Tensor] = dict(enumerate(direction))
        for operation, done in zip(self._operations, self._last_uses, strict=True):
            args = _filled(operation.args, values)
            output = operation.function(*args, **_filled(operation.kwargs, values))
            tensors = output if isinstance(output, tuple | list) else (output,)
            values.update(zip(operation.outputs, tensors, strict=True))
            for place in done:
                del values[place]
        return [_filled(result, values) for result in self._results]


class _Place(int):
    """Where a tensor that depends on the direction is kept."""


class _Operation(NamedTuple):
    """A call, with places for tensors that depend on the direction, and the places of its outputs.

    An output that is no tensor has a place too, at which nobody looks.
    """

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[int, ...]
    inputs: tuple[int, ...]


class _Recorder(TorchDispatchMode):
    """Notes the operations on ``direction`` and on what has come of it."""

    def __init__(self, direction: Sequence[Tensor]) -> None:
        super().__init__()
        self._places = {id(t): k for k, t in enumerate(direction)}
        self._count = len(self._places)
        self._held: list[Any] = list(direction)  # so that no other tensor can have their id
        self.operations: list[_Operation] = []

    def place_of(self, value: Any) -> Any:
        """Return the place of a tensor that depends on the direction, anything else as it is."""
        if isinstance(value, Tensor):
            place = self._places.get(id(value))
            return value.detach() if place is None else _Place(place)
        if isinstance(value, tuple | list):
            return type(value)(map(self.place_of, value))
        return value

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if any(id(t) in self._places for t in _tensors((args, tuple(kwargs.values())))):
            if func._schema.is_mutable:
                self._copy_constants(func, args, kwargs)
            placed = self.place_of(args), {k: self.place_of(v) for k, v in kwargs.items()}
            output = func(*args, **kwargs)
            self._note(func, *placed, output)
            return output
        return func(*args, **kwargs)

    def _note(self, func: Any, args: Any, kwargs: Any, output: Any) -> None:
        inputs = tuple(p for p in _leaves((args, tuple(kwargs.values()))) if isinstance(p, _Place))
        outputs = tuple(output) if isinstance(output, tuple | list) else (output,)
        places = tuple(map(self._keep, outputs))
        self.operations.append(_Operation(func, args, kwargs, places, inputs))

    def _keep(self, tensor: Any) -> int:
        self._held.append(tensor)
        if not isinstance(tensor, Tensor):
            self._count += 1
            return self._count - 1
        place = self._places.setdefault(id(tensor), self._count)
        self._count += place == self._count
        return place

    def _copy_constants(self, func: Any, args: Any, kwargs: Any) -> None:
        """Let the program copy the constants that ``func`` is about to write into."""
        given = zip(func._schema.arguments, args, strict=False)
        named = {argument.name: argument for argument in func._schema.arguments}
        pairs = [*given, *((named[name], value) for name, value in kwargs.items())]
        for argument, value in pairs:
            written = argument.alias_info is not None and argument.alias_info.is_write
            if written and id(value) not in self._places:
                if value._is_view():
                    raise NotImplementedError(f"{func} writes into a part of a constant")
                constant = value.detach().clone()
                self._note(torch.ops.aten.clone.default, (constant,), {}, value)


def _leaves(nested: Any) -> list[Any]:
    if isinstance(nested, tuple | list):
        return [leaf for each in nested for leaf in _leaves(each)]
    return [nested]


def _tensors(nested: Any) -> list[Tensor]:
    return [leaf for leaf in _leaves(nested) if isinstance(leaf, Tensor)]


def _filled(nested: Any, values: dict[int, Tensor]) -> Any:
    """Return arguments with the tensors in their places."""
    if isinstance(nested, _Place):
        return values[nested]
    if isinstance(nested, tuple | list):
        return type(nested)([_filled(each, values) for each in nested])
    if isinstance(nested, dict):
        return {name: _filled(each, values) for name, each in nested.items()}
    return nested


def _needed(operations: Sequence[_Operation], results: Sequence[Any]) -> list[_Operation]:
    """Return the operations whose outputs are looked at, and those that write into others'."""
    wanted, needed = {int(p) for p in results if isinstance(p, _Place)}, []
    for operation in reversed(operations):
        if wanted.intersection(operation.outputs) or operation.function._schema.is_mutable:
            wanted.update(operation.inputs)
            needed.append(operation)
    return needed[::-1]


def _last_uses(operations: Sequence[_Operation], results: Sequence[Any]) -> list[list[int]]:
    """Return which places are looked at, or written, for the last time by each operation."""
    seen, last = {int(p) for p in results if isinstance(p, _Place)}, []
    for operation in reversed(operations):
        done = {*map(int, operation.inputs), *operation.outputs} - seen
        seen |= done
        last.append(list(done))
    return last[::-1]
