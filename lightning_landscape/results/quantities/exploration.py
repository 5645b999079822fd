"""Minima and transition states of a landscape: how many, how surely, and their tree."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.results.quantities import saddles
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row
from lightning_landscape.theory.landscapes import MergeTree, mean_by_index, merge_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["Exploration", "leaf_order"]

_LARGEST = 64  # up to which N the exact mean numbers are computed
_SHOWN = 300  # minima in the tree


@register("Exploration")
class Exploration(Result):
    """What an exploration has found; see `exploration.Database` for its record."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield the numbers of points, the coverage and the cost."""
        attributes, seen = dataset.attrs, dataset["minimum_seen"].to_numpy()
        nan = math.nan
        for name, dim, exact in (
            ("minima", "minimum", "mean_minima"),
            ("transition states", "transition_state", "mean_transition_states"),
        ):
            mean = float(attributes.get(exact, nan))
            source = "" if math.isnan(mean) else "mean over samples"
            yield Row(name, dataset.sizes[dim], nan, mean, source)
        yield from saddles.rows(dataset)
        quenches = int(seen.sum())
        if quenches:
            once = int((seen == 1).sum())
            yield Row("minima seen once", once, nan, note=f"in {quenches} quenches")
            yield Row("Good-Turing coverage", 1 - once / quenches, nan)
        if dataset.sizes["minimum"]:
            yield Row("lowest energy", float(dataset["minimum_energy"].min()), nan)
        for name in ("gradients", "hessians", "seconds"):
            yield Row(name, float(attributes[name]), nan)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return the disconnectivity graph where minima are connected, and the index of saddles."""
        tree = [_tree] if (dataset["transition_state_ends"].min("end") >= 0).any() else []
        return [*tree, *saddles.panels(dataset)]

    def exact(self, dataset: Dataset) -> Dataset:
        """Add the mean numbers over samples of the pure spherical p-spin glass."""
        attributes = dataset.attrs
        if attributes.get("theory") != "pspin" or attributes["N"] > _LARGEST:
            return dataset
        mixture = json.loads(attributes["mixture"])
        if len(mixture) != 1 or not dataset.sizes["minimum"]:
            return dataset
        mean, _ = mean_by_index(int(next(iter(mixture))), int(attributes["N"]), samples=20_000)
        return dataset.assign_attrs(mean_minima=mean[0], mean_transition_states=mean[1])


def _tree(dataset: Dataset, axes: Axes) -> None:
    """The disconnectivity graph: energies at which basins merge."""
    energy = dataset["minimum_energy"].to_numpy()
    ends = dataset["transition_state_ends"].to_numpy()
    tree = merge_tree(energy, dataset["transition_state_energy"].to_numpy(), ends)
    shown = np.argsort(energy, kind="stable")[:_SHOWN]
    place = _places(tree, set(shown.tolist()))
    top = tree.height.max()
    margin = 0.05 * (top - energy.min())
    for node, x in place.items():
        up = int(tree.parent[node])
        y = [tree.height[node], tree.height[up] if up >= 0 else top + margin]
        axes.plot([x, x], y, color="black", linewidth=0.8)
        if up >= 0:
            axes.plot([x, place[up]], [y[1], y[1]], color="black", linewidth=0.8)
    cut = "" if len(shown) == len(energy) else f", the lowest {_SHOWN} of {len(energy)} minima"
    axes.set(xticks=[], ylabel="energy", xlabel=f"disconnectivity graph{cut}")


def _places(tree: MergeTree, shown: set[int]) -> dict[int, float]:
    """Return where nodes stand: leaves side by side, mergers in the middle of what they join."""
    order = [leaf for leaf in leaf_order(tree) if leaf in shown]
    place: dict[int, float] = {leaf: float(k) for k, leaf in enumerate(order)}
    below: dict[int, list[int]] = {}
    for node, up in enumerate(tree.parent.tolist()):
        below.setdefault(up, []).append(node)
    for node in range(len(tree.barrier), len(tree.height)):
        parts = [place[child] for child in below[node] if child in place]
        if parts:
            place[node] = sum(parts) / len(parts)
    return place


def leaf_order(tree: MergeTree) -> list[int]:
    """Return the minima from left to right: the lowest of each part of the tree in its middle."""
    n = len(tree.barrier)
    orders: dict[int, list[int]] = {leaf: [leaf] for leaf in range(n)}
    lowest = {leaf: (float(tree.height[leaf]), leaf) for leaf in range(n)}
    right = dict.fromkeys(range(n), True)
    children: dict[int, list[int]] = {}
    for node, up in enumerate(tree.parent.tolist()):
        children.setdefault(up, []).append(node)
    for node in range(n, len(tree.height)):
        low, high = sorted(children[node], key=lowest.__getitem__)
        parts = [orders.pop(low), orders.pop(high)]
        orders[node] = [*parts[0], *parts[1]] if right[low] else [*parts[1], *parts[0]]
        lowest[node], right[node] = lowest[low], not right[low]
    return [leaf for part in orders.values() for leaf in part]
