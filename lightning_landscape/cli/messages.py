"""Reduces a parser's page of nested errors to the one sentence that helps."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from pydoc import locate
from typing import Any

from pytorch_lightning import Callback
from torch.optim import Optimizer

from lightning_landscape.data.labelled_data import LabelledData
from lightning_landscape.energies.energy import Energy
from lightning_landscape.energies.networks.architectures import Architecture
from lightning_landscape.errors import nearest
from lightning_landscape.studies import Study
from lightning_landscape.studies.jamming import DataPerturbation, Family, Plan

__all__ = ["one_sentence"]

# The prefix of a reason, once for each level of nesting.
_WRAPPER = (
    r"""(?:Parser key "[\w.]+":|Problem with given class_path '[\w.]+':"""
    r"""|Type .* expects a function or a callable class:)"""
)

# What a union says of its other members, once one of them has named a class and its fault.
_OTHER_MEMBER = re.compile(
    r"^ *- (?:Not a valid subclass of \w+|Expected a <class 'NoneType'>)\n"
    r"(?: +(?:Subclass types expect one of:|- a (?:class path|dict) .*)\n)*",
    re.M,
)

# The verb to which a section belongs that was given to another one.
_VERBS = {"jamming": "jamming", "study": "study", "model": "fit", "trainer": "fit"}


def one_sentence(message: str, options: Iterable[str] = ()) -> str:
    """Return the error as one sentence: the key, the value, and what is admissible.

    Args:
        message: the error message of jsonargparse.
        options: the keys that the verb accepts.
    """
    if re.search(r"Problem with given class_path", message):
        message = _OTHER_MEMBER.sub("", message)
    key = _path(message)
    for explain in (
        _file,
        _not_a_mapping,
        _no_arguments,
        _unknown_argument,
        _unknown_class,
        _wrong_kind,
        _missing,
        _wrong_type,
        _wrong_choice,
        _unknown_option,
        _no_member,
    ):
        if sentence := explain(message, key, options):
            return sentence
    reason = " ".join(re.sub(f"({_WRAPPER}\\s*)+", "", message, count=1).split())
    return f"{key}: {reason}"[:400] if key else reason[:400]


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found.group(1) if found else ""


def _path(message: str) -> str:
    """Return the path of the key at fault; each deeper indentation level holds a part of it."""
    parts, deepest = [], -1
    for indent, part in re.findall(r'^( *)(?:Type .*: )?Parser key "([\w.]+)"', message, re.M):
        if len(indent) > deepest:
            parts.append(part)
            deepest = len(indent)
    return ".".join(parts)


def _file(message: str, key: str, options: Iterable[str]) -> str:
    path = _first(r"File does not exist: '([^']+)'", message)
    return path and f"{key} = {path}: there is no such file"


def _not_a_mapping(message: str, key: str, options: Iterable[str]) -> str:
    if "Unexpected config:" not in message:
        return ""
    return "config: must be a mapping of keys to values, like the files in configs/"


def _no_arguments(message: str, key: str, options: Iterable[str]) -> str:
    if "unhashable type" in message:
        return f"{key}: class_path must be text"
    kind = _first(r"'(\w+)' object has no attribute '(?:keys|items)'", message)
    return kind and f"{key}: init_args must be a mapping of arguments to values, and is a {kind}"


def _unknown_argument(message: str, key: str, options: Iterable[str]) -> str:
    path = _first(
        r"Option '[\w.]+' is not accepted\. Got value: Namespace\(class_path='([\w.]+)'", message
    ) or _first(r"class_path '([\w.]+)':\s+Option '", message)
    if not path:
        return ""
    argument = _first(r"Option '(\w+)[\w.]*' is not accepted", message)
    cls: Any = locate(path)
    known = [name for name in inspect.signature(cls).parameters if name != "params"]
    name = path.rsplit(".", 1)[-1]
    close = nearest(argument, [*known, "init_args"])
    return f"{key}: {name} has no argument {argument}{close}; it takes {', '.join(known)}"


def _unknown_class(message: str, key: str, options: Iterable[str]) -> str:
    name = _first(r"Expected a dot import path string: (\w+)\s*$", message) or _first(
        r"Expected a dot import path string: (\w+)\n", message
    )
    if not name or _first(r"Expected a <class '(\w+)'>", message) in ("int", "float", "bool"):
        return ""
    known = set(_class_names())
    if name in known:
        return f"{key}: {name} cannot be used here, where another kind of class is expected"
    return (
        f"{key}: there is no class {name}{nearest(name, known)}; "
        "classes from other packages need their module, as in my_package.my_module.MyClass"
    )


def _wrong_kind(message: str, key: str, options: Iterable[str]) -> str:
    kind = (
        _first(r"Callable\[.*[.](\w+)\] expects a function .*: Expected an import path", message)
        or _first(r"Not a valid subclass of (\w+)", message)
        or _first(r"but [\w.]+\.(\w+) is abstract", message)
    )
    article = "an" if kind[:1] in tuple("AEIOU") else "a"
    return kind and f"{key}: must be {article} {kind}, named by class_path, with its init_args"


def _wrong_type(message: str, key: str, options: Iterable[str]) -> str:
    found = re.search(r"Expected an? <class '(?:\w+\.)*(\w+)'>", message)
    if not found:
        return ""
    value = _first(r"(?:Given|Got) value: ([^\n]*?)(?:\. Got value.*)?(?:\n|$)", message)
    kind = {
        "int": "a whole number",
        "float": "a number",
        "str": "text",
        "bool": "true or false",
        "list": "a list, as in [1, 2]",
        "Sequence": "a list, as in [1, 2]",
    }
    whole = _first(r"^(\d+)\.0$", value)
    remedy = f"; write {whole}" if whole and found.group(1) == "int" else ""
    return f"{key} = {value}: must be {kind.get(found.group(1), found.group(1))}{remedy}"


def _wrong_choice(message: str, key: str, options: Iterable[str]) -> str:
    found = re.search(r"Expected a typing\.Literal\[([^\]]*)\]\. Got value: (\S*)", message)
    if not found:
        return ""
    choices = re.findall(r"'([^']*)'", found.group(1))
    value = found.group(2)
    return f"{key} = {value}: must be one of {', '.join(choices)}{nearest(value, choices)}"


def _unknown_option(message: str, key: str, options: Iterable[str]) -> str:
    option = _first(r"[Oo]ption '([^'\n]+)'", message) or _first(
        r"[Uu]nrecognized arguments?: (\S+)", message
    )
    option = option.lstrip("-").split("=")[0]
    option = re.split(r"\.(?:class_path|init_args)\b", option)[0]
    names = list(options)
    # in a file the key appears below its section, without the name of the section
    close = nearest(option, names) or nearest(option, [name.split(".")[-1] for name in names])
    section = option.split(".")[0]
    if section in _VERBS and section not in {name.split(".")[0] for name in names}:
        close = f"; it belongs to the verb {_VERBS[section]}"
    return option and f"{option}: there is no such option{close}"


def _missing(message: str, key: str, options: Iterable[str]) -> str:
    missing = _first(r"arguments are required: ([\w.]+)", message)
    path = ".".join(part for part in (key, missing) if part)
    return missing and f"{path} is missing; give it in a configuration, with --config"


def _no_member(message: str, key: str, options: Iterable[str]) -> str:
    if "Does not validate against any of the Union subtypes" not in message:
        return ""
    value = _first(r"Given value: ([^\n]*)", message)
    return f"{key} = {value[:80]}: is none of the kinds of value that are known here"


def _class_names() -> Iterator[str]:
    """Yield the short names that a configuration may use."""
    waiting: list[type] = [
        Energy,
        Optimizer,
        Callback,
        Architecture,
        LabelledData,
        Study,
        Plan,
        Family,
        DataPerturbation,
    ]
    while waiting:
        cls = waiting.pop()
        yield cls.__name__
        waiting += cls.__subclasses__()
