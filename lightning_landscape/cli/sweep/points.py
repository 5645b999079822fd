"""The points of a sweep: every combination of the values that its options are given."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from lightning_landscape.errors import require

__all__ = ["Point", "grid", "part_of", "short_names"]

_RANGE = re.compile(r"(-?\d+):(-?\d+)")
_MOST_POINTS = 100_000  # what one catalogue, and one scheduler, can hold


@dataclass(frozen=True)
class Point:
    """One run of a sweep.

    Attributes:
        values: the value of each option that is swept over.
        label: the name of its folder, a function of the values.
    """

    values: dict[str, Any]
    label: str

    @property
    def arguments(self) -> list[str]:
        """The options on the command line of `fit`."""
        return [f"--{key}={_yaml(value)}" for key, value in self.values.items()]


def grid(options: Iterable[str]) -> list[Point]:
    """Return the points of all combinations of the values of ``options``, the last one fastest.

    Args:
        options: ``key=v1,v2,…``, or ``key=0:32`` for the integers from 0 to 31.

    Raises:
        UsageError: an option is no ``key=values``, or given twice, or there are too many points.

    >>> [point.label for point in grid(["model.optimizer.temperature=0.2,0.4", "model.seed=0:2"])]
    ['temperature=0.2,seed=0', 'temperature=0.2,seed=1', 'temperature=0.4,seed=0', \
'temperature=0.4,seed=1']
    """
    given = [_values(option) for option in options]
    keys = [key for key, _ in given]
    for key in keys:
        require(keys.count(key) == 1, "over", key, "is given twice", "give all its values at once")
    count = 1
    for _, values in given:
        count *= len(values)
    require(count <= _MOST_POINTS, "over", f"{count} points", f"are more than {_MOST_POINTS}")
    names = short_names(keys)
    points = []
    for combination in itertools.product(*(values for _, values in given)):
        named = zip(names, combination, strict=True)
        label = ",".join(f"{name}={_text(value)}" for name, value in named)
        points.append(Point(dict(zip(keys, combination, strict=True)), _file_name(label)))
    return points


def short_names(keys: list[str]) -> list[str]:
    """Return the last part of each key, or the whole key where that would not tell two apart.

    >>> short_names(["model.energy.seed", "model.optimizer.seed", "model.energy.N"])
    ['model.energy.seed', 'model.optimizer.seed', 'N']
    """
    last = [key.rpartition(".")[2] for key in keys]
    return [key if last.count(name) > 1 else name for key, name in zip(keys, last, strict=True)]


def part_of(points: list[Point], part: str | None) -> list[Point]:
    """Return every n-th point from the k-th on, for a part ``k/n`` with k from 0.

    >>> [point.label for point in part_of(grid(["seed=0:5"]), "1/3")]
    ['seed=1', 'seed=4']
    """
    if part is None:
        return points
    found = re.fullmatch(r"(\d+)/(\d+)", part)
    k, n = map(int, found.groups()) if found else (0, 0)
    right = found is not None and k < n
    require(right, "part", part, "must be k/n with k from 0 to n - 1", "for example 0/100")
    return points[k::n]


def _values(option: str) -> tuple[str, list[Any]]:
    key, equals, text = option.partition("=")
    right = bool(equals and text.strip() and re.fullmatch(r"[A-Za-z_][\w.+]*", key))
    remedy = "for example model.optimizer.temperature=0.2,0.4 or model.energy.seed=0:32"
    require(right, "over", option, "must be key=value,value,… or key=first:end", remedy)
    if numbers := _RANGE.fullmatch(text.strip()):
        first, end = map(int, numbers.groups())
        require(first < end, "over", option, "is an empty range", "the end is not included")
        require(end - first <= _MOST_POINTS, "over", option, f"has over {_MOST_POINTS} values")
        return key, list(range(first, end))
    try:
        values = yaml.safe_load(f"[{text}]")
    except yaml.YAMLError:
        values = []
    values = [_number(value) for value in values]
    require(len(values) > 0, "over", option, "has no values that can be read", remedy)
    texts = [_text(value) for value in values]
    require(len({*texts}) == len(texts), "over", option, "gives a value twice")
    return key, values


def _number(value: Any) -> Any:
    """Return 1e-3, which YAML 1.1 takes for text, as the number that it is."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value):
        return float(value)
    return value


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _file_name(label: str) -> str:
    """Return the label where it can be the name of a folder, else one that tells it from others."""
    name = re.sub(r"[^\w.=,+-]", "_", label)
    if name == label and len(name) <= 100:
        return name
    return f"{name[:80]}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n").strip()
