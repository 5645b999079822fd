"""Tables of results: measured with its error bar | exact or published | deviation in sigmas."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape import records
from lightning_landscape.observables.statistics import mean_and_error

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

__all__ = ["Row", "markdown", "rows", "summarize", "with_error"]

_EXACT = (
    "exact: theory for N = ∞ and continuous time. A deviation of many sigmas is the finite size or "
    "the finite\nstep of the run, seen beyond its error bar: raise N or lower lr, and it shrinks."
)


@dataclass(frozen=True)
class Row:
    """One number: what it is, measured, its standard error, and exact (nan where unknown)."""

    quantity: str
    measured: float
    error: float
    exact: float = math.nan

    @property
    def deviation(self) -> float:
        """(measured - exact) / error."""
        return (self.measured - self.exact) / self.error if self.error > 0 else math.nan

    def cells(self) -> list[str]:
        """Return the four cells of a table."""
        exact = "" if math.isnan(self.exact) else f"{self.exact:.5f}"
        deviation = "" if math.isnan(self.deviation) else f"{self.deviation:+.1f}"
        return [self.quantity, with_error(self.measured, self.error), exact, deviation]


def with_error(value: float, error: float) -> str:
    """Return ``value`` with its standard error on the last digits.

    >>> with_error(-0.77812, 0.0093)
    '-0.778(9)'
    >>> with_error(12.34, 0.17)
    '12.34(17)'
    """
    if not error > 0:
        return f"{value:.5g}"
    # two digits while the leading one is 1, so that rounding never costs half of the error
    exponent = math.floor(math.log10(error))
    digits = max(0, -exponent + (1 if error / 10**exponent < 1.95 else 0))
    return f"{value:.{digits}f}({round(error * 10**digits)})"


def rows(dataset: Dataset) -> Iterator[Row]:
    """Yield the rows of a record: a few times, spread evenly over the logarithm of t."""
    probe = dataset.attrs.get("probe")
    if probe == "EnergyRelaxation":
        yield from _relaxation_rows(dataset)
    elif probe == "AgingCorrelation":
        yield from _aging_rows(dataset)
    elif probe == "HessianSpectrum":
        yield from _spectrum_rows(dataset)


def _relaxation_rows(dataset: Dataset) -> Iterator[Row]:
    unit = "/N" if dataset.attrs.get("extensive") else ""
    later = dataset.sel(t=dataset["t"] > 0)
    for k in _spread(later.sizes["t"], 7):
        at = later.isel(t=k)
        yield _row(f"E(t = {float(at['t']):.4g}){unit}", at["energy"], at.get("energy_exact"))
    if "test_accuracy" in dataset:
        last = dataset.isel(t=-1)
        yield _row(f"test accuracy(t = {float(last['t']):.4g})", last["test_accuracy"])


def _aging_rows(dataset: Dataset) -> Iterator[Row]:
    # the weights of a network have no fixed norm, so there the displacement says more
    name, symbol = ("C", "C") if "theory" in dataset.attrs else ("MSD", "Δ")
    for tw in dataset["tw"]:
        curve = dataset.sel(tw=tw).dropna("t", how="all", subset=[name])
        for k in _spread(curve.sizes["t"], 4):
            at = curve.isel(t=k)
            times = f"tw = {float(tw):.4g}, t = {float(at['t']):.4g}"
            yield _row(f"{symbol}({times})", at[name], at.get(f"{name}_exact"))


def _spectrum_rows(dataset: Dataset) -> Iterator[Row]:
    for k in _spread(dataset.sizes["t"], 4):
        at = dataset.isel(t=k)
        t, everything = f"(t = {float(at['t']):.4g})", at.get("eigenvalues")
        known = {"λ_max": at.get("upper_edge_exact"), "λ_min": at.get("lower_edge_exact")}
        if everything is not None and known["λ_max"] is None:
            known = {"λ_max": everything.max("eigenvalue"), "λ_min": everything.min("eigenvalue")}
        for name, end in (("λ_max", "highest"), ("λ_min", "lowest")):
            flag = "" if at[f"{end}_converged"].isel(rank=0).all() else ", not converged"
            values, residual = (at[f"{end}{of}"].isel(rank=0) for of in ("", "_residual"))
            yield _estimate(f"{name}{t}{flag}", values, residual, known[name])
        below = None if everything is None else (everything < at["zero"]).mean("eigenvalue")
        half_width = (at["negative_upper"] - at["negative_lower"]) / 2
        exact = at.get("negative_exact", below)
        yield _estimate(f"negative fraction{t}", at["negative"], half_width, exact)
        if "multiplier" in at:  # on the sphere, where theory knows the second moment
            N, square = at.attrs["N"], at["trace_of_square"]
            error, exact = at["trace_of_square_error"] / N, at.get("trace_of_square_exact")
            yield _estimate(f"tr H²{t}/N", square / N, error, None if exact is None else exact / N)
        else:
            total = None if everything is None else everything.sum("eigenvalue")
            yield _estimate(f"tr H{t}", at["trace"], at["trace_error"], total)


def _estimate(
    quantity: str, values: DataArray, errors: DataArray, exact: DataArray | None = None
) -> Row:
    """The mean over replicas of numbers with errors of their own, beside what is exact.

    Where each replica has its exact number, the replicas' scatter is no error of the mean.
    """
    R = values.sizes["replica"]
    own = float((errors**2).sum("replica") ** 0.5 / R)
    if exact is not None and "replica" in exact.dims:
        return Row(quantity, float(values.mean()), own, float(exact.mean()))
    row = _row(quantity, values, exact)
    return row if row.error > own else Row(quantity, row.measured, own, row.exact)


def _row(quantity: str, values: DataArray, exact: DataArray | None = None) -> Row:
    mean, error = mean_and_error(values)
    known = math.nan if exact is None else float(exact)
    return Row(quantity, float(mean), float(error), known)


def _spread(size: int, most: int) -> list[int]:
    """Return at most ``most`` indices of ``size``, evenly spread, the last one included."""
    return sorted({round(k) for k in np.linspace(0, size - 1, min(size, most))}) if size else []


def markdown(table: list[Row]) -> str:
    """Return the table in Markdown, with aligned columns."""
    header = ["quantity", "measured", "exact", "deviation / σ"]
    cells = [header, *(row.cells() for row in table)]
    widths = [max(len(line[k]) for line in cells) for k in range(4)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(x, widths, strict=True)) + " |" for x in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


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
