"""What a run prints when it has ended: its table, and where everything is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape import records
from lightning_landscape.cli._ladder_rows import energy_rows, relaxation_rows
from lightning_landscape.cli._spectrum_rows import spectrum_rows
from lightning_landscape.cli.table import Row, markdown, row, spread

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["rows", "summarize"]

_EXACT = (
    "exact: theory for N = ∞ and continuous time. A deviation of many sigmas is the finite size or "
    "the finite\nstep of the run, seen beyond its error bar: raise N or lower lr, and it shrinks."
)


def rows(dataset: Dataset) -> Iterator[Row]:
    """Return the rows of a record: a few times, spread evenly over the logarithm of t."""
    known = {
        "EnergyRelaxation": _relaxation_rows,
        "AgingCorrelation": _aging_rows,
        "HessianSpectrum": spectrum_rows,
    }
    if np.ptp(dataset.attrs.get("temperature", 0)) > 0:
        known |= {"EnergyRelaxation": energy_rows, "AgingCorrelation": relaxation_rows}
    of_probe = known.get(dataset.attrs.get("probe", ""))
    return of_probe(dataset) if of_probe else iter(())


def _relaxation_rows(dataset: Dataset) -> Iterator[Row]:
    unit = "/N" if dataset.attrs.get("extensive") else ""
    later = dataset.sel(t=dataset["t"] > 0)
    for k in spread(later.sizes["t"], 7):
        at = later.isel(t=k)
        yield row(f"E(t = {float(at['t']):.4g}){unit}", at["energy"], at.get("energy_exact"))
    if "test_accuracy" in dataset:
        last = dataset.isel(t=-1)
        yield row(f"test accuracy(t = {float(last['t']):.4g})", last["test_accuracy"])


def _aging_rows(dataset: Dataset) -> Iterator[Row]:
    # the weights of a network have no fixed norm, so there the displacement says more
    name, symbol = ("C", "C") if "theory" in dataset.attrs else ("MSD", "Δ")
    for tw in dataset["tw"]:
        curve = dataset.sel(tw=tw).dropna("t", how="all", subset=[name])
        for k in spread(curve.sizes["t"], 4):
            at = curve.isel(t=k)
            times = f"tw = {float(tw):.4g}, t = {float(at['t']):.4g}"
            yield row(f"{symbol}({times})", at[name], at.get(f"{name}_exact"))


def summarize(run: Path) -> str:
    """Draw the figures of a run and return its table, with where everything is.

    Args:
        run: the folder of the run, with its records in ``probes/``.
    """
    from lightning_landscape.callbacks.figures import draw

    table: list[Row] = []
    notes: list[str] = []
    for path in sorted((run / "probes").glob("*.nc"), reverse=True):
        dataset = records.read(path)
        table += rows(dataset)
        if "theory_reference" in dataset.attrs:
            notes = [_EXACT, ""]
        if (figure := draw(dataset)) is not None:
            target = run / "figures" / f"{path.stem}.png"
            records.write_atomically(target, partial(figure.savefig, format="png", dpi=150))
    where = [
        f"records      {run / 'probes'}",
        f"figures      {run / 'figures'}",
        f"TensorBoard  tensorboard --logdir {run.parent}",
        f"compare      python -m lightning_landscape report {run}",
    ]
    return "\n".join([*([markdown(table), "", *notes] if table else []), *where])
