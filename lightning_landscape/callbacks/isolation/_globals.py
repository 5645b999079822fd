"""What the methods of a class use beside its objects: global variables, and closures."""

from __future__ import annotations

import builtins
import dis
import types
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

__all__ = ["Carried", "carried", "package_of"]


class Carried(NamedTuple):
    """What the methods of a class use.

    Attributes:
        names: global variables, each with the dictionary of its module.
        functions: methods, and functions that they call, with a closure.
    """

    names: list[tuple[dict[str, Any], str]]
    functions: list[types.FunctionType]


@lru_cache(maxsize=1024)
def carried(kind: type) -> Carried:
    """Return what the methods of a class, and the functions of its package that they call, use.

    Modules, classes and functions are no variables.
    """
    package = package_of(kind)
    names: dict[tuple[int, str], tuple[dict[str, Any], str]] = {}
    found: dict[int, types.FunctionType] = {}
    todo = [f for member in vars(kind).values() for f in _functions(member)]
    while todo:
        function = todo.pop()
        if id(function) in found or package_of(function) != package:
            continue
        found[id(function)] = function
        inside = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
        for name in _global_names(function.__code__):
            held = function.__globals__
            if isinstance(held.get(name), types.FunctionType):
                inside.append(held[name])
            elif not isinstance(held.get(name), type | types.ModuleType):
                names[id(held), name] = held, name
        todo += [value for value in inside if isinstance(value, types.FunctionType)]
    closures = [function for function in found.values() if _has_variables(function)]
    return Carried(list(names.values()), closures)


def _functions(member: Any) -> Iterator[types.FunctionType]:
    """Yield the functions behind a member of a class: of methods, properties, decorated ones."""
    if isinstance(member, property):
        found: list[Any] = [member.fget, member.fset]
    else:
        found = [getattr(member, "__func__", getattr(member, "func", member))]
    for function in found:
        while isinstance(function, types.FunctionType):
            yield function
            function = getattr(function, "__wrapped__", None)


def _has_variables(function: types.FunctionType) -> bool:
    """Whether a function has a variable of its own in its closure, beside classes and functions."""
    fixed = type | types.ModuleType | types.FunctionType
    cells = function.__closure__ or ()
    return any(not _is_filled(c) or not isinstance(c.cell_contents, fixed) for c in cells)


def _global_names(code: types.CodeType) -> set[str]:
    found = {
        step.argval
        for step in dis.get_instructions(code)
        if step.opname in ("LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL")
    }
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _global_names(constant)
    return found - vars(builtins).keys()


def _is_filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def package_of(thing: Any) -> str:
    """Return the name of the outermost package of a class, a function or an object."""
    return (getattr(thing, "__module__", None) or "").partition(".")[0]
