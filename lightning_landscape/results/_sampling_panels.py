"""Panels of what samplers find: two starts and rates, and the local learning coefficient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.statistics import mean_and_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["learning_coefficient", "rates", "starts"]

_SIDES = {1: ("-", "from above"), -1: (":", "from below"), 0: ("-", "one start")}


def starts(dataset: Dataset, axes: Axes) -> None:
    """E(t), a colour a temperature, means over the chains from above and from below."""
    from matplotlib import colormaps

    T = dataset["temperature"].isel(t=-1).to_numpy()
    rungs = np.unique(T)
    colors = colormaps["plasma"](np.linspace(0, 0.85, len(rungs)))
    later = dataset.sel(t=dataset["t"] > 0)
    for rung, color in zip(rungs, colors, strict=True):
        for side, (style, name) in _SIDES.items():
            chosen = np.flatnonzero((T == rung) & (dataset["side"].to_numpy() == side))
            if len(chosen):
                mean = later["energy"].isel(replica=chosen).mean("replica")
                label = f"{name}, T = {rung:.2g}" if rung in rungs[[0, -1]] else None
                axes.plot(later["t"], mean, style, color=color, linewidth=1, label=label)
    positive = bool((later["energy"] > 0).all())
    axes.set(xlabel="t", ylabel=dataset.attrs["energy_unit"], yscale="log" if positive else None)
    axes.legend(frameon=False, fontsize="small")


def rates(dataset: Dataset, axes: Axes) -> None:
    """The acceptance and exchange rates against temperature."""
    T = dataset["temperature"].isel(t=-1)
    for name in ("acceptance_rate", "exchange_rate"):
        if name in dataset:
            rate = dataset[name].groupby(T.rename("T")).mean()
            axes.plot(rate["T"], rate, "o-", markersize=3, label=name.replace("_", " "))
    axes.set(xscale="log", xlabel="T", ylabel="rate", ylim=(0, 1))
    axes.legend(frameon=False)


def learning_coefficient(dataset: Dataset, axes: Axes) -> None:
    """The local learning coefficient of the coldest replicas against time, with N/2."""
    coldest = dataset["temperature"].isel(t=-1)
    dataset = dataset.isel(replica=np.flatnonzero(coldest == coldest.min()))
    mean, error = mean_and_error(dataset["learning_coefficient"])
    own = (dataset["error"] ** 2).sum("replica") ** 0.5 / dataset.sizes["replica"]
    axes.errorbar(dataset["t"], mean, np.fmax(error, own), fmt="o", markersize=3)
    axes.axhline(dataset.attrs["N"] / 2, color="gray", linewidth=0.5, label="N/2")
    axes.set(xlabel="t", ylabel=r"learning coefficient $\hat\lambda$", xscale="log")
    axes.set_yscale("log" if bool((mean > 0).all()) else "linear")
    axes.legend(frameon=False)
