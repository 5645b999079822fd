"""The stationary points of several landscapes beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_landscape.results.registry import Panel, Result, register

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["Landscapes", "side_by_side"]

_KINDS = {"minimum": ("C0", "minima"), "transition_state": ("C1", "transition states")}


def side_by_side(explorations: Sequence[Dataset]) -> Dataset:
    """Return the energies of all stationary points of several explorations in one record.

    Dims ``landscape``, ``minimum`` and ``transition_state``; ``minimum_landscape`` and
    ``transition_state_landscape`` say to which landscape each point belongs.
    """
    from xarray import Dataset

    tables = {}
    for kind in _KINDS:
        energies = [each[f"{kind}_energy"].to_numpy() for each in explorations]
        numbers = np.repeat(np.arange(len(energies)), [len(E) for E in energies])
        tables[f"{kind}_energy"] = (kind, np.concatenate(energies))
        tables[f"{kind}_landscape"] = (kind, numbers)
    first = explorations[0].attrs
    names = {"landscape": [str(each.attrs["of"]) for each in explorations]}
    energy = str(first["energy"]).partition(",")[0]
    known = {"probe": "Landscapes", "energy": energy, "config": first["config"]}
    return Dataset(tables, names, known)


@register("Landscapes")
class Landscapes(Result):
    """Several landscapes that were explored by one command; each has a record of its own too."""

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return the energies of all stationary points, landscape by landscape."""
        return [_draw]


def _draw(dataset: Dataset, axes: Axes) -> None:
    """A row for each landscape: minima above, transition states below."""
    for side, (kind, (colour, label)) in enumerate(_KINDS.items()):
        energy = dataset[f"{kind}_energy"].to_numpy()
        start = dataset[f"{kind}_landscape"].to_numpy() - 0.4 + 0.4 * side
        axes.vlines(energy, start, start + 0.36, color=colour, linewidth=1.2, label=label)
    names = [str(name) for name in dataset["landscape"].to_numpy()]
    beside: dict[str, Any] = {
        "transform": axes.get_yaxis_transform(),
        "ha": "right",
        "va": "center",
    }
    for place, name in enumerate(names):
        axes.text(-0.03, place, name.replace(", ", "\n"), fontsize="x-small", **beside)
    axes.set_yticks(range(len(names)), [""] * len(names))
    axes.invert_yaxis()
    axes.set(xlabel="energy")
    axes.grid(axis="y", visible=False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
