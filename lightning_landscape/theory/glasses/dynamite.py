"""Reads output of DYNAMITE (github.com/DMFT-evolution/DYNAMITE) and converts it to our units.

The directory of a run contains, among others, ``params.txt`` (``key = value``), ``correlation.txt``
(t, E, C(t, 0)) and, when it ends, ``QK_compressed``, ``QR_compressed`` (two 64-bit sizes, then C
and R as doubles, row by row) with ``t1_compressed.txt`` (the times of the rows).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.errors import require
from lightning_landscape.theory.glasses.mixture import Mixture
from lightning_landscape.theory.glasses.units import DYNAMITE

__all__ = ["DynamiteModel", "DynamiteSeries", "DynamiteSurface", "read_series", "read_surface"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DynamiteModel:
    """The model that was solved: arguments of `cugliandolo_kurchan.solve`, in our units."""

    mixture: Mixture
    temperature: float
    start_temperature: float


@dataclass(frozen=True)
class DynamiteSeries:
    """The energy and C(t, 0) at ``times``, each of shape (n,)."""

    model: DynamiteModel
    times: Array
    energy: Array
    correlation: Array


@dataclass(frozen=True)
class DynamiteSurface:
    """C and R of shape (n, n): row i, column j holds them at (times_i, ratios_j times_i)."""

    model: DynamiteModel
    times: Array
    ratios: Array
    correlation: Array
    response: Array


def read_series(directory: str | Path) -> DynamiteSeries:
    """Read the energy and C(t, 0) of a run.

    For a finite start temperature T_0 DYNAMITE (2025) writes -f'(C(t,0))/T_0 instead of
    -f(C(t,0))/T_0 for the contribution of the start to the energy; this is corrected here.

    Raises:
        UsageError: a file is missing.
    """
    model, (times, energy, C) = _model(directory), np.loadtxt(_file(directory, "correlation.txt")).T
    f = model.mixture
    energy = DYNAMITE.energy(energy) + (f(C, 1) - f(C)) / model.start_temperature
    return DynamiteSeries(model, DYNAMITE.time(times), energy, C)


def read_surface(directory: str | Path) -> DynamiteSurface:
    """Read C and R of a finished run on its grid of times and ratios.

    Raises:
        UsageError: a file is missing.
    """
    times = np.loadtxt(_file(directory, "t1_compressed.txt"))
    C, R = (_matrix(_file(directory, name)) for name in ("QK_compressed", "QR_compressed"))
    return DynamiteSurface(_model(directory), DYNAMITE.time(times), times / times[-1], C, R)


def _model(directory: str | Path) -> DynamiteModel:
    lines = _file(directory, "params.txt").read_text().splitlines()
    found = dict(line.split(" = ", 1) for line in lines if " = " in line)
    share, start = float(found["lambda"]), float(found["T0"])
    shares = {int(found["p2"]): 1 - share}
    shares[int(found["p"])] = shares.get(int(found["p"]), 0.0) + share
    return DynamiteModel(
        DYNAMITE.mixture({p: a for p, a in shares.items() if a > 0}),
        DYNAMITE.energy(float(found["Gamma"])),
        DYNAMITE.energy(start) if start < 1e49 else math.inf,  # 1e50 stands for infinity
    )


def _matrix(path: Path) -> Array:
    rows, columns = (int(size) for size in np.fromfile(path, dtype="<u8", count=2))
    return np.fromfile(path, dtype="<f8", offset=16).reshape(rows, columns)


def _file(directory: str | Path, name: str) -> Path:
    path = Path(directory) / name
    require(path.is_file(), "directory", directory, f"has no {name}", "give a DYNAMITE run")
    return path
