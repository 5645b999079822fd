"""Minima and transition states of a landscape: how many, how surely, and their tree."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from lightning_landscape.results.quantities.exploration import coverage, kinetics, saddles, tree
from lightning_landscape.results.quantities.exploration import thermodynamics as heat
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row
from lightning_landscape.theory.landscapes import mean_by_index, published

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["Exploration"]

_LARGEST = 64  # up to which N the exact mean numbers are computed


@register("Exploration")
class Exploration(Result):
    """What an exploration has found; see `exploration.Database` for its record."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield numbers of points, coverage and cost; of which landscape, if there are several."""
        of = dataset.attrs.get("of")
        for row in self._rows(dataset):
            yield row if of is None else replace(row, quantity=f"{row.quantity}, {of}")

    def _rows(self, dataset: Dataset) -> Iterator[Row]:
        attributes, seen = dataset.attrs, dataset["minimum_seen"].to_numpy()
        nan = math.nan
        known = published(str(attributes.get("energy")), int(attributes["N"]))
        for name, dim in (("minima", "minimum"), ("transition states", "transition_state")):
            value, source = float(attributes.get(f"mean_{dim}", nan)), "mean over samples"
            if known is not None:
                value, source = getattr(known, name.replace(" ", "_")), known.source
            yield Row(name, dataset.sizes[dim], nan, value, "" if math.isnan(value) else source)
        yield from saddles.rows(dataset)
        quenches = int(seen.sum())
        if quenches:
            once = int((seen == 1).sum())
            yield Row("minima seen once", once, nan, note=f"in {quenches} quenches")
            yield Row("Good-Turing coverage", 1 - once / quenches, nan)
        if dataset.sizes["minimum"]:
            lowest, source = (known.lowest, known.source_of_lowest) if known else (nan, "")
            yield Row("lowest energy", dataset["minimum_energy"].min().item(), nan, lowest, source)
        yield from heat.rows(dataset)
        yield from kinetics.rows(dataset)
        for name in ("gradients", "hessians", "seconds"):
            yield Row(name, float(attributes[name]), nan)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return those of which the record has enough points: see the modules of this folder."""
        parts = (tree, heat, kinetics, coverage, saddles)
        return [panel for part in parts for panel in part.panels(dataset)]

    def exact(self, dataset: Dataset) -> Dataset:
        """Add the mean numbers over samples of the pure spherical p-spin glass."""
        attributes = dataset.attrs
        if attributes.get("theory") != "pspin" or attributes["N"] > _LARGEST:
            return dataset
        mixture = json.loads(attributes["mixture"])
        if len(mixture) != 1 or not dataset.sizes["minimum"]:
            return dataset
        mean, _ = mean_by_index(int(next(iter(mixture))), int(attributes["N"]), samples=20_000)
        return dataset.assign_attrs(mean_minimum=mean[0], mean_transition_state=mean[1])
