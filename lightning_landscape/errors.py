"""The error for misuse: one sentence that names the argument, its value and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from numbers import Integral

__all__ = ["UsageError", "nearest", "require", "require_kind", "require_whole"]


class UsageError(ValueError):
    """A mistake that the user can correct; the message is one sentence.

    The command line prints the sentence and exits with status 2; in a notebook it is a
    `ValueError`.
    """


def require(
    holds: bool, argument: str, value: object, admissible: str, remedy: str | None = None
) -> None:
    """Raise a `UsageError` unless ``holds``.

    >>> require(-1.0 >= 0, "temperature", -1.0, "must be at least 0")
    Traceback (most recent call last):
    ...
    lightning_landscape.errors.UsageError: temperature = -1.0: must be at least 0
    """
    if not holds:
        hint = f"; {remedy}" if remedy else ""
        raise UsageError(f"{argument} = {value}: {admissible}{hint}")


def require_whole(argument: str, value: object, least: int = 1) -> None:
    """Raise a `UsageError` unless ``value`` is a whole number of at least ``least``.

    >>> require_whole("replicas", 1.5)
    Traceback (most recent call last):
    ...
    lightning_landscape.errors.UsageError: replicas = 1.5: must be at least 1, a whole number
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    holds = isinstance(value, Integral) and whole and int(value) >= least
    require(holds, argument, repr(value), f"must be at least {least}, a whole number")


def require_kind(argument: str, value: object, kind: type) -> None:
    """Raise a `UsageError` unless ``value`` is an instance of ``kind``.

    >>> require_kind("energy", 5, Exception)
    Traceback (most recent call last):
    ...
    lightning_landscape.errors.UsageError: energy = int: must be an Exception
    """
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    holds = isinstance(value, kind)
    require(holds, argument, type(value).__name__, f"must be {article} {kind.__name__}")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the closest known word as a question in parentheses, or "" if none is close.

    >>> nearest("temprature", ["temperature", "lr"])
    ' (did you mean temperature?)'
    """
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
