"""What a probe was given, in words, and its state before any run."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import nn
from torch.utils.data import DataLoader

__all__ = ["changes", "fingerprint", "fresh", "settings_of"]

_LONGEST = 40  # of a value that is quoted in a sentence


def settings_of(attributes: Mapping[str, Any], without: frozenset[str]) -> dict[str, str]:
    """Return the public attributes that are plain, in words: numbers, texts, functions by name.

    >>> settings_of({"k": 3, "_cache": 1, "budget": (1.0, None), "other": object()}, frozenset())
    {'k': '3', 'budget': '(1.0, None)'}
    """
    public = {name: _words(value) for name, value in attributes.items() if name[0] != "_"}
    return {name: words for name, words in public.items() if words and name not in without}


def fingerprint(settings: Mapping[str, str]) -> str:
    """Return eight characters that tell settings apart, the same in every process."""
    return hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest()[:8]


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return which settings differ, and from what to what where that is short.

    >>> changes({"k": "3", "seed": "0"}, {"k": "5", "seed": "0"})
    'k = 3 is now 5'
    """
    said = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name, "not set"), now.get(name, "not set")
        if old != new:
            short = max(len(old), len(new)) <= _LONGEST
            said.append(f"{name} = {old} is now {new}" if short else name)
    return ", ".join(said)


def fresh(value: Any) -> Any:
    """Return an independent copy; functions, modules and loaders are the same objects in it.

    What cannot be copied is the same object too.
    """
    if isinstance(value, dict):
        return {key: fresh(entry) for key, entry in value.items()}
    if type(value) in (list, tuple):
        return type(value)(fresh(entry) for entry in value)
    if callable(value) or isinstance(value, nn.Module | DataLoader):
        return value
    try:
        return copy.deepcopy(value)
    except Exception:  # a lock, an open file, a generator: whatever its class raises
        return value


def _words(value: Any) -> str:
    """Return a plain value in words, and "" for any other."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"({', '.join(_words(entry) for entry in value)})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_words(entry)}' for key, entry in value.items())}}}"
    if is_dataclass(value) and not isinstance(value, type):
        entries = {field.name: getattr(value, field.name) for field in fields(value)}
        return f"{type(value).__name__}{_words(entries)}"
    return getattr(value, "__qualname__", "")
