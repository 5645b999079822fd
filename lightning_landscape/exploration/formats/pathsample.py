"""The files of PATHSAMPLE: min.data, ts.data, points.min and points.ts."""

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

__all__ = ["read_pathsample", "write_pathsample"]

Array = NDArray[np.float64]

# columns of min.data, and of ts.data with the two minima after the order
_MINIMUM, _STATE = 6, 8


def write_pathsample(database: Database, folder: str | os.PathLike[str]) -> None:
    """Write the four files; transition states with an unknown end are left out.

    A line of ``min.data`` is the energy, the logarithm of the product of the positive eigenvalues
    (squared angular frequencies for unit masses), the order of the symmetry group and three
    moments of inertia, which are those of unit masses for configurations of atoms in space and
    ones otherwise; in ``ts.data`` the numbers of the two minima, from 1, precede the moments.
    ``points.min`` and ``points.ts`` hold the configurations as raw doubles.

    Args:
        database: what to write.
        folder: where.

    Raises:
        UsageError: the folder cannot be written.

    Source: Wales, PATHSAMPLE, https://www-wales.ch.cam.ac.uk/PATHSAMPLE (file formats).
    """
    minima, states = database.minima, database.transition_states
    states = states.of(states.ends.min(1, initial=0) >= 0)
    for name, points, ends in (("min", minima, None), ("ts", states, states.ends + 1)):
        text = "".join(_line(points, k, ends) for k in range(len(points)))
        raw = np.ascontiguousarray(points.x, dtype=np.float64).tobytes()
        for file, content in ((f"{name}.data", text.encode()), (f"points.{name}", raw)):
            write_atomically(Path(folder) / file, partial(Path.write_bytes, data=content))


def _line(points: StationaryPoints, k: int, ends: NDArray[np.int64] | None) -> str:
    between = "" if ends is None else f" {ends[k, 0]} {ends[k, 1]}"
    moments = " ".join(repr(float(m)) for m in _moments(points.x[k]))
    facts = f"{float(points.energy[k])!r} {float(points.log_product[k])!r} {points.order[k]}"
    return f"{facts}{between} {moments}\n"


def _moments(x: Array) -> Array:
    """Return the moments of inertia of atoms of mass 1; ones for what is no set of atoms."""
    if len(x) % 3:
        return np.ones(3)
    atoms = x.reshape(-1, 3) - x.reshape(-1, 3).mean(0)
    gram = atoms.T @ atoms
    return np.linalg.eigvalsh(np.trace(gram) * np.eye(3) - gram)


def read_pathsample(folder: str | os.PathLike[str]) -> Database:
    """Return the database in the four files.

    Of the spectra only the product is known: they are represented by one positive eigenvalue with
    the logarithm of the product, of transition states preceded by -1. Nothing is known of how often
    each point was seen, nor of the unstable modes, which are zero.

    Raises:
        UsageError: a file is missing, has another number of columns (TopSearch has files of the
            same names), or does not fit the others.
    """
    tables, points = {}, {}
    for name, columns in (("min", _MINIMUM), ("ts", _STATE)):
        data, raw = Path(folder) / f"{name}.data", Path(folder) / f"points.{name}"
        for file in (data, raw):
            require(file.is_file(), "folder", folder, f"has no file {file.name}")
        rows = [line.split() for line in data.read_text().splitlines() if line.strip()]
        right = all(len(row) == columns for row in rows)
        required = f"must have {columns} columns"
        require(right, data.name, f"{ {len(row) for row in rows} } columns", required)
        numbers = [[float(v.replace("D", "E").replace("d", "e")) for v in row] for row in rows]
        tables[name] = np.array(numbers).reshape(-1, columns)
        points[name] = np.fromfile(raw, dtype=np.float64)
    n, m = len(tables["min"]), len(tables["ts"])
    require(n > 0, "min.data", "empty", "must hold a minimum")
    N = len(points["min"]) // n
    fits = len(points["min"]) == n * N and len(points["ts"]) == m * N
    require(fits, "points.ts", f"{len(points['ts'])} numbers", f"must hold {m} rows of {N}")
    ends = tables["ts"][:, 3:5].astype(np.int64) - 1
    known = bool(((ends >= 0) & (ends < n)).all())
    require(known, "ts.data", "a minimum", f"must be numbered 1 … {n}")
    unstable, none = np.zeros((m, N)), np.empty((n, 0))
    minima = _read(tables["min"], points["min"], none, np.empty((n, 0), np.int64), N)
    states = _read(tables["ts"], points["ts"], unstable, ends, N)
    return Database(minima, states, StationaryPoints.none(N, 2, False))


def _read(table: Array, x: Array, mode: Array, ends: NDArray[np.int64], N: int) -> StationaryPoints:
    first = np.full(len(table), -1.0 if ends.shape[1] else 1.0)
    spectrum = np.stack([first, np.exp(table[:, 1])], axis=1)
    seen = np.zeros(len(table), np.int64)
    order = table[:, 2].astype(np.int64)
    return StationaryPoints(table[:, 0], x.reshape(-1, N), spectrum, order, seen, mode, ends)
