"""Arguments checked against their annotations: a wrong kind is one sentence that names it."""

from __future__ import annotations

import ast
import inspect
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, wraps
from numbers import Complex, Integral, Real
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, Union, get_args, get_origin

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from lightning_landscape.errors import nearest, require

__all__ = ["Checked", "checked", "is_a"]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_SEQUENCES = (Sequence, Collection, Iterable, list, tuple)
_ARRAY = frozenset(get_args(ArrayLike))
_UNKNOWN = object()  # of an annotation that cannot be resolved: anything goes


class Checked:
    """Base of classes whose constructors check their arguments against the annotations.

    The check comes before ``__init__``, and sees what `is_a` sees. Limits of a value are left to
    the constructor.

    >>> class Well(Checked):
    ...     def __init__(self, depth: float, steps: int = 3) -> None: ...
    >>> Well(1.0, steps="abc")
    Traceback (most recent call last):
    ...
    lightning_landscape.errors.UsageError: steps = abc: must be a whole number
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Check the arguments."""
        kind: Any = cls
        _check(kind.__init__, (None, *args), kwargs, _inherited(kind))
        return super().__new__(cls)


def checked(function: _Function) -> _Function:
    """Return a function that checks its arguments against the annotations, see `Checked`.

    >>> @checked
    ... def half(x: float) -> float:
    ...     return x / 2
    >>> half(None)
    Traceback (most recent call last):
    ...
    lightning_landscape.errors.UsageError: x = None: must be a number
    """

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        _check(function, args, kwargs, {})
        return function(*args, **kwargs)

    return typing.cast(_Function, call)


def is_a(value: Any, kind: Any) -> bool:
    """Whether a value is of the kind that an annotation tells.

    A number is any real one but nan; a whole number may be a float, such as 3.0; for a sequence of
    numbers arrays and tensors do. What an annotation says beyond that, such as the arguments of a
    function, is not looked at.

    >>> is_a(3.0, int), is_a(2.5, int), is_a(float("nan"), float), is_a([1, 2], Sequence[float])
    (True, False, False, True)
    """
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType) and _ARRAY <= frozenset(inside):
        others = frozenset(inside) - _ARRAY
        return _is_array(value) or any(is_a(value, one) for one in others)
    if origin in (Union, types.UnionType):
        return any(is_a(value, one) for one in inside)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inside)
    if origin in _SEQUENCES or kind in _SEQUENCES:
        return _is_sequence(value, inside)
    if origin is not None:
        return isinstance(value, origin)
    if kind in (int, float, complex):
        return _is_number(value, kind)
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    if kind is None or kind is type(None):
        return value is None
    if kind is Path:
        return isinstance(value, str | Path)
    if not isinstance(kind, type) or kind in (Any, object):
        return True
    if getattr(kind, "_is_protocol", False):
        return all(hasattr(value, member) for member in _members(kind))
    if getattr(kind, "__abstractmethods__", None) == {"__call__"}:
        return callable(value)  # what is only called may be any function
    return isinstance(value, kind)


def _is_number(value: Any, kind: type) -> bool:
    if isinstance(value, Tensor | np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Complex):
        return False
    if kind is complex:
        return True
    if not isinstance(value, Real) or value != value:
        return False
    return kind is float or isinstance(value, Integral) or float(value).is_integer()


def _is_array(value: Any) -> bool:
    """Whether NumPy makes an array of numbers of a value; nan is what was not measured."""
    if isinstance(value, str | bytes | None):
        return False
    try:
        array = np.asarray(value)
    except Exception:  # whatever a class that offers to be an array raises
        return False
    return array.dtype.kind in "biufc" and not bool(np.isnan(array).all() and array.size)


def _is_sequence(value: Any, inside: tuple[Any, ...]) -> bool:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return False
    of_fixed_length = len(inside) > 1 and inside[-1] is not Ellipsis
    if isinstance(value, Tensor | np.ndarray):
        length = len(value) if value.ndim > 0 else -1
        fits = length == len(inside) if of_fixed_length else length >= 0
        same: Any = value == value  # but nan
        return fits and bool(same.all())
    if not isinstance(value, list | tuple) or not inside:
        return True  # a generator is not to be used up
    if of_fixed_length:
        return len(value) == len(inside) and all(map(is_a, value, inside))
    return all(is_a(entry, inside[0]) for entry in value)


