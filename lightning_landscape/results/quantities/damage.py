"""Damage spreading: the distance in time of copies that started together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.statistics import mean_and_error
from lightning_landscape.results import pspin
from lightning_landscape.results.axes import points
from lightning_landscape.results.comparison.charts import Chart, Curve, Frame
from lightning_landscape.results.finite_size import expected_shift
from lightning_landscape.results.registry import Panel, Records, Result, register
from lightning_landscape.results.system import bath_temperature, system
from lightning_landscape.results.table import Row, row, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["Damage"]


@register("DamageSpreading")
class Damage(Result):
    """d^2(t) = |x_a - x_b|^2 / N, exact for the spherical p-spin glass in equilibrium."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield the distance of copies at a few times."""
        for k in spread(dataset.sizes["t"], 6):
            at, t = dataset.isel(t=k), float(dataset["t"][k])
            shift = expected_shift(dataset, "d2", t=t)
            yield row(f"d²(t = {t:.4g})", at["d2"], at.get("d2_exact"), shift)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return d^2(t)."""
        return [_distance]

    def charts(self, dataset: Dataset, run: Records) -> list[Chart]:
        """Return d^2(t)."""
        mean, error = mean_and_error(dataset["d2"])
        curve = Curve(dataset["t"], mean, error, dataset.get("d2_exact"))
        frame = Frame("t", r"$d^2 = |x_a - x_b|^2/N$", "log", "log")
        return [Chart("distance of copies", frame, [curve], system(dataset))]

    def exact(self, dataset: Dataset) -> Dataset:
        """Add ``d2_exact``: in equilibrium two paths from one start are one of twice the length."""
        if not pspin.is_solved(dataset):
            return dataset
        T, T0 = dataset.attrs["temperature"], dataset.attrs["start_temperature"]
        if np.ndim(T) == 0 and np.ndim(T0) == 0 and np.isclose(T, T0):
            t = dataset["t"].to_numpy()
            C = pspin.curve(dataset, 2 * t.max(), lambda s: s.correlation(2 * t, 0.0))
            dataset = dataset.assign(d2_exact=("t", 2 - 2 * C))
        return dataset.assign_attrs(theory_reference=pspin.REFERENCE)


def _distance(dataset: Dataset, axes: Axes) -> None:
    """The distance of copies in time, on logarithmic axes."""
    if "d2_exact" in dataset:
        axes.plot(dataset["t"], dataset["d2_exact"], color="black", linewidth=1, label="exact")
    points(axes, dataset["t"], dataset["d2"], label="measured")
    if (T := bath_temperature(dataset)) is not None:
        free = 4 * T * dataset["t"]
        shown = free < 2 * float(dataset["d2"].mean("replica").max())
        label = "free diffusion, 4 T t"
        axes.plot(dataset["t"][shown], free[shown], color="gray", linestyle="--", label=label)
    axes.set(xscale="log", yscale="log", xlabel="t", ylabel=r"$d^2 = |x_a - x_b|^2/N$")
    axes.legend()
