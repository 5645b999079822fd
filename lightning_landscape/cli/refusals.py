"""Makes one sentence of whatever is raised before a run has done its first step."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from traceback import walk_tb
from typing import Any

from lightning_landscape.errors import UsageError

__all__ = ["RankLost", "as_usage_error", "usage_error_in"]

_LONGEST = 300


class RankLost(Exception):
    """Another process of a distributed run has ended, and so must this one."""

    status = 1

    def __init__(self) -> None:
        super().__init__(
            f"rank {os.environ.get('RANK', os.environ.get('LOCAL_RANK', '0'))}: another process of "
            "the run has ended; the same command resumes it from its last checkpoint"
        )


def usage_error_in(error: BaseException | None) -> UsageError | None:
    """Return the `UsageError` that ``error`` is or was raised from, if any."""
    while error is not None and not isinstance(error, UsageError):
        error = error.__cause__ or error.__context__
    return error


def as_usage_error(error: Exception, config: Any, otherwise: str) -> UsageError:
    """Return the sentence for an error of a library.

    Args:
        error: what was raised.
        config: the configuration, in which the class that raised it is looked for.
        otherwise: the key to name if it is not found.
    """
    if (found := usage_error_in(error)) is not None:
        return found
    if size := re.search(r"tried to allocate (\d+) bytes", str(error)):
        needed = f"needs {float(size.group(1)) / 1e9:.3g} GB of memory at once; lower its sizes"
        return UsageError(f"{_key(error, config) or otherwise}: {needed}")
    reason = _first_sentence(str(error)) or "no reason given"
    return UsageError(f"{_key(error, config) or otherwise}: {type(error).__name__}: {reason}")


def _first_sentence(text: str) -> str:
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


def _key(error: Exception, config: Any) -> str:
    """Return the key of the innermost configured object in whose method the error arose."""
    keys = {path.rsplit(".", 1)[-1]: key for key, path in _class_paths(config)}
    found = ""
    for frame, _ in walk_tb(error.__traceback__):
        name = type(frame.f_locals.get("self")).__name__
        found = keys.get(name, found)
    return found


def _class_paths(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        if isinstance(value.get("class_path"), str):
            yield key, value["class_path"]
        for name, part in value.items():
            yield from _class_paths(part, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from _class_paths(part, f"{key}.{place}")