def _check(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], more: dict) -> None:
    """Check the arguments of a call; one with wrong names is left to Python to refuse."""
    signature, kinds = _annotated(function)
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError:
        return
    for name, value in given.items():
        parameter = signature.parameters[name]
        if parameter.kind is parameter.VAR_KEYWORD:
            for option, inner in value.items():
                _require(option, inner, more.get(option, _UNKNOWN), _UNKNOWN)
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            _require(name, value, kinds.get(name, _UNKNOWN), parameter.default)


def _require(name: str, value: Any, kind: Any, default: Any) -> None:
    if kind is not _UNKNOWN and value is not default and not is_a(value, kind):
        words = [one for one in _parts(kind) if isinstance(one, str)]
        hint = nearest(value, words) if isinstance(value, str) else ""
        shown = value if isinstance(value, str | int | float | None) else type(value).__name__
        require(False, name, shown, f"must be {_said(kind)}{hint}")


@lru_cache(maxsize=4096)
def _annotated(function: Any) -> tuple[inspect.Signature, dict[str, Any]]:
    """Return the signature of a function, and what kind each argument has to be."""
    signature, kinds = inspect.signature(function), {}
    for name, parameter in signature.parameters.items():
        kind = parameter.annotation
        if isinstance(kind, str):
            kind = _evaluated(kind, function.__module__)
        if kind is not parameter.empty:
            kinds[name] = kind
    return signature, kinds


def _evaluated(annotation: str, module: str) -> Any:
    names = dict(vars(sys.modules[module])) if module in sys.modules else {}
    try:
        return eval(annotation, names)
    except NameError:
        with suppress(NameError):
            return eval(annotation, {**names, **_imported_for_checkers(module)})
    return _UNKNOWN


@lru_cache(maxsize=1024)
def _imported_for_checkers(module: str) -> dict[str, Any]:
    """Return what a module imports where ``TYPE_CHECKING``, as far as it is loaded."""
    names: dict[str, Any] = {}
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, KeyError):  # typed in by hand
        return names
    for block in ast.walk(tree):
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            for line in block.body:
                if isinstance(line, ast.ImportFrom) and line.module in sys.modules:
                    found = vars(sys.modules[line.module])
                    names |= {one.name: found[one.name] for one in line.names if one.name in found}
    return names


@lru_cache(maxsize=1024)
def _inherited(cls: type) -> dict[str, Any]:
    """Return the kinds of the arguments that the bases of a class take by name."""
    kinds: dict[str, Any] = {}
    for base in reversed(cls.__mro__[1:-1]):
        if inspect.isfunction(vars(base).get("__init__")):
            kinds |= _annotated(vars(base)["__init__"])[1]
    return kinds


@lru_cache(maxsize=256)
def _members(protocol: type) -> frozenset[str]:
    """Return the public attributes and methods that a protocol asks for."""
    asked: set[str] = set()
    for base in protocol.__mro__:
        if getattr(base, "_is_protocol", False) and base is not typing.Protocol:
            asked |= {*vars(base), *vars(base).get("__annotations__", {})}
    return frozenset(name for name in asked if name[0] != "_")


def _parts(kind: Any) -> list[Any]:
    """Return what a union consists of, and the words of a literal."""
    inside = get_args(kind)
    if get_origin(kind) in (Union, types.UnionType) and frozenset(inside) >= _ARRAY:
        others = [one for one in inside if one not in _ARRAY]
        return [ArrayLike, *(part for one in others for part in _parts(one))]
    if get_origin(kind) in (Union, types.UnionType, Literal):
        return [part for one in get_args(kind) for part in _parts(one)]
    return [kind]


def _said(kind: Any) -> str:
    """Return the words for a kind, for example ``a number or None``."""
    said = list(dict.fromkeys(map(_words, _parts(kind))))
    return " or ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)


def _words(kind: Any) -> str:
    if isinstance(kind, str):
        return f'"{kind}"'
    if kind is None or kind is type(None):
        return "None"
    if kind is ArrayLike:
        return "a number or an array of numbers"
    origin = get_origin(kind) or kind
    if origin in _SEQUENCES:
        inside = [one for one in get_args(kind) if one is not Ellipsis]
        of: dict[Any, str] = {int: " of whole numbers", float: " of numbers", str: " of texts"}
        return "a sequence" + of.get(inside[0] if inside else None, "")
    named: dict[Any, str] = {
        int: "a whole number",
        float: "a number",
        complex: "a complex number",
        bool: "True or False",
        str: "a text",
        Path: "a path",
        Callable: "a function",
    }
    name = getattr(origin, "__name__", str(origin))
    return named.get(origin, f"{'an' if name[:1] in 'AEIOU' else 'a'} {name}")
