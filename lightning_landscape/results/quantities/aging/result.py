"""The result of `AgingCorrelation`: C and Delta of two times, their plateau and their collapse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.relaxation import plateau
from lightning_landscape.results import pspin
from lightning_landscape.results.comparison.charts import Chart
from lightning_landscape.results.comparison.verdict import Estimate
from lightning_landscape.results.finite_size import expected_shift
from lightning_landscape.results.quantities.aging import compared, ladder
from lightning_landscape.results.quantities.aging.collapse import collapse, collapse_row
from lightning_landscape.results.quantities.aging.panels import DELTA, two_times
from lightning_landscape.results.registry import Panel, Records, Result, register
from lightning_landscape.results.system import has_several_temperatures
from lightning_landscape.results.table import Row, row, spread

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from xarray import Dataset

    from lightning_landscape.theory.glasses.cugliandolo_kurchan import Solution

__all__ = ["Aging"]


@register("AgingCorrelation")
class Aging(Result):
    """C(tw + t, tw) and Delta(tw, tw + t), exact for the spherical p-spin glass at constant T."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield a few values for each tw, the plateau and the exponent of the collapse."""
        if has_several_temperatures(dataset):
            yield from ladder.rows(dataset)
            return
        yield from _values(dataset)
        if "MSD" in dataset:
            yield from _plateau(dataset)
            yield from collapse_row(dataset)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return C, Delta and its collapse; over temperature where there are several."""
        if has_several_temperatures(dataset):
            return ladder.panels(dataset)
        C = two_times("C", r"$C(t_w + t, t_w)$", "linear")
        return [C, two_times("MSD", DELTA, "log"), collapse]

    def exact(self, dataset: Dataset) -> Dataset:
        """Add ``C_exact`` and ``MSD_exact`` where C was measured."""
        if not pspin.is_solved(dataset):
            return dataset
        return _with_exact_correlation(dataset).assign_attrs(theory_reference=pspin.REFERENCE)

    def charts(self, dataset: Dataset, run: Records) -> list[Chart]:
        """Return Delta in its own units, in those of its size at t = tw, and of the noise."""
        return [] if has_several_temperatures(dataset) else compared.charts(dataset, run)

    def estimates(self, dataset: Dataset, run: Records) -> Iterator[Estimate]:
        """Yield the exponent of aging, the plateau, and the diffusion at the bottom."""
        if "MSD" in dataset and not has_several_temperatures(dataset):
            yield from compared.estimates(dataset, run)


def _with_exact_correlation(dataset: Dataset) -> Dataset:
    tw, t = np.meshgrid(dataset["tw"], dataset["t"], indexing="ij")
    measured = dataset["C"].notnull().any("replica").to_numpy()
    if not measured.any():
        return dataset
    late, early = (tw + t)[measured], tw[measured]

    def correlation(solution: Solution) -> NDArray[np.float64]:
        C = np.full(tw.shape, np.nan)
        C[measured] = solution.correlation(late, early)
        return C

    C = pspin.curve(dataset, late.max(), correlation)
    dims = ("tw", "t", "replica")[: C.ndim]
    return dataset.assign(C_exact=(dims, C), MSD_exact=(dims, 2 - 2 * C))


def _values(dataset: Dataset) -> Iterator[Row]:
    # the weights of a network have no fixed norm, so there the displacement says more
    name, symbol = ("C", "C") if "theory" in dataset.attrs else ("MSD", "Δ")
    for tw in dataset["tw"].to_numpy():
        curve = dataset.sel(tw=tw).dropna("t", how="all", subset=[name])
        for k in spread(curve.sizes["t"], 4):
            at, t = curve.isel(t=k), float(curve["t"][k])
            shift = expected_shift(dataset, name, tw=float(tw), t=t)
            quantity = f"{symbol}(tw = {tw:.4g}, t = {t:.4g})"
            yield row(quantity, at[name], at.get(f"{name}_exact"), shift)


def _plateau(dataset: Dataset) -> Iterator[Row]:
    """Yield where the displacement stops growing, for the longest tw that has such a place."""
    found = [(tw, plateau(dataset["t"], dataset["MSD"].sel(tw=tw))) for tw in dataset["tw"]]
    flat = [(tw, at) for tw, at in found if at is not None]
    if not flat:
        return
    tw, at = flat[-1]
    note = f"tw = {float(tw):.4g}, t = {at.begin:.3g} … {at.end:.3g}"
    exact = None
    if "MSD_exact" in dataset:
        exact = plateau(dataset["t"], dataset["MSD_exact"].sel(tw=tw).expand_dims("replica", -1))
    known = np.nan if exact is None else exact.value
    yield Row("plateau of Δ", at.value, at.error, known, note=note)
