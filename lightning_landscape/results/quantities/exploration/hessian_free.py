"""What a stationary point costs, method by method, with and without Hessians."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row
from lightning_landscape.theory.landscapes import index_fraction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["HessianFree", "index_deviation"]

_STATIONARY, _QUASI = 1, 2


@register("HessianFree")
class HessianFree(Result):
    """What searches by several methods have found and cost; see `studies.hessian_free`."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield what each method has found of its starts, and the cost of a stationary point."""
        nan = math.nan
        for system, name in enumerate(_names(dataset, "systems")):
            p, N = (int(np.ravel(dataset.attrs[key])[system]) for key in ("orders", "sizes"))
            for method, searches in _methods(dataset, system).items():
                kind, label = searches["kind"].to_numpy(), f"{name}, {method}: "
                good = kind == _STATIONARY
                of = f"of {len(kind)} starts"
                yield Row(f"{label}stationary points", int(good.sum()), nan, note=of)
                yield Row(f"{label}quasi-saddles", int((kind == _QUASI).sum()), nan, note=of)
                yield from _costs(label, searches, good)
                if p and good.any():
                    found = searches.isel(run=good)
                    e = found["energy"].to_numpy() / N
                    yield index_deviation(label, p, e, found["index"].to_numpy())

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return the cost in gradients and in seconds."""
        return [_cost]


def index_deviation(of: str, p: int, energy: NDArray, index: NDArray) -> Row:
    """Return the rms of index/N against the law, of stationary points with energies per spin."""
    rms = float(np.sqrt(np.mean((index - index_fraction(p, energy)) ** 2)))
    return Row(f"{of}rms of index/N − law", rms, math.nan, note=f"{len(energy)} points")


def _names(dataset: Dataset, key: str) -> list[str]:
    """Return an attribute that is a list; a file may have stored one of length 1 as a string."""
    return [str(name) for name in np.ravel(dataset.attrs[key])]


def _methods(dataset: Dataset, system: int) -> dict[str, Dataset]:
    of = (dataset["system"] == system).to_numpy()
    number = dataset["method"].to_numpy()
    return {
        name: dataset.isel(run=of & (number == k))
        for k, name in enumerate(_names(dataset, "methods"))
        if (of & (number == k)).any()
    }


def _costs(label: str, searches: Dataset, good: NDArray) -> Iterator[Row]:
    for name, word in {"gradients": "gradients", "hessians": "Hessians", "seconds": "s"}.items():
        cost = searches[name].to_numpy()
        if good.any() and cost.any():
            error = _error_of_ratio(cost, good) if name != "seconds" else math.nan
            quantity = f"{label}{word} a stationary point"
            yield Row(quantity, cost.sum() / good.sum(), error, note="all starts charged")


def _error_of_ratio(cost: NDArray, good: NDArray) -> float:
    """Return the standard error of sum(cost) / sum(good) over independent searches."""
    scatter = cost - cost.sum() / good.sum() * good
    n = len(cost)
    return float(np.sqrt(n / max(n - 1, 1) * (scatter**2).sum()) / good.sum())


def _cost(dataset: Dataset, axes: Axes) -> None:
    """What a stationary point costs in gradients, a Hessian counted as N, and in seconds."""
    sizes = np.ravel(dataset.attrs["sizes"])
    markers = dict(zip(_names(dataset, "methods"), "o^sD", strict=True))
    for system, name in enumerate(_names(dataset, "systems")):
        for method, searches in _methods(dataset, system).items():
            found = int((searches["kind"] == _STATIONARY).sum())
            if not found:
                continue
            work = float((searches["gradients"] + int(sizes[system]) * searches["hessians"]).sum())
            seconds = float(searches["seconds"].sum())
            style: dict[str, Any] = {"color": f"C{system}", "marker": markers[method]}
            axes.plot(work / found, seconds / found, label=f"{name}, {method}", ls="none", **style)
    axes.set(xscale="log", yscale="log", xlabel="gradients a stationary point, a Hessian as N")
    axes.set_ylabel("seconds a stationary point")
    axes.margins(0.15, 0.1)
    axes.legend(frameon=False, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.14))
