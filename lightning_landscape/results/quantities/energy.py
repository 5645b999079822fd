"""The energy in time, the law of its decay, and its last value against temperature."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.errors import UsageError
from lightning_landscape.observables.relaxation import Decay, decay
from lightning_landscape.observables.statistics import by_temperature
from lightning_landscape.results import pspin
from lightning_landscape.results.axes import points, shades
from lightning_landscape.results.finite_size import expected_shift
from lightning_landscape.results.registry import Panel, Records, Result, register
from lightning_landscape.results.system import has_several_temperatures
from lightning_landscape.results.table import Row, row, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["Energy"]

_DECADES = 1.5  # at the end of a run, in which its law of decay is looked for
_WORST_FIT = 4.0  # chi^2 per degree of freedom above which a law does not describe the decay


@register("EnergyRelaxation")
class Energy(Result):
    """E(t), exact for the spherical p-spin glass at constant temperature."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield E at a few times and the law of its decay, or the last E of each temperature."""
        if has_several_temperatures(dataset):
            yield from _of_temperatures(dataset)
        else:
            yield from _in_time(dataset)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return E(t), in one curve for each temperature."""
        return [_curves if has_several_temperatures(dataset) else _relaxation]

    def exact(self, dataset: Dataset) -> Dataset:
        """Add ``energy_exact``, with a replica axis where the replicas differ in temperature."""
        if not pspin.is_solved(dataset):
            return dataset
        t = dataset["t"].to_numpy()
        energy = pspin.curve(dataset, t.max(), lambda solution: solution.energy(t))
        filled = dataset.assign(energy_exact=(("t", "replica")[: energy.ndim], energy))
        return filled.assign_attrs(theory_reference=pspin.REFERENCE)

    def compared(self, dataset: Dataset, run: Records) -> dict[str, Panel]:
        """Return E(t)."""
        return {"energy": self.panels(dataset)[0]}


def _unit(dataset: Dataset) -> str:
    return "/N" if dataset.attrs.get("extensive") else ""


def _in_time(dataset: Dataset) -> Iterator[Row]:
    unit, later = _unit(dataset), dataset.sel(t=dataset["t"] > 0)
    for k in spread(later.sizes["t"], 7):
        at, t = later.isel(t=k), float(later["t"][k])
        shift = expected_shift(dataset, "energy", t=t)
        yield row(f"E(t = {t:.4g}){unit}", at["energy"], at.get("energy_exact"), shift)
    yield from _laws_of_decay(later)
    if "test_accuracy" in dataset:
        last = dataset.isel(t=-1)
        yield row(f"test accuracy(t = {float(last['t']):.4g})", last["test_accuracy"])


def _laws_of_decay(dataset: Dataset) -> Iterator[Row]:
    last = float(dataset["t"][-1]) if dataset.sizes["t"] else 0.0
    window = (last / 10**_DECADES, last)
    try:
        law = decay(dataset["t"], dataset["energy"], window)
    except UsageError:  # too few points
        return
    if not law.slope > 4 * law.slope_error:  # nothing decays, or one replica cannot tell
        return
    exact: Decay | None = None
    if "energy_exact" in dataset:
        # with the scatter of the replicas, so that both are fitted with the same weights
        scatter = dataset["energy"] - dataset["energy"].mean("replica")
        exact = decay(dataset["t"], dataset["energy_exact"] + scatter, window)
    for name, error, how, quality in (
        ("exponent", "exponent_error", "α of E∞ + A t^-α", law.power),
        ("slope", "slope_error", "b of a - b ln t", law.logarithmic),
    ):
        yield Row(
            how,
            getattr(law, name),
            getattr(law, error),
            np.nan if exact is None else getattr(exact, name),
            note=f"t = {window[0]:.3g} … {window[1]:.3g}, χ²/dof = {quality:.2g}",
            holds=quality < _WORST_FIT,
        )


def _of_temperatures(dataset: Dataset) -> Iterator[Row]:
    for T, some in by_temperature(dataset.isel(t=-1)):
        exact = some["energy_exact"].isel(replica=0) if "energy_exact" in some else None
        t = float(some["t"])
        shift = expected_shift(dataset, "energy", t=t, T=T)
        yield row(f"E(T = {T:g}, t = {t:.4g}){_unit(dataset)}", some["energy"], exact, shift)


def _relaxation(dataset: Dataset, axes: Axes) -> None:
    """E(t), and the energy of test data."""
    shown = dataset.sel(t=dataset["t"] > 0)
    if "energy_exact" in dataset:
        axes.plot(shown["t"], shown["energy_exact"], color="black", linewidth=1, label="exact")
    points(axes, shown["t"], shown["energy"], label="measured")
    if "test_energy" in shown:
        points(axes, shown["t"], shown["test_energy"], fmt="s", label="test data")
    axes.set(xscale="log", xlabel="t", ylabel=dataset.attrs.get("energy_unit", "energy"))
    axes.legend()


def _curves(dataset: Dataset, axes: Axes) -> None:
    """E(t), one curve for each temperature."""
    groups = by_temperature(dataset.sel(t=dataset["t"] > 0))
    for (T, some), color in zip(groups, shades(len(groups), "plasma"), strict=True):
        points(axes, some["t"], some["energy"], color=color, label=f"{T:g}")
        if "energy_exact" in some:
            axes.plot(some["t"], some["energy_exact"].isel(replica=0), color=color, linewidth=1)
    axes.set(xscale="log", xlabel="t", ylabel=dataset.attrs.get("energy_unit", "energy"))
    axes.legend(title="T")
