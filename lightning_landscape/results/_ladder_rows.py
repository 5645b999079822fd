"""Rows of records whose replicas are at several temperatures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lightning_landscape.errors import UsageError
from lightning_landscape.observables.relaxation import relaxation_time, susceptibility
from lightning_landscape.observables.scaling import aging_onset, collapse
from lightning_landscape.observables.statistics import by_temperature
from lightning_landscape.results.table import Row, row

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["energy_rows", "relaxation_rows"]


def energy_rows(dataset: Dataset) -> Iterator[Row]:
    """Yield the last energy of each temperature."""
    unit = "/N" if dataset.attrs.get("extensive") else ""
    for T, some in by_temperature(dataset.isel(t=-1)):
        exact = some["energy_exact"].isel(replica=0) if "energy_exact" in some else None
        yield row(f"E(T = {T:g}, t = {float(some['t']):.4g}){unit}", some["energy"], exact)


def relaxation_rows(dataset: Dataset) -> Iterator[Row]:
    """Yield what tells where the system slows down and where it begins to age.

    At the first tw, the relaxation time and the peak of chi_4 of each temperature; with several
    tw, the exponent of their collapse, and between which temperatures it leaves 0.
    """
    for T, some in by_temperature(dataset.isel(tw=0)):
        tau, error = relaxation_time(some["t"], some["C"])
        exact = float("nan")
        if "C_exact" in some:
            exact = relaxation_time(some["t"], some["C_exact"].isel(replica=[0]))[0]
        if tau == tau:  # reached
            yield Row(f"τ(T = {T:g})", tau, error, exact)
        if some.sizes["replica"] > 2:
            chi, errors = susceptibility(some["C"], dataset.attrs["N"])
            k = int(chi.argmax())
            note = f"t = {float(some['t'][k]):.3g}"
            yield Row(f"largest χ₄(T = {T:g})", chi[k], errors[k], note=note)
    aged = dataset.sel(tw=dataset["tw"] > 0)
    if aged.sizes["tw"] > 1:
        yield from _onset_rows(aged)


def _onset_rows(dataset: Dataset) -> Iterator[Row]:
    groups = by_temperature(dataset)
    try:
        found = [collapse(some["tw"], some["t"], some["MSD"]) for _, some in groups]
    except UsageError:  # not yet two waiting times with enough points
        return
    for (T, _), at in zip(groups, found, strict=True):
        note = f"quality {at.quality:.2g}"
        yield Row(f"μ(T = {T:g}) of Δ(t / tw^μ)", at.exponent, at.error, note=note)
    onset = aging_onset([T for T, _ in groups], found)
    if onset is not None:
        low, high = onset
        note = f"{low:g} … {high:g}"
        yield Row("T at which aging sets in", (low + high) / 2, (high - low) / 2, note=note)
