"""What classes hold: attributes that all their objects share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from lightning_landscape.callbacks.isolation.copies import is_foreign

__all__ = ["class_attributes", "restore_class"]

_WITHOUT_STATE = ("builtins", "torchmetrics", "abc", "typing", "enum")


@lru_cache(maxsize=1024)
def _bases(kind: type) -> tuple[type, ...]:
    """Return a class and its bases, without those of packages that keep nothing in a class."""
    return tuple(
        base
        for base in kind.__mro__
        if not is_foreign(base) and base.__module__.partition(".")[0] not in _WITHOUT_STATE
    )


def class_attributes(kind: type) -> Iterator[tuple[type, dict[str, Any]]]:
    """Yield the user's classes among a class and its bases, with their attributes, no methods."""
    for base in _bases(kind):
        yield (
            base,
            {
                name: value
                for name, value in vars(base).items()
                if not name.startswith("__") and not hasattr(type(value), "__get__")
            },
        )


def restore_class(base: type, before: dict[str, Any]) -> None:
    """Let a class have these attributes, and none beside them but methods."""
    for held, now in class_attributes(base):
        if held is base:
            for name in now.keys() - before.keys():
                delattr(base, name)
    for name, value in before.items():
        # an assignment makes Python forget what it has cached of the class
        if vars(base).get(name) is not value:
            setattr(base, name, value)
