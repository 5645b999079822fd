"""Arguments that are one of a few names."""

from __future__ import annotations

from collections.abc import Collection

from lightning_landscape.errors import nearest, require

__all__ = ["require_name"]


def require_name(argument: str, name: str, known: Collection[str]) -> None:
    """Raise a `UsageError` unless ``name`` is one of the known ones."""
    required = f"must be one of {', '.join(known)}{nearest(name, known)}"
    require(name in known, argument, name, required)
