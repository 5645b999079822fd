"""A parameter that moves: an evaluation has to use it itself, and what it writes is undone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.callbacks.isolation.copies import snapshot

__all__ = ["Moving", "reached_by", "version"]

# Noise that a step adds to a parameter and takes away again leaves rounding errors.
_ROUNDINGS = 100


class Moving:
    """The value and the gradient of a parameter as they are now.

    During the evaluation ``.grad`` is a copy. That a step has written to the parameter is seen by
    its version, by its memory, which another tensor may have replaced, and, because what writes
    through ``.data`` changes neither, by torch's own mark of memory that is shared with the copy.

    Args:
        parameter: of the module.
        path: where the module holds it.
    """

    def __init__(self, parameter: Tensor, path: str) -> None:
        self.parameter, self.path = parameter, path
        self._data = parameter.data
        self._value = snapshot(self._data)
        self._version, self._gradient = version(parameter), parameter.grad
        self._is_plain = _is_plain(parameter)
        self._memory = parameter.untyped_storage()._cdata if self._is_plain else 0
        self._moved_to = self._value
        if self._gradient is not None:
            parameter.grad = snapshot(self._gradient)

    @torch.no_grad()
    def move(self) -> None:
        """Let the parameter have the value that the evaluation gave it."""
        self.parameter.data.copy_(self._moved_to)

    def restore(self) -> bool:
        """Let value and gradient be as before; return whether the value was materially another."""
        moved = self._is_written_to() and self._put_back()
        if self.parameter.grad is not self._gradient:
            self.parameter.grad = self._gradient
        return moved

    @torch.no_grad()
    def _put_back(self) -> bool:
        parameter, now = self.parameter, self.parameter.detach()
        moved = now.shape != self._value.shape or not _alike(now, self._value)
        self._moved_to = now.clone() if moved else now
        if self._memory and parameter.untyped_storage()._cdata != self._memory:
            parameter.data = self._data
        if not torch.equal(self._data, self._value):
            self._data.copy_(self._value)
        if moved and not parameter.is_inference():  # for graphs that had the value before
            torch._C._autograd._unsafe_set_version_counter((parameter,), (self._version,))
        return moved

    def _is_written_to(self) -> bool:
        if version(self.parameter) != self._version:
            return True
        if not self._is_plain:
            return False
        other = self.parameter.untyped_storage()._cdata != self._memory
        shared: Any = torch._C
        return other or not shared._is_cow_tensor(self.parameter)


def version(x: Tensor) -> int:
    """Return how often a tensor has been written to."""
    return 0 if x.is_inference() else x._version


def reached_by(outputs: Sequence[Tensor]) -> set[int]:
    """Return the ids of the leaves of the graph of ``outputs``."""
    todo: list[Any] = [output.grad_fn for output in outputs]
    seen, leaves = set(), set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaves.add(id(getattr(node, "variable", None)))
        todo += [following for following, _ in node.next_functions]
    return leaves


def _is_plain(x: Tensor) -> bool:
    return type(x) in (Tensor, torch.nn.Parameter) and x.layout == torch.strided


def _alike(a: Tensor, b: Tensor) -> bool:
    if not (a.is_floating_point() or a.is_complex()):
        return torch.equal(a, b)
    scale = b.abs().max() if b.numel() else 0.0
    return bool(((a - b).abs() <= _ROUNDINGS * torch.finfo(a.dtype).eps * scale).all())
