"""Whether samplers have equilibrated: chains from above and below, R-hat, and their rates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.equilibration import gelman_rubin, two_starts
from lightning_landscape.observables.statistics import rungs
from lightning_landscape.results.axes import shades
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["Equilibration"]

_SIDES = {1: ("-", "from above"), -1: (":", "from below"), 0: ("-", "one start")}
_RATES = ("acceptance_rate", "exchange_rate")


@register("Equilibration")
class Equilibration(Result):
    """E of chains that started hot and cold, which is the same in equilibrium."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield E_above - E_below, R-hat and the rates at each temperature."""
        T = dataset["temperature"].to_numpy()
        arrived = np.flatnonzero((T == T[-1]).all(1))  # the times at the last temperatures
        window = arrived[len(arrived) // 2 :]
        energy, side = dataset["energy"].to_numpy()[window], dataset["side"].to_numpy()
        for rung, replicas in rungs(T[-1]):
            here = np.isin(np.arange(T.shape[1]), replicas)
            # the highest rung starts at its own temperature, which is hot enough
            above, below = (energy[:, here & which].T for which in (side >= 0, side < 0))
            if min(len(above), len(below)) >= 2 and len(window):
                difference, error = two_starts(above, below)
                yield Row(f"E(from above) - E(from below), T = {rung:.3g}", difference, error, 0.0)
            if len(window) >= 4:
                yield Row(f"R-hat of E, T = {rung:.3g}", gelman_rubin(energy[:, here].T), np.nan)
            yield from _rate_rows(dataset.isel(replica=replicas), rung)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return E(t) of both starts, and the rates if the sampler has some."""
        return [_starts, *([_rates] if any(name in dataset for name in _RATES) else [])]


def _rate_rows(dataset: Dataset, T: float) -> Iterator[Row]:
    for name in _RATES:
        if name in dataset and dataset[name].notnull().any():
            rate = dataset[name].to_numpy()
            error = rate.std(ddof=1) / len(rate) ** 0.5 if len(rate) > 1 else np.nan
            yield Row(f"{name.replace('_', ' ')}, T = {T:.3g}", rate.mean(), error)


def _starts(dataset: Dataset, axes: Axes) -> None:
    """E(t), a colour for each temperature, means over the chains from above and from below."""
    later, side = dataset.sel(t=dataset["t"] > 0), dataset["side"].to_numpy()
    groups = rungs(dataset["temperature"].isel(t=-1))
    for (T, replicas), color in zip(groups, shades(len(groups), "plasma"), strict=True):
        named = T in (groups[0][0], groups[-1][0])
        for start, (style, name) in _SIDES.items():
            chosen = replicas[side[replicas] == start]
            if len(chosen):
                mean = later["energy"].isel(replica=chosen).mean("replica")
                label = f"{name}, T = {T:.2g}" if named else None
                axes.plot(later["t"], mean, style, color=color, linewidth=1, label=label)
    axes.set(xlabel="t", ylabel=dataset.attrs["energy_unit"])
    axes.set_yscale("log" if (later["energy"] > 0).all() else "linear")
    axes.legend()


def _rates(dataset: Dataset, axes: Axes) -> None:
    """The acceptance and exchange rates against temperature."""
    T = dataset["temperature"].isel(t=-1)
    for name in _RATES:
        if name in dataset:
            rate = dataset[name].groupby(T.rename("T")).mean()
            axes.plot(rate["T"], rate, "o-", label=name.replace("_", " "))
    axes.set(xscale="log", xlabel="T", ylabel="rate", ylim=(0, 1))
    axes.legend()
