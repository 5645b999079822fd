"""From a parser's page of nested reasons to the one sentence that helps."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from pydoc import locate
from typing import Any

from pytorch_lightning import Callback
from torch.optim import Optimizer

from lightning_landscape.data.dataset import Dataset
from lightning_landscape.energies.architectures import Architecture
from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import nearest

__all__ = ["one_sentence"]


def one_sentence(message: str, options: Iterable[str] = ()) -> str:
    """Return what is wrong in one sentence: the key, the value, what is admissible.

    Args:
        message: what jsonargparse says.
        options: the keys that the verb knows.
    """
    key = _first(r'Parser key "([\w.]+)"', message)
    for explain in (
        _file,
        _unknown_argument,
        _unknown_class,
        _wrong_type,
        _unknown_option,
        _missing,
    ):
        if sentence := explain(message, key, options):
            return sentence
    return " ".join(message.split())[:400]


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found.group(1) if found else ""


def _file(message: str, key: str, options: Iterable[str]) -> str:
    path = _first(r"File does not exist: '([^']+)'", message)
    return path and f"{key} = {path}: there is no such file"


def _unknown_argument(message: str, key: str, options: Iterable[str]) -> str:
    found = re.search(r"class_path '([\w.]+)':\s+Option '([\w.]+)' is not accepted", message)
    if not found:
        return ""
    path, argument = found.groups()
    cls: Any = locate(path)
    known = [name for name in inspect.signature(cls).parameters if name != "params"]
    name = path.rsplit(".", 1)[-1]
    close = nearest(argument, known)
    return f"{key}: {name} has no argument {argument}{close}; it takes {', '.join(known)}"


def _unknown_class(message: str, key: str, options: Iterable[str]) -> str:
    name = _first(r"Expected a dot import path string: (\w+)\s*$", message) or _first(
        r"Expected a dot import path string: (\w+)\n", message
    )
    if not name or _first(r"Expected a <class '(\w+)'>", message) in ("int", "float", "bool"):
        return ""
    return (
        f"{key}: there is no class {name}{nearest(name, set(_class_names()))}; "
        "classes from elsewhere are named with their module, as in my_package.my_module.MyClass"
    )


def _wrong_type(message: str, key: str, options: Iterable[str]) -> str:
    found = re.search(r"Expected an? <class '(\w+)'>", message)
    if not found:
        return ""
    inner = re.findall(r'Parser key "([\w.]+)"', message)[1:]
    path = ".".join([key, *inner])
    value = _first(r"(?:Given|Got) value: ([^\n]*?)(?:\. Got value.*)?(?:\n|$)", message)
    kind = {"int": "a whole number", "float": "a number", "str": "text", "bool": "true or false"}
    whole = _first(r"^(\d+)\.0$", value)
    remedy = f"; write {whole}" if whole and found.group(1) == "int" else ""
    return f"{path} = {value}: must be {kind.get(found.group(1), found.group(1))}{remedy}"


def _unknown_option(message: str, key: str, options: Iterable[str]) -> str:
    option = _first(r"does not accept option '([\w.]+)'", message) or _first(
        r"[Uu]nrecognized arguments?: (\S+)", message
    )
    option = option.lstrip("-").split("=")[0]
    names = list(options)
    # in a file the key stands under its section, and is named without it
    close = nearest(option, names) or nearest(option, [name.split(".")[-1] for name in names])
    return option and f"{option}: there is no such option{close}"


def _missing(message: str, key: str, options: Iterable[str]) -> str:
    missing = _first(r"arguments are required: (?:\w+\.)?(\S+)", message)
    return missing and f"{missing} is missing; give a configuration with --config"


def _class_names() -> Iterator[str]:
    """Yield the short names that a configuration may use."""
    waiting: list[type] = [Energy, Optimizer, Callback, Architecture, Dataset]
    while waiting:
        cls = waiting.pop()
        yield cls.__name__
        waiting += cls.__subclasses__()
