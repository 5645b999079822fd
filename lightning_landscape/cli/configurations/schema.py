"""A JSON schema of configurations, with which an editor completes and checks them.

The parser accepts more than a schema can say, such as any class that can be imported, so what the
schema does not know it does not refuse: it completes the names of classes and of their arguments,
shows what each means, and marks what has the wrong type.
"""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import docstring_parser

__all__ = ["schema"]

_PLAIN = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
_SEQUENCES = (list, tuple, collections.abc.Sequence, collections.abc.Iterable)

Schema = dict[str, Any]


def schema(
    sections: dict[str, type | Schema], roots: list[type], given_by_arguments: list[type]
) -> Schema:
    """Return the schema of configurations.

    Args:
        sections: the top-level keys: a class, whose arguments the section has, or a schema.
        roots: the base classes whose subclasses a configuration names by ``class_path``.
        given_by_arguments: classes that can be given by their arguments alone.
    """
    made = _Schema(roots, given_by_arguments)
    properties = {
        key: made.arguments(section) if isinstance(section, type) else section
        for key, section in sections.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "$defs": {root.__name__: made.choice(root) for root in roots},
    }


class _Schema:
    def __init__(self, roots: list[type], given_by_arguments: list[type]) -> None:
        self._roots, self._given_by_arguments = roots, given_by_arguments

    def choice(self, root: type) -> Schema:
        """Return what a value may be that is an instance of a class below ``root``."""
        known = {_name(cls): cls for cls in _below(root) if cls is not root and _is_public(cls)}
        short = {cls.__name__ for cls in known.values()}
        names = {
            "anyOf": [{"enum": sorted({*known, *short})}, {"type": "string", "pattern": r"\."}]
        }
        chosen = [
            {
                "if": {"properties": {"class_path": {"const": name}}, "required": ["class_path"]},
                "then": {"properties": {"init_args": self.arguments(cls)}},
            }
            for name, cls in sorted(known.items())
        ]
        nested = {"type": "object", "properties": {"class_path": names, "init_args": {}}}
        return {"anyOf": [names, {**nested, "required": ["class_path"], "allOf": chosen}]}

    def arguments(self, cls: type) -> Schema:
        """Return the section that has the arguments of a class."""
        hints = _hints(cls)
        parsed = docstring_parser.parse(inspect.getdoc(cls) or "")
        texts = {parameter.arg_name: parameter.description for parameter in parsed.params}
        properties: Schema = {}
        closed = True
        made_by = inspect.signature(inspect.getattr_static(cls, "__init__"))
        for name, parameter in list(made_by.parameters.items())[1:]:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                closed = False
                continue
            if name == "params":  # of an optimizer, given by the module that makes it
                continue
            described = self.value(hints.get(name, Any))
            if texts.get(name):
                described = {**described, "description": " ".join(str(texts[name]).split())}
            properties[name] = described
        base = next((b for b in cls.__mro__[1:] if "__init__" in vars(b)), object)
        if not closed and base is not object:  # other arguments are passed on to it
            inherited = self.arguments(base)
            properties = inherited["properties"] | properties
            closed = not inherited["additionalProperties"]
        summary = {"description": parsed.short_description} if parsed.short_description else {}
        rules = {"properties": properties, "additionalProperties": not closed}
        return {"type": "object", **summary, **rules}

    def value(self, hint: Any) -> Schema:
        """Return what a type allows; nothing is said of a type that is not known here."""
        origin, inner = get_origin(hint), get_args(hint)
        if hint in _PLAIN:
            return {"type": _PLAIN[hint]}
        if origin is Literal:
            return {"enum": list(inner)}
        if origin in (Union, types.UnionType):
            options = [self.value(each) for each in inner]
            return {"anyOf": options} if all(options) else {}
        if origin in _SEQUENCES:
            return {"type": "array", "items": self.value(inner[0]) if inner else {}}
        if origin is collections.abc.Callable:  # a factory, named as what it makes
            return self.value(inner[-1]) if inner else {}
        root = next((r for r in self._roots if inspect.isclass(hint) and issubclass(hint, r)), None)
        if root is not None:
            return {"$ref": f"#/$defs/{root.__name__}"}
        if hint not in self._given_by_arguments:
            return {}
        arguments = self.arguments(hint)
        named = {"class_path": {"type": "string"}, "init_args": arguments}
        nested = {"type": "object", "properties": named, "required": ["class_path"]}
        return {"anyOf": [arguments, nested]}


def _hints(cls: type) -> dict[str, Any]:
    """Return the types of the arguments, none where a name is imported for type checks only."""
    try:
        return get_type_hints(inspect.getattr_static(cls, "__init__"))
    except (NameError, TypeError):
        return {}


def _below(cls: type) -> typing.Iterator[type]:
    yield cls
    child: type
    for child in cls.__subclasses__():
        yield from _below(child)


def _is_public(cls: type) -> bool:
    return not (inspect.isabstract(cls) or cls.__name__.startswith("_"))


def _name(cls: type) -> str:
    """Return how a configuration names a class: ours shortly, others by their module."""
    module = cls.__module__
    if module.startswith("torch.optim"):
        return f"torch.optim.{cls.__name__}"
    return cls.__name__ if module.startswith("lightning_landscape.") else f"{module}.{cls.__name__}"
