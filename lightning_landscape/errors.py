"""One kind of error for the user: a sentence that names the argument, the value and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["UsageError", "nearest", "require"]


class UsageError(ValueError):
    """Something the user can put right; its message is one sentence.

    The command line prints the sentence and ends with status 2; in a notebook it is a `ValueError`.
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


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a parenthesis that names the closest known word, or nothing if none is close.

    >>> nearest("temprature", ["temperature", "lr"])
    ' (did you mean temperature?)'
    """
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
