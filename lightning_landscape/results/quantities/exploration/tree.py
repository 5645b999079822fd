"""The disconnectivity graph, coloured by the loss on held-out data where it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.results.registry import Panel
from lightning_landscape.theory.landscapes import MergeTree, merge_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["leaf_order", "panels"]

_SHOWN = 300  # minima in the tree
_COLOURS = "minimum_test_energy"


def panels(dataset: Dataset) -> list[Panel]:
    """Return the graph, where two minima are connected."""
    connected = (dataset["transition_state_ends"].min("end") >= 0).any()
    return [_draw] if connected else []


def _draw(dataset: Dataset, axes: Axes) -> None:
    """Energies at which basins merge; branches end at the energies of their minima."""
    energy = dataset["minimum_energy"].to_numpy()
    ends = dataset["transition_state_ends"].to_numpy()
    tree = merge_tree(energy, dataset["transition_state_energy"].to_numpy(), ends)
    shown = np.argsort(energy, kind="stable")[:_SHOWN]
    place = _places(tree, set(shown.tolist()))
    colours = _colours(dataset, tree, place, axes)
    top = tree.height.max()
    margin = 0.05 * (top - energy.min())
    for node, x in place.items():
        up, look = int(tree.parent[node]), {"color": colours[node], "linewidth": 1.0}
        y = [tree.height[node], tree.height[up] if up >= 0 else top + margin]
        axes.plot([x, x], y, **look)
        if up >= 0:
            axes.plot([x, place[up]], [y[1], y[1]], **look)
    cut = "" if len(shown) == len(energy) else f", the lowest {_SHOWN} of {len(energy)} minima"
    axes.set(xticks=[], ylabel="energy", xlabel=f"disconnectivity graph{cut}")


def _colours(dataset: Dataset, tree: MergeTree, place: dict[int, float], axes: Axes) -> Any:
    """Return the colour of each node: of a minimum by its value, of a merger by the mean below."""
    if _COLOURS not in dataset:
        return dict.fromkeys(place, "black")
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.ticker import MaxNLocator

    means = _means(tree, dataset[_COLOURS].to_numpy())
    norm = Normalize(*np.quantile(dataset[_COLOURS], [0, 1]))
    scale = ScalarMappable(norm, colormaps["plasma"])
    bar = axes.figure.colorbar(scale, ax=axes, fraction=0.05, pad=0.02, ticks=MaxNLocator(4))
    bar.ax.set_title("test loss", fontsize="small")
    bar.ax.tick_params(labelsize="small")
    return {node: scale.to_rgba(means[node]) for node in place}


def _means(tree: MergeTree, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the values of the minima below each node; a minimum is below itself."""
    n = len(values)
    sums, counts = np.zeros(len(tree.height)), np.zeros(len(tree.height))
    sums[:n], counts[:n] = values, 1
    for node, up in enumerate(tree.parent.tolist()):  # children come before their parents
        if up >= 0:
            sums[up] += sums[node]
            counts[up] += counts[node]
    return sums / counts


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
