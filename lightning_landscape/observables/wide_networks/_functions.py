"""Which functions of torch are called between the modules of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["Called", "Functions"]

_ACTIVATIONS = {
    "relu": "relu", "tanh": "tanh", "gelu": "gelu", "silu": "swish", "selu": "selu", "erf": "erf",
    "sin": "sin", "softsign": "softsign", "hardswish": "hard_swish", "mish": "mish",
    "sigmoid": "sigmoid", "leaky_relu": "leaky_relu", "elu": "elu", "softplus": "softplus",
}  # fmt: skip
_WITH_OPTIONS = {"leaky_relu": 0.01, "elu": 1.0, "softplus": 1.0}
_TRANSPARENT = {
    "view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "contiguous", "permute",
    "transpose", "to", "float", "double", "clone", "ravel", "view_as", "expand", "rearrange",
}  # fmt: skip


class Called(NamedTuple):
    """A function that was called between two modules.

    Attributes:
        name: of the function.
        activation: the key of `ACTIVATIONS` that it is, or empty.
    """

    name: str
    activation: str


class Functions(TorchFunctionMode):
    """Tells of each function of torch whose result is a tensor of real numbers.

    Args:
        note: takes the function, all tensors among its arguments, and the result.
    """

    def __init__(self, note: Callable[[Called | None, list[Tensor], Tensor], None]) -> None:
        super().__init__()
        self._note = note

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call the function, and tell of it."""
        given = kwargs or {}
        result = func(*args, **given)
        if isinstance(result, Tensor) and result.is_floating_point():
            self._note(_called(func, args, given), _tensors((*args, *given.values())), result)
        return result


def _called(func: Any, args: tuple[Any, ...], given: Mapping[str, Any]) -> Called | None:
    """Return the function; None where it changes no value."""
    name = getattr(func, "__name__", type(func).__name__).strip("_")
    if name in _TRANSPARENT:
        return None
    activation = _ACTIVATIONS.get(name, "")
    if name in _WITH_OPTIONS:
        options = [*args[1:], *(value for key, value in given.items() if key != "inplace")]
        first = options[0] if options else _WITH_OPTIONS[name]
        activation = activation if first == _WITH_OPTIONS[name] else ""
    return Called(name, activation)


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        inside = value if isinstance(value, list | tuple) else (value,)
        found.extend(x for x in inside if isinstance(x, Tensor))
    return found
