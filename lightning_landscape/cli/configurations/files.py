"""Configuration files as they are on disk: readable text, one value for each key."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from lightning_landscape.errors import UsageError, require

__all__ = ["check_files", "read"]

_LARGEST = 10**6  # bytes


class _Twice(Exception):
    """A mapping gives a key twice."""


class _UniqueKeys(yaml.SafeLoader):
    """The safe loader, which refuses a key that is given twice."""


def _mapping(loader: _UniqueKeys, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key, _ in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else ""
        if name in seen and name != "<<":
            raise _Twice(f"{name}: is given twice, again in line {key.start_mark.line + 1}")
        seen.add(name)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read(path: Path) -> Any:
    """Return what a configuration file holds.

    Raises:
        UsageError: it is missing, too large, no UTF-8 text, no YAML, or gives a key twice.
    """
    require(path.is_file(), "config", path, "there is no such file")
    try:
        size = path.stat().st_size
        require(size <= _LARGEST, "config", path, f"has {size} bytes; is it a configuration?")
        return yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except UsageError:
        raise
    except UnicodeDecodeError as error:
        raise UsageError(
            f"config = {path}: is no UTF-8 text, at byte {error.start}; save it as UTF-8"
        ) from error
    except OSError as error:
        raise UsageError(f"config = {path}: cannot be read ({error.strerror})") from error
    except _Twice as error:
        raise UsageError(f"{error} of {path}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"config = {path}: is no YAML: {_where(error)}") from error


def _where(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())[:200] or type(error).__name__


def check_files(args: list[str]) -> list[Any]:
    """Read every ``--config`` of a command line, and return what they hold.

    Raises:
        UsageError: one of them cannot be read; see `read`.
    """
    names = [a.removeprefix("--config=") for a in args if a.startswith("--config=")]
    names += [b for a, b in pairwise(args) if a == "--config"]
    found = [read(Path(name)) for name in names]
    for name, content in zip(names, found, strict=True):
        mapping = isinstance(content, dict) and all(isinstance(key, str) for key in content)
        remedy = "like the files in configs/"
        require(mapping, "config", name, "must be a mapping of keys to values", remedy)
    return found
