"""Which classes a configuration may name: it is data, and must not be a way to run anything else.

jsonargparse imports what a ``class_path`` names before it sees whether it fits. What is looked at
here are the names alone, before anything is imported.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import set_parsing_settings

from lightning_landscape.errors import UsageError, require

__all__ = ["allowed", "check_arguments", "check_names", "confirm", "import_named"]

_OURS = ("lightning", "lightning_landscape", "pytorch_lightning", "torch")
_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")

# a name that reaches such a module through another one, as torch.os.system, is refused as well
set_parsing_settings(import_path_denylist=["os", "subprocess", "builtins"])


def allowed(args: list[str]) -> list[str]:
    """Return what a command line trusts by ``--allow``; a file cannot allow what it names itself.

    Raises:
        UsageError: it is neither a module nor the beginning of an address.
    """
    names = [b for a, b in pairwise(args) if a == "--allow"]
    names += [a.removeprefix("--allow=") for a in args if a.startswith("--allow=")]
    for name in names:
        right = bool(re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*|\w+://\S+", name))
        require(right, "allow", name, "must be a module, or the beginning of an address")
    return names


def check_names(config: Any, allow: Collection[str], foreign: str = "") -> None:
    """Refuse a configuration that names what it must not.

    Args:
        config: mappings, lists and values.
        allow: modules that the user allows.
        foreign: where the configuration comes from if the user has not written it; then all
            classes have to be from this package, Lightning, torch or ``allow``. Otherwise any
            but those of the standard library may be named.

    Raises:
        UsageError: with the key, the name, and what would allow it.
    """
    for key, text in _names(config):
        root = text.split(".")[0]
        if _is_among(text, allow) or root in _OURS:
            continue
        if root in sys.stdlib_module_names:
            raise UsageError(
                f"{key} = {text}: is of Python's standard library, and no class for this key; "
                "name one of this package, of torch, or of your own"
            )
        if foreign and "." in text:
            raise UsageError(
                f"{key} = {text}: {foreign} names code from outside this package; give "
                f"--allow {root} if you trust it"
            )


def confirm(folder: Path, config: Any, yes: bool) -> None:
    """Show the configuration of a folder from elsewhere, and ask whether to build what it names.

    A folder is from elsewhere if it is not below the working folder, or is of another user.

    Args:
        folder: the folder of a run.
        config: its configuration, or the part of it that will be used.
        yes: the answer, given on the command line.

    Raises:
        UsageError: the answer is no, or there is no one to ask.
    """
    inside = folder.resolve().is_relative_to(Path.cwd().resolve())
    if yes or (inside and folder.stat().st_uid == os.getuid()):
        return
    print(f"{folder} is from elsewhere; its configuration:\n\n{yaml.safe_dump(config)}")
    remedy = "give --yes if you have read and trust it"
    required = "its configuration was not confirmed"
    asked = sys.stdin.isatty() and sys.stdout.isatty()
    agreed = asked and input("Build what it names? [y/N] ").strip().lower() in ("y", "yes")
    require(agreed, "checkpoint", folder, required, remedy)


def check_arguments(args: list[str], allow: Collection[str]) -> None:
    """Refuse what the options of a command line name; see `check_names`."""
    options = [a for a in args if a.startswith("--")]
    pairs = [a[2:].split("=", 1) for a in options if "=" in a]
    pairs += [[a[2:], b] for a, b in pairwise(args) if a.startswith("--")]
    for key, text in pairs:
        if key.split(".")[0] in ("model", "trainer", "checkpoint", "study", "jamming"):
            check_names({key: text}, allow)


def import_named(option: str, path: str) -> Any:
    """Return what ``path:name`` names, which the user trusts by naming it on the command line.

    The working directory is searched as well, as by ``python -m``.

    Raises:
        UsageError: it is not of this form, of the standard library, or cannot be imported.
    """
    place, _, name = path.partition(":")
    required = "must be path:name, as my_project.model:Net"
    require(bool(place and name), option, path, required)
    check_names({f"{option}.class_path": f"{place}.{name}"}, ())
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = import_module(place)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{option} = {path}: cannot be imported: {error}") from error
    return found


def _names(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the texts that may be the path of a class, with their keys."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _names(part, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from _names(part, f"{key}.{place}")
    elif isinstance(value, str):
        if key.endswith("class_path") or _PATH.fullmatch(value):
            yield key, value
        # a value within a text of YAML, as --model.optimizer='{class_path: os.system}'
        elif "class_path" in value:
            for path in _PATH.finditer(value):
                yield key, path.group()


def _is_among(text: str, modules: Collection[str]) -> bool:
    return any(text == module or text.startswith(f"{module}.") for module in modules)
