"""The noise of mini-batch gradients: its strength D, the temperature lr D / 2 and kurtosis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.statistics import mean_and_error
from lightning_landscape.results.axes import logarithmic_time, points
from lightning_landscape.results.comparison.charts import Chart, Curve, Frame
from lightning_landscape.results.registry import Panel, Records, Result, register
from lightning_landscape.results.system import bath_temperature, system
from lightning_landscape.results.table import Row, row, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import DataArray, Dataset

__all__ = ["GradientNoise", "strength_at"]

_KIND = "GradientNoise"


@register(_KIND)
class GradientNoise(Result):
    """D(t), the temperature lr D / 2 and the batch size at which signal and noise are equal."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield strength, temperature, batch size of equal signal, and kurtosis."""
        for k in spread(dataset.sizes["t"], 5):
            at = dataset.isel(t=k)
            t = f"(t = {float(at['t']):.4g})"
            yield row(f"D{t}", at["D"])
            if "temperature_of_sgd" in at:
                yield row(f"T = lr D / 2{t}", at["temperature_of_sgd"])
            yield row(f"batch size of equal signal{t}", at["noise_scale"])
            if "kurtosis" in at:
                yield row(f"excess kurtosis of g_B{t}", at["kurtosis"].mean("direction"))

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return D(t) with the squared gradient, and the kurtosis if it was measured."""
        return [_strength, *([_kurtosis] if "kurtosis" in dataset else [])]

    def charts(self, dataset: Dataset, run: Records) -> list[Chart]:
        """Return the strength of the noise in time."""
        mean, error = mean_and_error(dataset["D"])
        curve = Curve(dataset["t"], mean, error)
        return [Chart("noise", Frame("t", "$D$", "log", "log"), [curve], system(dataset))]


def strength_at(dataset: Dataset, run: Records) -> DataArray | float | None:
    """Return D at each waiting time of a record; None where a run has no noise or did not measure.

    It is interpolated in time where D of mini-batches was measured, and 2 T / lr for Langevin
    dynamics.

    Args:
        dataset: a record with waiting times ``tw``.
        run: all records of the same run, by kind.
    """
    if _KIND in run:
        D, _ = mean_and_error(run[_KIND]["D"])
        D = D.sel(t=D["t"] > 0)
        return dataset["tw"].copy(data=np.interp(dataset["tw"], D["t"], D)) if D.size else None
    T = bath_temperature(dataset)
    return None if T is None else 2 * T / dataset.attrs["time_step"]


def _strength(dataset: Dataset, axes: Axes) -> None:
    """D in time, by layer in thin lines, and the squared gradient."""
    of_parts = dataset["D_part"].mean("replica").transpose("t", "part")
    axes.plot(dataset["t"], of_parts, color="tab:blue", linewidth=0.5, alpha=0.5)
    shown = {"D": ("tab:blue", "$D$, noise"), "gradient_square": ("tab:red", r"$|\nabla E|^2/N$")}
    for name, (color, label) in shown.items():
        points(axes, dataset["t"], dataset[name], fmt="o-", color=color, label=label)
    axes.set(yscale="log", xlabel="t", ylabel=f"B = {dataset.attrs.get('batch_size', 'that seen')}")
    logarithmic_time(dataset, axes)
    axes.legend(title="thin: by layer")


def _kurtosis(dataset: Dataset, axes: Axes) -> None:
    """The excess kurtosis of the mini-batch gradient along directions, in time."""
    along = [dim for dim in dataset["kurtosis"].dims if dim not in ("t", "replica")]
    values = dataset["kurtosis"].stack(sample=["replica", *along])
    low, high = (values.quantile(q, "sample") for q in (0.16, 0.84))
    axes.fill_between(dataset["t"], low, high, alpha=0.3, label="two thirds of them")
    axes.plot(dataset["t"], values.mean("sample"), "o-", label="mean")
    axes.axhline(0, color="gray", linewidth=0.5)
    axes.set(xlabel="t", ylabel="excess kurtosis of $g_B$")
    axes.set_yscale("symlog", linthresh=1)
    logarithmic_time(dataset, axes)
    axes.legend(title="along directions")
