"""The rows of relaxation and aging: values at a few times, the law of decay, the collapse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.errors import UsageError
from lightning_landscape.observables.relaxation import decay, plateau
from lightning_landscape.observables.scaling import collapse
from lightning_landscape.results.table import Row, row, spread

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

__all__ = ["aging_rows", "relaxation_rows"]

_DECADES = 1.5  # at the end of a run, in which its law of decay is looked for


def relaxation_rows(dataset: Dataset) -> Iterator[Row]:
    """Yield the energy at a few times, spread evenly over log t, and the law of its decay."""
    unit = "/N" if dataset.attrs.get("extensive") else ""
    later = dataset.sel(t=dataset["t"] > 0)
    for k in spread(later.sizes["t"], 7):
        at = later.isel(t=k)
        yield row(f"E(t = {float(at['t']):.4g}){unit}", at["energy"], at.get("energy_exact"))
    yield from _decay_rows(later)
    if "test_accuracy" in dataset:
        last = dataset.isel(t=-1)
        yield row(f"test accuracy(t = {float(last['t']):.4g})", last["test_accuracy"])


def _decay_rows(dataset: Dataset) -> Iterator[Row]:
    last = float(dataset["t"][-1]) if dataset.sizes["t"] else 0.0
    window = (last / 10**_DECADES, last)
    try:
        law = decay(dataset["t"], dataset["energy"], window)
    except UsageError:  # too few points
        return
    if not law.slope > 4 * law.slope_error:  # nothing decays, or one replica cannot tell
        return
    at = f"t = {window[0]:.3g} … {window[1]:.3g}"
    exact = None
    if "energy_exact" in dataset:
        exact = decay(dataset["t"], dataset["energy_exact"].expand_dims("replica", -1), window)
    for name, error, how, quality in (
        ("exponent", "exponent_error", "α of E∞ + A t^-α", law.power),
        ("slope", "slope_error", "b of a - b ln t", law.logarithmic),
    ):
        known = np.nan if exact is None else getattr(exact, name)
        note = f"{at}, χ²/dof = {quality:.2g}"
        yield Row(how, getattr(law, name), getattr(law, error), known, note=note)


def aging_rows(dataset: Dataset) -> Iterator[Row]:
    """Yield two-time values at a few times for each tw, and the exponent of the collapse."""
    # the weights of a network have no fixed norm, so there the displacement says more
    name, symbol = ("C", "C") if "theory" in dataset.attrs else ("MSD", "Δ")
    for tw in dataset["tw"]:
        curve = dataset.sel(tw=tw).dropna("t", how="all", subset=[name])
        for k in spread(curve.sizes["t"], 4):
            at = curve.isel(t=k)
            times = f"tw = {float(tw):.4g}, t = {float(at['t']):.4g}"
            yield row(f"{symbol}({times})", at[name], at.get(f"{name}_exact"))
    yield from _plateau_rows(dataset)
    yield from _collapse_rows(dataset)


def _plateau_rows(dataset: Dataset) -> Iterator[Row]:
    """Yield where the displacement stops to grow, for the longest tw that has such a place."""
    if "MSD" not in dataset:
        return
    found = [(tw, plateau(dataset["t"], dataset["MSD"].sel(tw=tw))) for tw in dataset["tw"]]
    flat = [(tw, at) for tw, at in found if at is not None]
    if flat:
        tw, at = flat[-1]
        note = f"tw = {float(tw):.4g}, t = {at.begin:.3g} … {at.end:.3g}"
        exact = None
        if "MSD_exact" in dataset:
            exact = plateau(
                dataset["t"], dataset["MSD_exact"].sel(tw=tw).expand_dims("replica", -1)
            )
        known = np.nan if exact is None else exact.value
        yield Row("plateau of Δ", at.value, at.error, known, note=note)


def _collapse_rows(dataset: Dataset) -> Iterator[Row]:
    if "MSD" not in dataset:
        return
    aged = dataset.sel(tw=dataset["tw"] > 0)
    try:
        found = collapse(aged["tw"], aged["t"], aged["MSD"])
    except UsageError:  # one waiting time
        return
    exact = np.nan
    if "MSD_exact" in aged:
        exact = _exponent(aged["MSD_exact"].where(aged["MSD"].notnull().all("replica")), aged)
    note = f"quality {found.quality:.2g}"
    yield Row("μ of Δ(t / tw^μ)", found.exponent, found.error, exact, note=note)


def _exponent(MSD: DataArray, dataset: Dataset) -> float:
    return collapse(dataset["tw"], dataset["t"], MSD.expand_dims("replica", -1)).exponent
