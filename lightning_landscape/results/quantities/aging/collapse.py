"""The collapse of Delta(tw, tw + t) on t / tw^mu: its exponent, and the collapsed curves."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.errors import UsageError, require
from lightning_landscape.observables import scaling
from lightning_landscape.observables.scaling import Collapse
from lightning_landscape.results.axes import points
from lightning_landscape.results.quantities.aging.panels import DELTA, waiting_times
from lightning_landscape.results.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray
    from xarray import Dataset

    Array = NDArray[np.float64]

__all__ = ["WORST", "collapse", "collapse_row", "fit", "fitted_row"]

WORST = 4.0  # quality above which no exponent makes the curves fall together


def collapse_row(dataset: Dataset) -> Iterator[Row]:
    """Yield the exponent, measured and exact; nothing where one waiting time is all there is."""
    try:
        found = fit(dataset)
    except UsageError:  # one waiting time
        return
    exact = np.nan
    if "MSD_exact" in dataset:
        # with the scatter of the replicas, so that both are fitted with the same weights
        scatter = dataset["MSD"] - dataset["MSD"].mean("replica", skipna=False)
        exact = scaling.collapse_exponent(
            *_aged(dataset[[]].assign(MSD=dataset["MSD_exact"] + scatter))
        )
    yield fitted_row("μ of Δ(t / tw^μ)", found, exact)


def fitted_row(name: str, found: Collapse, exact: float = np.nan) -> Row:
    """Return the row of a collapse; the law does not hold where the curves stay apart."""
    note, holds = f"quality {found.quality:.2g}", found.quality < WORST
    return Row(name, found.exponent, found.error, exact, note=note, holds=holds)


def fit(dataset: Dataset) -> Collapse:
    """Return the collapse of Delta, which is fitted once for the rows and panels of a record."""
    tw, t, MSD = _aged(dataset)
    return _fit_once(tw.tobytes(), t.tobytes(), MSD.tobytes())


def _aged(dataset: Dataset) -> tuple[Array, Array, Array]:
    """Return the waiting times above 0, the times, and Delta of both and the replicas."""
    aged = dataset.sel(tw=dataset["tw"] > 0)
    tw, t = aged["tw"].to_numpy(), aged["t"].to_numpy()
    MSD = aged["MSD"].transpose("tw", "t", "replica").to_numpy()
    require(MSD.size > 0, "waiting_times", list(tw), "needs at least two above 0")
    return tw, t, MSD


@lru_cache(maxsize=64)
def _fit_once(tw: bytes, t: bytes, MSD: bytes) -> Collapse:
    waiting_times, times = np.frombuffer(tw), np.frombuffer(t)
    values = np.frombuffer(MSD).reshape(len(waiting_times), len(times), -1)
    return scaling.collapse(waiting_times, times, values)


def collapse(dataset: Dataset, axes: Axes) -> None:
    """The displacement against t / tw^mu, with the mu at which its curves fall together best."""
    aged = dataset.sel(tw=dataset["tw"] > 0).dropna("tw", how="all", subset=["MSD"])
    try:
        found = fit(dataset)
    except UsageError as refusal:
        axes.set_title(str(refusal), fontsize="x-small", wrap=True)
        return
    for curve, color in waiting_times(aged.assign(MSD=aged["MSD"].where(aged["MSD"] > 0))):
        tw = float(curve["tw"])
        x = curve["t"] / tw**found.exponent
        points(axes, x, curve["MSD"], color=color, label=f"{tw:g}")
    axes.set(xscale="log", yscale="log", ylabel=DELTA)
    axes.set(xlabel=rf"$t / t_w^\mu$, μ = {found.exponent:.3g} ± {found.error:.1g}")
    axes.legend(title="$t_w$")
