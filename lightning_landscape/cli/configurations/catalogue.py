"""The configurations that come with the package, described by the comments at their heads.

This module needs the standard library only, so that the documentation is built from it without
the packages that a run needs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Configuration", "catalogue", "folder", "seconds_in"]

_PACKAGE = Path(__file__).parents[2]
_WORDS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6,
          "seven": 7, "eight": 8, "nine": 9, "ten": 10, "twelve": 12, "fifteen": 15, "twenty": 20,
          "thirty": 30, "forty": 40}  # fmt: skip
_UNITS = {"s": 1.0, "second": 1.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0}
_NUMBER = rf"(?P<number>\d+(?:\.\d+)?|{'|'.join(_WORDS)})"
_UNIT = r"(?P<unit>seconds?|minutes?|hours?|min|s|h)"
_DURATION = re.compile(
    rf"\b(?:(?P<half>half an?)|(?P<quarters>three quarters of an)|{_NUMBER}(?P<more> and a half)?)"
    rf" {_UNIT}\b"
)


@dataclass(frozen=True)
class Configuration:
    """A configuration file and what its head says.

    Attributes:
        name: path below the folder of configurations, without its suffix, as in ``pspin/aging``.
        path: the file.
        question: what a run of it answers.
        expected: the outcome.
        run_time: how long it takes, in words.
        reference: the papers.
        verb: the verb that runs it.
    """

    name: str
    path: Path
    question: str
    expected: str
    run_time: str
    reference: str
    verb: str

    @property
    def command(self) -> str:
        """The command line that runs it."""
        return f"python -m lightning_landscape {self.verb} --config configs/{self.name}.yaml"

    @property
    def seconds(self) -> float:
        """How long it takes, in seconds; infinite where its head gives no number."""
        return seconds_in(self.run_time)

    @classmethod
    def of(cls, path: Path, name: str) -> Configuration:
        """Return the description of a file: the comments before its first key."""
        head = _head(path.read_text(encoding="utf-8"))
        run_with = head.get("Run with", "fit").split()
        return cls(
            name,
            path,
            head.get("Question", ""),
            head.get("Expected", ""),
            head.get("Run time", ""),
            head.get("Reference", ""),
            run_with[-1],
        )


def folder() -> Path:
    """Return where the configurations are: in an installed package, or in a checkout beside it."""
    packaged = _PACKAGE / "configs"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "configs"


def catalogue() -> list[Configuration]:
    """Return all configurations, by name."""
    root = folder()
    files = sorted(root.rglob("*.yaml"))
    return [Configuration.of(path, str(path.relative_to(root).with_suffix(""))) for path in files]


def seconds_in(text: str) -> float:
    """Return the first duration in a text, in seconds; infinite if there is none.

    >>> seconds_in("about two and a half minutes on 2 cores"), seconds_in("80 s of one core")
    (150.0, 80.0)
    >>> seconds_in("half a minute"), seconds_in("three quarters of an hour")
    (30.0, 2700.0)
    >>> seconds_in("hours on a GPU")
    inf
    """
    found = _DURATION.search(text)
    if found is None:
        return math.inf
    unit = _UNITS[found["unit"].rstrip("s") or "s"]
    if found["half"]:
        return unit / 2
    if found["quarters"]:
        return 3 * unit / 4
    return _number(found["number"]) * unit + (unit / 2 if found["more"] else 0.0)


def _number(text: str) -> float:
    return float(_WORDS.get(text, text))


def _head(text: str) -> dict[str, str]:
    """Return the fields of the comments at the head of a file; a longer one goes on indented."""
    fields: dict[str, str] = {}
    field = ""
    for line in _comments(text):
        if start := re.match(r"([A-Z][a-z]+(?: [a-z]+)?): +(.*)", line):
            field = start[1]
            fields[field] = start[2].strip()
        elif field:
            fields[field] += f" {line.strip()}"
    return fields


def _comments(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if not line.startswith("#"):
            return
        yield line.removeprefix("#").removeprefix(" ").rstrip()
