"""The runs of a report: their folders, names, records and configurations."""

from __future__ import annotations

import os
import re
from ast import literal_eval
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from lightning_landscape import records
from lightning_landscape.errors import UsageError, require
from lightning_landscape.results.exact import with_exact
from lightning_landscape.results.registry import guarded, kind_of
from lightning_landscape.results.summary import rows
from lightning_landscape.results.table import Row

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["Record", "Run", "configuration", "differences", "find_runs", "holds", "read"]

_LARGEST_CONFIG = 10**6  # bytes


class Record(NamedTuple):
    """A record, where it is, and its table."""

    path: Path
    dataset: Dataset
    table: list[Row]


class Run(NamedTuple):
    """A run: its folder, the part of the folder's name that is its own, its records by kind."""

    folder: Path
    name: str
    records: dict[str, Record]

    @property
    def datasets(self) -> dict[str, Dataset]:
        """The records as the comparisons take them."""
        return {kind: record.dataset for kind, record in self.records.items()}


def find_runs(path: Path) -> list[Path]:
    """Return the run folders at or below ``path``: those that hold ``probes/*.nc``.

    Of a sweep that is its own folder, and not those of its points.

    Raises:
        UsageError: there is none.
    """
    require(path.exists(), "runs", path, "there is no such folder")
    found = sorted(
        {record.parents[1] for record in path.rglob("probes/*.nc") if _is_inside(record)},
        key=lambda run: [int(part) if part.isdigit() else part for part in _words(run)],
    )
    sweeps = {run for run in found if (run / "probes" / "sweep.nc").is_file()}
    found = [run for run in found if sweeps.isdisjoint(run.parents)]
    if not found:
        raise UsageError(f"runs = {path}: no records there; a run writes them to <run>/probes/*.nc")
    return found


def _words(path: Path) -> list[str]:
    """Return text and digits of a path in turn, so that 2 comes before 10."""
    return re.split(r"(\d+)", str(path))


def read(folders: list[Path]) -> list[Run]:
    """Return the runs with their records, and the names that tell them apart."""
    return [
        Run(folder, name, _records(folder))
        for folder, name in zip(folders, _names(folders), strict=True)
    ]


def configuration(folder: Path) -> str:
    """Return the text of a run's configuration, or in brackets why there is none."""
    path = folder / "config.yaml"
    if not path.is_file() or not _is_inside(path):
        return "(not saved)"
    if path.stat().st_size > _LARGEST_CONFIG:
        return "(too large to be shown)"
    return path.read_text(encoding="utf-8", errors="replace")


def differences(texts: list[str]) -> dict[str, list[str]]:
    """Return the options in which configurations differ, each with its value in every one.

    Options are named by their path. A part that some configurations do not have at all, such as a
    probe, is one line, which says where it is given.

    >>> differences(["a: {b: 1, c: 2}", "a: {b: 1, c: 3}"])
    {'a.c': ['2', '3']}
    >>> differences(["{a: 1, d: {e: 1, f: 2}}", "{a: 1}"])
    {'d': ['given', '']}
    """
    flat = [dict(_flat(_parsed(text))) for text in texts]
    parts = [{part for name in each for part in _prefixes(name)} for each in flat]
    names = dict.fromkeys(name for each in flat for name in each)
    found = {}
    for name in names:
        missing = [p for p in _prefixes(name) if any(p not in of_one for of_one in parts)]
        if missing and missing[0] != name:
            found[missing[0]] = ["given" if missing[0] in of_one else "" for of_one in parts]
        else:
            found[name] = [each.get(name, "") for each in flat]
    return {
        name.replace("init_args.", ""): values
        for name, values in found.items()
        if len({_without_module(value) for value in values}) > 1
    }


def _without_module(value: str) -> str:
    """Return a class without its module: both forms of a class path are one option."""
    return value.rpartition(".")[2] if re.fullmatch(r"[\w.]*\.[A-Za-z]\w*", value) else value


def holds(text: str, options: Any) -> bool:
    """Return whether a resolved configuration has all options of a file, with the same values.

    >>> holds("{a: 1.0, b: {class_path: x.C, init_args: {d: 3}}}", {"a": 1, "b": {"d": 3}})
    True
    """
    resolved = _named(_parsed(text))
    return all(resolved.get(name) == value for name, value in _named(options).items())


def _named(options: Any) -> dict[str, Any]:
    """Return options by their path, without the init_args that a file may leave out."""
    flat = _flat(options)
    return {name.replace("init_args.", ""): _comparable(value) for name, value in flat}


def _comparable(value: str) -> Any:
    """Return a number or a list of them as such, since 1 and 1.0 are written differently."""
    try:
        return literal_eval(value)
    except (ValueError, SyntaxError):
        return _without_module(value)


def _prefixes(name: str) -> list[str]:
    """Return the parts that hold an option, the outermost first, and the option itself.

    >>> _prefixes("a.b.c")
    ['a', 'a.b', 'a.b.c']
    """
    words = name.split(".")
    return [".".join(words[: k + 1]) for k in range(len(words))]


def _parsed(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return {}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested mappings and lists by their path."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for k, inner in enumerate(value):
            yield from _flat(inner, f"{name}.{_class_name(inner) or k}")
    elif name:
        yield name, str(value)


def _class_name(value: Any) -> str:
    """Return the name of a class in a list, so that probes are compared with their like."""
    path = value.get("class_path", "") if isinstance(value, dict) else ""
    return str(path).rpartition(".")[2]


def _is_inside(path: Path) -> bool:
    """Return whether a file of a run is in its folder, and no link to another place."""
    folder = path.parents[1] if path.parent.name == "probes" else path.parent
    return path.resolve().is_relative_to(folder.resolve())


def _records(run: Path) -> dict[str, Record]:
    """Return the records of a run by kind; those that name none under the name of their file."""
    found = {}
    for path in filter(_is_inside, sorted((run / "probes").glob("*.nc"))):
        dataset = records.read(path)
        if dataset.attrs.get("theory") == "left out":  # in the run, to which it would have added
            dataset = with_exact(dataset)
        table: list[Row] = []
        with guarded(dataset, "rows"):
            table += rows(dataset)
        found[kind_of(dataset) or path.stem] = Record(path, dataset, table)
    return found


def _names(folders: list[Path]) -> list[str]:
    """Return what tells the folders apart; version_0 says nothing where it is the only one."""
    if len(folders) == 1:
        return [str(folders[0])]
    resolved = [folder.resolve() for folder in folders]
    common = os.path.commonpath(resolved)
    names = [os.path.relpath(folder, common) for folder in resolved]
    short = [name.removesuffix("/version_0") for name in names]
    return short if len(set(short)) == len(short) else names
