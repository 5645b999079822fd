"""Layers whose input is the same at every point of a cut, computed once for the whole cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Known", "Point"]

_LAYERS = (F.linear, F.conv1d, F.conv2d, F.conv3d)


class Layer(NamedTuple):
    """A layer with the same input at every point so far.

    Attributes:
        input: the input.
        outputs: for each term of the cut, (1 + D, ...); none, shape (0,), after one point.
        parameters: the names of the weight and of the bias, if there is one.
    """

    input: Tensor
    outputs: Tensor
    parameters: tuple[str, ...]


class Known:
    """What the points of a cut have in common.

    Args:
        terms: of each parameter its values at the origin and in the directions, (1 + D, ...).
    """

    def __init__(self, terms: Mapping[str, Tensor]) -> None:
        self.terms = terms
        self.origin = {name: term[0] for name, term in terms.items()}
        self.layers: dict[str, Layer | None] = {}  # None: the input changes

    def layers_with_outputs(self) -> list[Layer]:
        """Return the layers whose outputs are known at every point."""
        return [layer for layer in self.layers.values() if layer and layer.outputs.numel()]


class Point:
    """One point of a cut, and the parameters there, each made when it is asked for.

    Args:
        coordinates: c, shape (D,).
        known: from the points before; what is seen here is added.
    """

    def __init__(self, coordinates: Tensor, known: Known) -> None:
        self.factors = torch.cat([torch.ones_like(coordinates[:1]), coordinates])
        self.known = known
        self._made: dict[str, Tensor] = {}

    def parameters(self, lazy: frozenset[str]) -> dict[str, Tensor]:
        """Return the parameters; some as stand-ins, which spare the layers that are known."""
        return {
            name: _Parameter.at(self, name) if name in lazy else self.value(name)
            for name in self.known.terms
        }

    def value(self, name: str) -> Tensor:
        """Return a parameter, in memory of its own."""
        if name not in self._made:
            self._made[name] = self.sum(self.known.terms[name])
        return self._made[name]

    def sum(self, terms: Tensor) -> Tensor:
        """Return the sum of terms (1 + D, ...), at the origin and along the directions."""
        return torch.tensordot(self.factors.to(terms.dtype), terms, dims=1)

    def outputs(
        self, function: Any, x: Tensor, names: tuple[str, ...], options: dict[str, Any]
    ) -> Tensor | None:
        """Return the outputs of a layer for each term, or None where they are not known."""
        layers, weight = self.known.layers, names[0]
        if weight not in layers:
            layers[weight] = Layer(_snapshot(x), x.new_empty(0), names)
            return None
        layer = layers[weight]
        if layer is None:
            return None
        if names != layer.parameters or not _equal(x, layer.input):
            layers[weight] = None
            return None
        if not layer.outputs.numel():
            rows = zip(*[self.known.terms[name] for name in names], strict=True)
            outputs = torch.stack([function(x, *row, **options) for row in rows])
            layers[weight] = layer = layer._replace(outputs=outputs)
        return layer.outputs


class _Parameter(Tensor):
    r"""A parameter that is made when it is needed, which a layer with a known input does not.

    A linear or convolutional layer is linear in its weights: at W = W_0 + \sum_k c_k W_k with the
    same input x,

        W x + b = (W_0 x + b_0) + \sum_k c_k (W_k x + b_k),

    where the brackets are computed once. The first layer of a network sees the data at every point
    of a cut, whatever follows, and among fully connected layers it is often the most expensive
    one. That an input is the same is seen by comparing it, number by number; copies on write of
    the same memory, to which nobody has written, need not be compared.
    """

    point: Point
    name_in_cut: str

    @classmethod
    def at(cls, point: Point, name: str) -> _Parameter:
        """Return the stand-in for a parameter at a point."""
        parameter = point.known.origin[name].as_subclass(cls)
        parameter.point, parameter.name_in_cut = point, name
        return parameter

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Return what a function of torch returns."""
        kwargs = kwargs or {}
        if func in _LAYERS and len(args) in (2, 3) and not torch.is_grad_enabled():
            x, *parameters = args
            parameters += [kwargs["bias"]] if "bias" in kwargs else []
            parameters = [p for p in parameters if p is not None]
            options = {name: value for name, value in kwargs.items() if name != "bias"}
            if all(type(p) is cls for p in parameters) and type(x) is not cls:
                names = tuple(p.name_in_cut for p in parameters)
                point = parameters[0].point
                if (outputs := point.outputs(func, x, names, options)) is not None:
                    return point.sum(outputs)
        return func(*_made(args), **_made(kwargs))


def _made(x: Any) -> Any:
    """Return an argument with parameters in the place of stand-ins."""
    if type(x) is _Parameter:
        return x.point.value(x.name_in_cut)
    if isinstance(x, dict):
        return {name: _made(value) for name, value in x.items()}
    if type(x) in (list, tuple):
        return type(x)(_made(value) for value in x)
    return x


def _snapshot(x: Tensor) -> Tensor:
    """Return a copy-on-write copy, or a plain one where there is none."""
    try:
        return torch._lazy_clone(x)
    except (RuntimeError, AttributeError, NotImplementedError):
        return x.clone()


def _equal(x: Tensor, y: Tensor) -> bool:
    """Whether all numbers are the same; those of several points of `vmap` are not."""
    if x.dtype != y.dtype or x.shape != y.shape:
        return False
    try:
        return _share(x, y) or torch.equal(x, y)
    except RuntimeError:
        return False


def _share(x: Tensor, y: Tensor) -> bool:
    """Whether both are copies on write of the same numbers, which then nobody has written to."""
    internals: Any = torch._C
    try:
        copies = internals._is_cow_tensor(x) and internals._is_cow_tensor(y)
        if not copies or internals._data_address(x) != internals._data_address(y):
            return False
    except AttributeError:  # another version of torch
        return False
    # the address is that of the whole memory
    return _place(x) == _place(y)


def _place(x: Tensor) -> tuple[Any, ...]:
    return x.storage_offset(), x.stride(), x.is_conj(), x.is_neg()
