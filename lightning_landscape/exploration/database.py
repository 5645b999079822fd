"""The minima and transition states of a landscape, and how they were found."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lightning_landscape import records
from lightning_landscape.errors import require
from lightning_landscape.exploration.coverage import chao, good_turing
from lightning_landscape.exploration.identity import Identity
from lightning_landscape.exploration.stationary_points import StationaryPoints

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["KIND", "Database"]

KIND = "Exploration"
"""The kind of the record of a database."""

Array = NDArray[np.float64]

_COUNTS = ("quenches", "searches", "descents", "gradients", "hessians", "flat", "other", "quasi")
# whether the points connect minima
_POINTS = {"minimum": False, "transition_state": True, "saddle": False}


@dataclass
class Database:
    """Minima and transition states as arrays, with what their search has cost.

    Its record is an `xarray.Dataset` with the dimensions ``minimum``, ``transition_state``,
    ``saddle``, ``parameter``, ``mode`` and ``end``, and variables ``minimum_energy``,
    ``minimum_x``, … and ``transition_state_ends``, the numbers of minima from 0, with -1 for an end
    that is not known.

    Attributes:
        minima: see `StationaryPoints`.
        transition_states: the same, with their unstable modes and ends.
        quenches: from how many random starts there were quenches.
        saddles: stationary points of any index, from descents of the squared gradient.
        searches: how many searches for transition states there were.
        descents: how many descents of the squared gradient there were.
        gradients: what all of this has cost.
        hessians: and this.
        flat: searches that ended in a point with an eigenvalue that is 0 to the tolerance.
        other: searches that ended in a stationary point of another index.
        quasi: descents that ended in a quasi-saddle.
        seconds: of the processor.
        attributes: what else the record says, of the energy and the run.
        identity: which points are the same.

    >>> database = Database.empty(N=2, modes=2)
    >>> len(database.minima), database.searches
    (0, 0)
    """

    minima: StationaryPoints
    transition_states: StationaryPoints
    saddles: StationaryPoints
    quenches: int = 0
    searches: int = 0
    descents: int = 0
    gradients: int = 0
    hessians: int = 0
    flat: int = 0
    other: int = 0
    quasi: int = 0
    seconds: float = 0.0
    attributes: dict[str, Any] = field(default_factory=dict)
    identity: Identity = field(default_factory=Identity)

    @classmethod
    def empty(cls, N: int, modes: int, identity: Identity | None = None) -> Database:
        """Return a database without points.

        Args:
            N: the number of degrees of freedom.
            modes: how many eigenvalues a spectrum has, N without the zero modes.
            identity: which points are the same.
        """
        minima, states, saddles = (
            StationaryPoints.none(N, modes, connects) for connects in _POINTS.values()
        )
        return cls(minima, states, saddles, identity=identity or Identity())

    def add_minimum(
        self, energy: float, x: Array, spectrum: Array, order: int = 1, seen: int = 1
    ) -> int:
        """Add a minimum, or count it if it is known; return its number."""
        index = self.find_minimum(energy, x, spectrum)
        if index < 0:
            new = _point(energy, x, spectrum, order, seen, np.empty(0), np.empty(0, np.int64))
            self.minima = self.minima.joined(new)
            return len(self.minima) - 1
        if seen:
            self.minima = self.minima.counted(index)
        return index

    def find_minimum(self, energy: float, x: Array, spectrum: Array) -> int:
        """Return the number of this minimum, or -1 if it is not known."""
        return self.identity.find(energy, x, spectrum, self.minima)

    def find_transition_state(self, energy: float, x: Array, spectrum: Array) -> int:
        """Return the number of this transition state, or -1 if it is not known."""
        return self.identity.find(energy, x, spectrum, self.transition_states)

    def add_transition_state(
        self,
        energy: float,
        x: Array,
        spectrum: Array,
        mode: Array,
        ends: tuple[int, int],
        order: int = 1,
    ) -> int:
        """Add a transition state, or count it if it is known; return its number."""
        index = self.find_transition_state(energy, x, spectrum)
        if index >= 0:
            self.transition_states = self.transition_states.counted(index)
            if min(ends) >= 0 and self.transition_states.ends[index].min() < 0:
                self.transition_states.ends[index] = ends
            return index
        new = _point(energy, x, spectrum, order, 1, mode, np.array(ends, np.int64))
        self.transition_states = self.transition_states.joined(new)
        return len(self.transition_states) - 1

    def add_saddle(self, energy: float, x: Array, spectrum: Array) -> int:
        """Add a stationary point of any index, or count it if it is known; return its number."""
        index = self.identity.find(energy, x, spectrum, self.saddles)
        if index >= 0:
            self.saddles = self.saddles.counted(index)
            return index
        new = _point(energy, x, spectrum, 1, 1, np.empty(0), np.empty(0, np.int64))
        self.saddles = self.saddles.joined(new)
        return len(self.saddles) - 1

    def coverage(self) -> tuple[float, float]:
        """Return the Good-Turing coverage of minima, and Chao's lower bound of their number.

        Both from the quenches of random starts alone, which are independent.
        """
        return good_turing(self.minima.seen), chao(self.minima.seen)

    def sorted(self) -> Database:
        """Return the same points in the order of their energies."""
        order = np.argsort(self.minima.energy, kind="stable")
        rank = np.append(np.argsort(order), -1)  # the last for the end -1
        states = self.transition_states.of(np.argsort(self.transition_states.energy, kind="stable"))
        states = replace(states, ends=rank[states.ends])
        saddles = self.saddles.of(np.argsort(self.saddles.energy, kind="stable"))
        return replace(
            self, minima=self.minima.of(order), transition_states=states, saddles=saddles
        )

    def to_dataset(self) -> Dataset:
        """Return the record."""
        from xarray import Dataset

        variables: dict[str, Any] = {}
        kinds = self.minima, self.transition_states, self.saddles
        for dim, points in zip(_POINTS, kinds, strict=True):
            variables |= {
                f"{dim}_energy": (dim, points.energy),
                f"{dim}_x": ((dim, "parameter"), points.x),
                f"{dim}_spectrum": ((dim, "mode"), points.spectrum),
                f"{dim}_order": (dim, points.order),
                f"{dim}_seen": (dim, points.seen),
            }
        variables["transition_state_mode"] = (
            ("transition_state", "parameter"),
            self.transition_states.mode,
        )
        variables["transition_state_ends"] = (
            ("transition_state", "end"),
            self.transition_states.ends,
        )
        counts = {name: getattr(self, name) for name in _COUNTS}
        return Dataset(
            variables, attrs={**self.attributes, "probe": KIND, "seconds": self.seconds, **counts}
        )

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> Database:
        """Return the database that a record holds."""
        kind = dataset.attrs.get("probe")
        require(kind == KIND, "kind of the record", kind, f"must be {KIND}")
        points = []
        for dim, connects in _POINTS.items():
            get = {name: dataset[f"{dim}_{name}"].to_numpy() for name in _NAMES}
            n = len(get["energy"])
            mode, ends = np.empty((n, 0)), np.empty((n, 0), np.int64)
            if connects:
                mode = dataset["transition_state_mode"].to_numpy()
                ends = dataset["transition_state_ends"].to_numpy()
            points.append(StationaryPoints(**get, mode=mode, ends=ends))
        attributes = {k: v for k, v in dataset.attrs.items() if k not in ("probe", "seconds")}
        counts = {name: int(attributes.pop(name)) for name in _COUNTS}
        minima, states, saddles = points
        database = cls(minima, states, saddles, attributes=attributes)
        return replace(database, seconds=float(dataset.attrs["seconds"]), **counts)  # type: ignore[arg-type]

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the record, a netCDF file, atomically."""
        records.write(self.to_dataset(), path)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Database:
        """Return the database in a netCDF file, with the default `Identity`.

        Raises:
            UsageError: there is no such file, or it is a record of another kind.
        """
        return cls.from_dataset(records.read(path))


_NAMES = ("energy", "x", "spectrum", "order", "seen")


def _point(
    energy: float,
    x: Array,
    spectrum: Array,
    order: int,
    seen: int,
    mode: Array,
    ends: NDArray[np.int64],
) -> StationaryPoints:
    numbers = np.array([order]), np.array([seen])
    return StationaryPoints(
        np.array([energy]), x[None], spectrum[None], *numbers, mode[None], ends[None]
    )
