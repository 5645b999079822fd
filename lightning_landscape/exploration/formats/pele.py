"""The SQLite file of pele (its schema 2)."""

from __future__ import annotations

import os
import pickle
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.errors import require
from lightning_landscape.exploration.database import Database
from lightning_landscape.exploration.stationary_points import StationaryPoints
from lightning_landscape.records import write_atomically

__all__ = ["read_pele", "write_pele"]

_VERSION = 2
_TABLES = """
CREATE TABLE tbl_minima (
    _id INTEGER NOT NULL PRIMARY KEY, energy FLOAT, coords BLOB, fvib FLOAT, pgorder INTEGER,
    invalid BOOLEAN, user_data BLOB);
CREATE TABLE tbl_transition_states (
    _id INTEGER NOT NULL PRIMARY KEY, energy FLOAT, coords BLOB, _minimum1_id INTEGER,
    _minimum2_id INTEGER, eigenval FLOAT, eigenvec BLOB, fvib FLOAT, pgorder INTEGER,
    invalid BOOLEAN, user_data BLOB,
    FOREIGN KEY(_minimum1_id) REFERENCES tbl_minima (_id),
    FOREIGN KEY(_minimum2_id) REFERENCES tbl_minima (_id));
CREATE TABLE tbl_system_property (
    _id INTEGER NOT NULL PRIMARY KEY, property_name VARCHAR, string_value VARCHAR,
    int_value INTEGER, float_value FLOAT, pickle_value BLOB);
"""


def write_pele(database: Database, path: str | os.PathLike[str]) -> None:
    """Write a file that ``pele.storage.Database`` opens; the standard library is all it takes.

    Transition states with an unknown end are left out: pele has no place for them. ``fvib`` is the
    logarithm of the product of the positive eigenvalues, ``pgorder`` the order of the symmetry
    group.

    Raises:
        UsageError: the file cannot be written.
    """
    write_atomically(Path(path), lambda p: _write(database, p))


def _write(database: Database, path: Path) -> None:
    minima, states = database.minima, database.transition_states
    states = states.of(states.ends.min(1, initial=0) >= 0)
    path.unlink()  # the empty file that holds the name
    with closing(sqlite3.connect(path)) as file, file:
        file.executescript(_TABLES)
        file.execute(f"PRAGMA user_version = {_VERSION}")
        file.executemany(
            "INSERT INTO tbl_minima VALUES (?, ?, ?, ?, ?, 0, NULL)",
            [
                (k + 1, float(E), pickle.dumps(x), float(L), int(h))
                for k, (E, x, L, h) in enumerate(
                    zip(minima.energy, minima.x, minima.log_product, minima.order, strict=True)
                )
            ],
        )
        facts = zip(states.energy, states.log_product, states.order, strict=True)
        file.executemany(
            "INSERT INTO tbl_transition_states VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, NULL)",
            [
                (
                    k + 1,
                    float(E),
                    pickle.dumps(states.x[k]),
                    *(states.ends[k] + 1).tolist(),
                    float(states.spectrum[k, 0]),
                    pickle.dumps(states.mode[k]),
                    float(L),
                    int(h),
                )
                for k, (E, L, h) in enumerate(facts)
            ],
        )


def read_pele(path: str | os.PathLike[str], trusted: bool = False) -> Database:
    """Return the database in a file of pele.

    The configurations in it are pickles, and to read a pickle is to run a program. Of the spectra
    only the product is known, as in `read_pathsample`, and the negative eigenvalue.

    Args:
        path: the file.
        trusted: whether you know who wrote it.

    Raises:
        UsageError: the file is not trusted, is missing, or is no database of pele's schema 2.
    """
    remedy = "pass trusted=True for a file whose author you know"
    require(trusted, "trusted", trusted, "must be True: the file holds pickles", remedy)
    require(Path(path).is_file(), "path", path, "is not a file")
    with closing(sqlite3.connect(path)) as file:
        version = file.execute("PRAGMA user_version").fetchone()[0]
        require(version == _VERSION, "schema of the file", version, f"must be {_VERSION}")
        minima = file.execute(
            "SELECT _id, energy, coords, fvib, pgorder FROM tbl_minima ORDER BY _id"
        ).fetchall()
        states = file.execute(
            "SELECT _id, energy, coords, fvib, pgorder, _minimum1_id, _minimum2_id, eigenval, "
            "eigenvec FROM tbl_transition_states ORDER BY _id"
        ).fetchall()
    require(len(minima) > 0, "path", path, "holds no minimum")
    number = {row[0]: k for k, row in enumerate(minima)}
    ends = np.array([[number[row[5]], number[row[6]]] for row in states], np.int64).reshape(-1, 2)
    N = len(pickle.loads(minima[0][2]))
    lowest = [row[7] if row[7] is not None else -1.0 for row in states]
    modes = [np.zeros(N) if row[8] is None else pickle.loads(row[8]) for row in states]
    none, mode = np.empty((len(minima), 0)), np.reshape(modes, (-1, N))
    return Database(
        _points(minima, N, [1.0] * len(minima), none, none.astype(np.int64)),
        _points(states, N, lowest, mode, ends),
        StationaryPoints.none(N, 2, False),
    )


def _points(
    rows: list[tuple],
    N: int,
    lowest: list[float],
    mode: NDArray[np.float64],
    ends: NDArray[np.int64],
) -> StationaryPoints:
    energy = np.array([row[1] for row in rows], dtype=float)
    x = np.array([pickle.loads(row[2]) for row in rows], dtype=float).reshape(-1, N)
    product = np.exp(np.array([row[3] or 0.0 for row in rows], dtype=float))
    spectrum = np.stack([np.array(lowest, dtype=float), product], axis=1).reshape(-1, 2)
    order = np.array([row[4] or 1 for row in rows], dtype=np.int64)
    return StationaryPoints(energy, x, spectrum, order, np.zeros(len(rows), np.int64), mode, ends)
