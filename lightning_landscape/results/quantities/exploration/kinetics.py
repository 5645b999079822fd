"""The lowest path between the two lowest minima, and the times of first passage."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.errors import UsageError
from lightning_landscape.results.quantities.exploration.thermodynamics import temperatures
from lightning_landscape.results.registry import Panel
from lightning_landscape.results.table import Row
from lightning_landscape.theory.landscapes import (
    graph_transformation,
    lowest_path,
    merge_tree,
    rate_matrix,
)
from lightning_landscape.theory.landscapes.rates import Network

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["panels", "rows"]

_MOST = 200  # minima for which times of first passage are computed
_TEMPERATURES = 12
_POINTS = 30  # of the curve between two stationary points


class _Path(NamedTuple):
    minima: list[int]
    states: list[int]


def rows(dataset: Dataset) -> Iterator[Row]:
    """Yield the barrier of the path between the two lowest minima that are connected."""
    path = _path(dataset)
    if path is not None:
        energy, barrier = _energies(dataset)
        height = barrier[path.states].max() - energy[path.minima[0]]
        steps = len(path.states)
        note = f"{steps} transition state{'s' if steps > 1 else ''}, above the lowest minimum"
        yield Row("barrier between the two lowest minima", float(height), math.nan, note=note)


def panels(dataset: Dataset) -> list[Panel]:
    """Return the path and the times of first passage, where two minima are connected."""
    if _path(dataset) is None:
        return []
    spectrum = dataset["minimum_spectrum"].to_numpy()
    few = dataset.sizes["minimum"] <= _MOST and bool((spectrum > 0).all())
    return [_draw_path, _draw_times] if few else [_draw_path]


def _energies(dataset: Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return dataset["minimum_energy"].to_numpy(), dataset["transition_state_energy"].to_numpy()


def _path(dataset: Dataset) -> _Path | None:
    """Return the path from the lowest minimum to the next one that is connected with it."""
    energy, barrier = _energies(dataset)
    ends = dataset["transition_state_ends"].to_numpy()
    if not len(energy):
        return None
    lowest, *others = np.argsort(energy, kind="stable").tolist()
    for other in others:
        found = lowest_path(barrier, ends, lowest, other)
        if found is not None:
            return _Path(*found)
    return None


def _draw_path(dataset: Dataset, axes: Axes) -> None:
    """Energies of minima and transition states in turn, smoothly joined."""
    path = _path(dataset)
    assert path is not None
    energy, barrier = _energies(dataset)
    heights = np.empty(2 * len(path.states) + 1)
    heights[::2], heights[1::2] = energy[path.minima], barrier[path.states]
    s = np.linspace(0, 1, _POINTS)
    rise = (1 - np.cos(np.pi * s)) / 2  # no slope at stationary points
    for k, (a, b) in enumerate(pairwise(heights)):
        axes.plot(k + s, a + rise * (b - a), color="black", linewidth=0.8)
    steps = np.arange(len(heights))
    axes.plot(steps[::2], heights[::2], "o", label="minima")
    axes.plot(steps[1::2], heights[1::2], "^", label="transition states")
    if "minimum_test_energy" in dataset:
        test = dataset["minimum_test_energy"].to_numpy()[path.minima]
        axes.plot(steps[::2], test, "s", fillstyle="none", label="minima, test loss")
    axes.set(xlabel="stationary points between the two lowest minima", ylabel="energy", xticks=[])
    axes.legend()


def _draw_times(dataset: Dataset, axes: Axes) -> None:
    """Mean first passage times to the lowest minimum, and the law of the highest barrier."""
    energy, barrier = _energies(dataset)
    ends = dataset["transition_state_ends"].to_numpy()
    tree = merge_tree(energy, barrier, ends)
    lowest = int(energy.argmin())
    connected = [
        k for k in np.argsort(energy).tolist()
        if k != lowest and lowest_path(barrier, ends, k, lowest) is not None
    ]  # fmt: skip
    sources = dict.fromkeys((connected[0], connected[-1]))
    network = _network(dataset)
    T = temperatures(dataset)
    T = np.geomspace(2 * T[0], T[-1] / 3, _TEMPERATURES)
    for source in sources:
        times = [_time(network, float(t), source, lowest) for t in T]
        label = (
            f"from E = {energy[source]:.4g}, barrier {tree.barrier[source] - energy[source]:.3g}"
        )
        axes.semilogy(1 / T, times, ".-", label=label)
    axes.set(xlabel="1 / temperature", ylabel="first passage time to the lowest minimum")
    axes.legend()


def _time(network: Network, temperature: float, source: int, target: int) -> float:
    """Return a mean first passage time; nan where rates are too small for any number."""
    try:
        with np.errstate(all="ignore"):
            return graph_transformation(rate_matrix(network, temperature), source, [target])
    except UsageError:
        return math.nan


def _network(dataset: Dataset) -> Network:
    def log_product(kind: str) -> NDArray[np.float64]:
        spectrum = dataset[f"{kind}_spectrum"].to_numpy()
        return np.log(np.where(spectrum > 0, spectrum, 1.0)).sum(1)

    def values(kind: str) -> list[NDArray[np.float64]]:
        order = dataset[f"{kind}_order"].to_numpy()
        return [dataset[f"{kind}_energy"].to_numpy(), log_product(kind), order]

    ends = dataset["transition_state_ends"].to_numpy()
    return Network(*values("minimum"), *values("transition_state"), ends)  # type: ignore[call-arg]
