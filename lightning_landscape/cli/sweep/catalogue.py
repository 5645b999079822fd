"""The catalogue of a sweep: one record with the options and results of all its points."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_landscape import records
from lightning_landscape.cli.sweep.laws import of_infinite_size, with_law
from lightning_landscape.cli.sweep.points import Point, short_names
from lightning_landscape.cli.sweep.work import Found, Outcome

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["Catalogue"]

_SECONDS_BETWEEN_WRITES = 60.0
_NUMBERS = Found._fields[1:]


class Catalogue:
    """The outcomes of the points of a sweep, in ``<experiment>/probes/sweep.nc``.

    It can be made anew from the folders of the points, unless these were not kept.

    Args:
        path: the file; what it holds of ``points`` is taken over.
        points: all of the sweep.
        attributes: of the record.
        law: to be fitted, see `laws.check_law`; None for the limit N to infinity of what has an
            exact value there, where N is swept.

    Attributes:
        outcomes: by the label of the point.

    Raises:
        UsageError: the file is no record.
    """

    def __init__(
        self,
        path: Path,
        points: list[Point],
        attributes: dict[str, Any],
        law: str | None = None,
    ) -> None:
        self.path, self.points, self.attributes, self.law = path, points, attributes, law
        known = {point.label for point in points}
        before = records.read(path) if path.is_file() else None
        done = {} if before is None else _outcomes(before)
        self.outcomes = {label: o for label, o in done.items() if label in known}
        self._written_at = time.monotonic()
        same = before is not None and before.attrs.get("law_text") == law
        self._written: dict[str, Outcome] | None = dict(self.outcomes) if same else None

    def add(self, point: Point, outcome: Outcome) -> None:
        """Take an outcome; write the file if the last time was a minute ago."""
        self.outcomes[point.label] = outcome
        if time.monotonic() - self._written_at > _SECONDS_BETWEEN_WRITES:
            self.write()

    def write(self) -> None:
        """Write the file, atomically, if there is anything new."""
        if self._written != self.outcomes or not self.path.is_file():
            records.write(self.dataset(), self.path)
            self._written = dict(self.outcomes)
        self._written_at = time.monotonic()

    def dataset(self) -> Dataset:
        """Return the catalogue along ``point`` and ``quantity``; what is missing is nan."""
        from xarray import Dataset

        labels = [point.label for point in self.points]
        found = [self.outcomes.get(label) or Outcome("missing", math.nan) for label in labels]
        quantities = list(dict.fromkeys(row.quantity for o in found for row in o.found))
        place = {name: k for k, name in enumerate(quantities)}
        tables = {name: np.full((len(labels), len(quantities)), np.nan) for name in _NUMBERS}
        for k, outcome in enumerate(found):
            for row in outcome.found:
                for name in _NUMBERS:
                    tables[name][k, place[row.quantity]] = getattr(row, name)
        variables: dict[str, Any] = {
            name: (("point", "quantity"), table) for name, table in tables.items()
        }
        variables["state"] = ("point", [o.state for o in found])
        variables["sentence"] = ("point", [o.sentence for o in found])
        variables["seconds"] = ("point", [o.seconds for o in found], {"units": "s"})
        keys = list(self.points[0].values)
        for key, name in zip(keys, short_names(keys), strict=True):
            variables[name] = ("point", _column([p.values[key] for p in self.points]))
        attributes = {"probe": "Sweep", "swept": short_names(keys), **self.attributes}
        dataset = Dataset(variables, {"point": labels, "quantity": quantities}, attributes)
        if self.law is not None:
            return with_law(dataset, self.law)
        if not (limits := of_infinite_size(dataset)):
            return dataset
        extrapolated = with_law(dataset, "infinity", limits)
        del extrapolated.attrs["law_text"]  # it was not asked for
        return extrapolated


def _column(values: list[Any]) -> list[Any]:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return values if numbers else [str(v) for v in values]


def _outcomes(dataset: Dataset) -> dict[str, Outcome]:
    """Return the outcomes in a catalogue, those of points that were done."""
    quantities = [str(name) for name in dataset["quantity"].to_numpy()]
    tables = {name: dataset[name].to_numpy() for name in _NUMBERS}
    state, seconds = dataset["state"].to_numpy(), dataset["seconds"].to_numpy()
    found = {}
    for k, label in enumerate(dataset["point"].to_numpy()):
        if state[k] != "done":
            continue
        there = np.flatnonzero(~np.isnan(tables["measured"][k]))
        rows = [Found(quantities[j], *(tables[n][k, j].item() for n in _NUMBERS)) for j in there]
        found[str(label)] = Outcome("done", float(seconds[k]), found=rows)
    return found
