"""Rows of what samplers find: how far two starts are apart, and the learning coefficient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.equilibration import gelman_rubin, two_starts
from lightning_landscape.observables.statistics import rungs
from lightning_landscape.results.table import Row, estimate, spread

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["equilibration_rows", "learning_rows"]


def equilibration_rows(dataset: Dataset) -> Iterator[Row]:
    """Return E_above - E_below, which equilibrium wants to be 0, R-hat and the rates of each T."""
    T = dataset["temperature"].to_numpy()
    arrived = np.flatnonzero((T == T[-1]).all(1))  # the times at the last temperatures
    window = arrived[len(arrived) // 2 :]
    energy, side = dataset["energy"].to_numpy()[window], dataset["side"].to_numpy()
    for rung, replicas in rungs(T[-1]):
        here = np.isin(np.arange(T.shape[1]), replicas)
        # the highest rung starts at its own temperature, which is hot enough
        above, below = (energy[:, here & from_below].T for from_below in (side >= 0, side < 0))
        if min(len(above), len(below)) >= 2 and len(window):
            difference, error = two_starts(above, below)
            yield Row(f"E(from above) - E(from below), T = {rung:.3g}", difference, error, 0.0)
        if len(window) >= 4:
            rhat = gelman_rubin(energy[:, here].T)
            yield Row(f"R-hat of E, T = {rung:.3g}", rhat, np.nan)
        for name in ("acceptance_rate", "exchange_rate"):
            if name in dataset and dataset[name][here].notnull().any():
                rate = dataset[name].to_numpy()[here]
                error = rate.std(ddof=1) / len(rate) ** 0.5 if len(rate) > 1 else np.nan
                yield Row(f"{name.replace('_', ' ')}, T = {rung:.3g}", rate.mean(), error)


def learning_rows(dataset: Dataset) -> Iterator[Row]:
    """Return the learning coefficient at a few times, and twice it, the dimension.

    On a ladder it is that of the coldest replicas, which are the nearest to a minimum.
    """
    for k in spread(dataset.sizes["t"], 5):
        at = dataset.isel(t=k)
        T, coldest = rungs(at["temperature"])[0]
        at = at.isel(replica=coldest)
        where = f"t = {float(at['t']):.4g}" + (f", from T = {T:.3g}" if T > 0 else "")
        value, error = at["learning_coefficient"], at["error"]
        yield estimate(f"learning coefficient λ({where})", value, error)
        hot = dataset.attrs["chain_temperature"]
        yield estimate(f"N = 2λ({where}; T = {hot:.3g})", 2 * value, 2 * error)
