"""A scan over P/N: which networks jam, with what loss and N_Delta, and how well they predict."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.results.quantities.jamming import perturbation
from lightning_landscape.results.quantities.jamming.runs import is_random, mean_of_each, mean_row
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["JammingScan"]

_JUMP = 0.75  # N_Delta/N where jamming begins, on random data, Geiger 2019
_PREDICTIONS = {"test_error": "test error", "early_test_error": "early stopping"}


@register("JammingScan")
class JammingScan(Result):
    """Networks on both sides of the jamming transition, one for each run of the scan."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield, at each size and P, how many jam and with what, how well they predict, avalanches.

        The published jump stands at the first place where half of the networks jam.
        """
        jump = _JUMP if is_random(dataset) else math.nan
        beyond = False
        for place, at in _places(dataset):
            yield mean_row(f"jammed share ({place})", at["jammed"])
            jammed = at.isel(run=np.flatnonzero(at["jammed"]))
            if jammed.sizes["run"]:
                first = not beyond and bool(at["jammed"].mean() >= 0.5)
                beyond = beyond or first
                share = jammed["unsatisfied"] / jammed["N"]
                yield mean_row(f"N_Δ/N of the jammed ({place})", share, jump if first else math.nan)
            for name, words in _PREDICTIONS.items():
                if name in at:
                    yield mean_row(f"{words} ({place})", at[name])
            if "avalanche" in at and jammed.sizes["run"]:
                yield from perturbation.rows(place, jammed, jump)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return N_Delta and the loss against P/N, and what else was measured."""
        panels: list[Panel] = []
        if len(np.unique(dataset["P"] / dataset["N"])) > 1:
            panels += [_jump, _loss]
        if "test_error" in dataset:
            panels.append(_test_errors)
        if "avalanche" in dataset:
            panels += perturbation.panels(dataset)
        return panels or [_loss]


def _places(dataset: Dataset) -> Iterator[tuple[str, Dataset]]:
    """Yield the runs of each family, width and P, with a name, in the order of P/N."""
    columns = (dataset[name].to_numpy().tolist() for name in ("depth", "N", "P"))
    places = {(P / N, depth, N, P) for depth, N, P in zip(*columns, strict=True)}
    for ratio, depth, N, P in sorted(places):
        here = (dataset["depth"] == depth) & (dataset["N"] == N) & (dataset["P"] == P)
        name = f"depth {depth}, N = {N}, P/N = {ratio:.2f}"
        yield name, dataset.isel(run=np.flatnonzero(here))


def _jump(dataset: Dataset, axes: Axes) -> None:
    """N_Delta / N of every network and its mean against P/N."""
    _against_ratio(dataset, axes, dataset["unsatisfied"].to_numpy() / dataset["N"].to_numpy())
    axes.axhline(0.5, color="black", linewidth=1, linestyle=":")
    axes.set_ylabel(r"$N_\Delta / N$")


def _loss(dataset: Dataset, axes: Axes) -> None:
    """The loss of every network and its mean against P/N."""
    _against_ratio(dataset, axes, dataset["loss"].to_numpy())
    axes.set_ylabel("loss")


def _against_ratio(dataset: Dataset, axes: Axes, y: np.ndarray) -> None:
    ratio = (dataset["P"] / dataset["N"]).to_numpy()
    for depth in np.unique(dataset["depth"]):
        of = dataset["depth"].to_numpy() == depth
        dots = axes.plot(ratio[of], y[of], ".", alpha=0.4)
        x, mean, error = mean_of_each(ratio[of], y[of])
        color = dots[0].get_color()
        axes.errorbar(x, mean, error, marker="o", markersize=4, color=color, linewidth=1)
    axes.set_xlabel("P / N")


def _test_errors(dataset: Dataset, axes: Axes) -> None:
    """Test errors at the end and with early stopping against N; the transition is shaded."""
    N = dataset["N"].to_numpy().astype(float)
    for name, label in (("test_error", "at the end"), ("early_test_error", "early stopping")):
        x, mean, error = mean_of_each(N, dataset[name].to_numpy())
        axes.errorbar(x, mean, error, marker="o", markersize=4, linewidth=1, label=label)
    # where half of the networks jam, between two sizes
    sizes, share, _ = mean_of_each(N, dataset["jammed"].to_numpy())
    if (share > 0.5).any() and (share < 0.5).any():
        axes.axvspan(sizes[share > 0.5].max(), sizes[share < 0.5].min(), color="0.85", zorder=0)
    axes.set(xscale="log", xlabel="N (shaded: the transition)", ylabel="test error")
    axes.legend()
