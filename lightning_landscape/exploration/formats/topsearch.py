"""The files of TopSearch: min.data, ts.data, min.coords, ts.coords and pairlist."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.errors import require
from lightning_landscape.exploration.database import Database
from lightning_landscape.exploration.stationary_points import StationaryPoints
from lightning_landscape.records import write_atomically

__all__ = ["read_topsearch", "write_topsearch"]

Array = NDArray[np.float64]

_MINIMUM, _STATE = 2, 3


def write_topsearch(database: Database, folder: str | os.PathLike[str]) -> None:
    """Write the five files; transition states with an unknown end are left out.

    A line of ``min.data`` is the number of a minimum, from 0, and its energy; one of ``ts.data``
    the numbers of two minima and the energy of the transition state between them. ``min.coords``
    and ``ts.coords`` have a configuration a line, ``pairlist`` the pairs that are connected.
    Spectra and symmetries have no place in them. TopSearch keeps one transition state for each
    pair of minima, the last that it reads: they are written from the highest to the lowest.

    Args:
        database: what to write.
        folder: where.

    Raises:
        UsageError: the folder cannot be written.

    Source: TopSearch 0.0.3, https://github.com/IBM/topography-searcher.
    """
    minima, states = database.minima, database.transition_states
    states = states.of(states.ends.min(1, initial=0) >= 0)
    states = states.of(np.argsort(-states.energy, kind="stable"))
    pairs = [f"{a} {b}" for a, b in states.ends.tolist()]
    energies = [f"{float(E)!r}" for E in states.energy]
    content = {
        "min.data": [f"{k} {float(E)!r}" for k, E in enumerate(minima.energy)],
        "ts.data": [f"{pair} {E}" for pair, E in zip(pairs, energies, strict=True)],
        "min.coords": [_numbers(x) for x in minima.x],
        "ts.coords": [_numbers(x) for x in states.x],
        "pairlist": list(dict.fromkeys(pairs)),
    }
    for name, lines in content.items():
        text = "".join(f"{line}\n" for line in lines)
        write_atomically(Path(folder) / name, partial(Path.write_bytes, data=text.encode()))


def _numbers(x: Array) -> str:
    return " ".join(repr(float(value)) for value in x)


def read_topsearch(folder: str | os.PathLike[str]) -> Database:
    """Return the database in the files; ``pairlist`` is not needed.

    Nothing is known of spectra, which are empty, of how often each point was seen, nor of the
    unstable modes, which are zero.

    Raises:
        UsageError: a file is missing, has another number of columns (PATHSAMPLE has files of the
            same names), or does not fit the others.
    """
    tables = {name: _table(Path(folder) / name) for name in ("min.data", "ts.data")}
    for (name, rows), columns in zip(tables.items(), (_MINIMUM, _STATE), strict=True):
        required = f"must have {columns} columns"
        found = {len(row) for row in rows} or {columns}
        require(found == {columns}, name, f"{found} columns", required)
    require(len(tables["min.data"]) > 0, "min.data", "empty", "must hold a minimum")
    x = _points(Path(folder) / "min.coords", len(tables["min.data"]), None)
    y = _points(Path(folder) / "ts.coords", len(tables["ts.data"]), x.shape[1])
    minima, states = np.array(tables["min.data"]), np.array(tables["ts.data"]).reshape(-1, _STATE)
    number = {int(k): row for row, k in enumerate(minima[:, 0])}
    pairs = states[:, :2].astype(np.int64).tolist()
    unknown = [end for pair in pairs for end in pair if end not in number]
    require(not unknown, "ts.data", f"minimum {unknown[:1]}", "must be one of min.data")
    ends = np.array([[number[a], number[b]] for a, b in pairs], np.int64).reshape(-1, 2)
    none = np.empty((len(x), 0))
    return Database(
        _read(minima[:, 1], x, none, none.astype(np.int64)),
        _read(states[:, 2], y, np.zeros_like(y), ends),
        StationaryPoints.none(x.shape[1], 0, False),
    )


def _table(file: Path) -> list[list[float]]:
    require(file.is_file(), "folder", file.parent, f"has no file {file.name}")
    lines = [line.split() for line in file.read_text().splitlines() if line.strip()]
    return [[float(value) for value in line] for line in lines]


def _points(file: Path, number: int, N: int | None) -> Array:
    rows = _table(file)
    sizes = {len(row) for row in rows} or {N or 0}
    fits = len(rows) == number and len(sizes) == 1 and N in (None, *sizes)
    required = f"must hold {number} lines of {N or 'as many'} numbers each"
    require(fits, file.name, f"{len(rows)} lines of {sizes} numbers", required)
    return np.array(rows).reshape(number, *sizes)


def _read(energy: Array, x: Array, mode: Array, ends: NDArray[np.int64]) -> StationaryPoints:
    ones = np.ones(len(x), np.int64)
    return StationaryPoints(energy, x, np.empty((len(x), 0)), ones, 0 * ones, mode, ends)
