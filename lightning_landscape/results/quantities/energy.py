"""The energy in time, the law of its decay, and its last value against temperature."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.errors import UsageError
from lightning_landscape.observables.relaxation import Decay, decay
from lightning_landscape.observables.statistics import by_temperature, mean_and_error
from lightning_landscape.results import pspin
from lightning_landscape.results.axes import points, shades
from lightning_landscape.results.comparison.charts import Chart, Curve, Frame
from lightning_landscape.results.comparison.verdict import Estimate
from lightning_landscape.results.finite_size import expected_shift
from lightning_landscape.results.registry import Panel, Records, Result, register
from lightning_landscape.results.system import has_several_temperatures, system
from lightning_landscape.results.table import Row, Shift, row, spread

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

    def charts(self, dataset: Dataset, run: Records) -> list[Chart]:
        """Return E(t), one curve for each temperature."""
        return [_chart(dataset)]

    def estimates(self, dataset: Dataset, run: Records) -> Iterator[Estimate]:
        """Yield the exponent of the decay and the last energy."""
        if not has_several_temperatures(dataset):
            yield from _estimates(dataset.sel(t=dataset["t"] > 0))


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


def _window(dataset: Dataset) -> tuple[float, float]:
    last = float(dataset["t"][-1]) if dataset.sizes["t"] else 0.0
    return last / 10**_DECADES, last


def _decay(dataset: Dataset, window: tuple[float, float]) -> Decay | None:
    """Return the laws of the decay; None where nothing decays, or one replica cannot tell."""
    try:
        law = decay(dataset["t"], dataset["energy"], window)
    except UsageError:  # too few points
        return None
    return law if law.slope > 4 * law.slope_error else None


def _laws_of_decay(dataset: Dataset) -> Iterator[Row]:
    window = _window(dataset)
    law = _decay(dataset, window)
    if law is None:
        return
    known = _exact_laws(dataset, window)
    for name, error, how, quality in (
        ("exponent", "exponent_error", "α of E∞ + A t^-α", law.power),
        ("slope", "slope_error", "b of a - b ln t", law.logarithmic),
    ):
        exact, *shifted = (getattr(each, name) for each in known) if known else (np.nan,)
        yield Row(
            how,
            getattr(law, name),
            getattr(law, error),
            exact,
            note=f"t = {window[0]:.3g} … {window[1]:.3g}, χ²/dof = {quality:.2g}",
            shift=Shift(shifted[0] - exact, abs(shifted[1] - shifted[0])) if shifted else None,
            holds=quality < _WORST_FIT,
        )


def _exact_laws(dataset: Dataset, window: tuple[float, float]) -> list[Decay]:
    """Return the laws of the exact curve; where known, also with the shift, and with its error too.

    The scatter of the replicas is added, so that all are fitted with the weights of the measured
    curve.
    """
    if "energy_exact" not in dataset:
        return []
    inside = dataset.sel(t=slice(*window))
    scatter = inside["energy"] - inside["energy"].mean("replica")
    curves = [inside["energy_exact"] + scatter]
    shifts = [expected_shift(dataset, "energy", t=float(t)) for t in inside["t"]]
    found = np.array([(shift.value, shift.error) for shift in shifts if shift is not None])
    complete = len(found) == len(shifts)
    if complete and np.isfinite(found).all():
        value, error = (inside["t"].copy(data=column) for column in found.T)
        curves += [curves[0] + value, curves[0] + value + error]
    laws = [decay(inside["t"], curve, window) for curve in curves]
    unknown = complete and len(laws) == 1  # one sample of the couplings: no deviation
    return [*laws, *[Decay(*[np.nan] * len(Decay._fields))] * (2 * unknown)]


def _of_temperatures(dataset: Dataset) -> Iterator[Row]:
    for T, some in by_temperature(dataset.isel(t=-1)):
        exact = some["energy_exact"].isel(replica=0) if "energy_exact" in some else None
        t = float(some["t"])
        shift = expected_shift(dataset, "energy", t=t, T=T)
        yield row(f"E(T = {T:g}, t = {t:.4g}){_unit(dataset)}", some["energy"], exact, shift)


def _estimates(dataset: Dataset) -> Iterator[Estimate]:
    dof = dataset.sizes["replica"] - 1
    law = _decay(dataset, _window(dataset))
    if law is not None:
        flaw = "" if law.power < _WORST_FIT else "the law does not hold"
        quantity = "relaxation: α of E∞ + A t^-α (0: logarithm)"
        yield Estimate(quantity, law.exponent, law.exponent_error, dof, flaw=flaw)
    if dataset.sizes["t"]:
        last = dataset.isel(t=-1)
        value, error = (float(x) for x in mean_and_error(last["energy"]))
        quantity = f"E(t = {float(last['t']):.4g}){_unit(dataset)}"
        yield Estimate(quantity, value, error, dof, abs(value), system(dataset))


def _chart(dataset: Dataset) -> Chart:
    several = has_several_temperatures(dataset)
    shown = dataset.sel(t=dataset["t"] > 0)
    groups = by_temperature(shown) if several else [(0.0, shown)]
    curves = []
    for T, some in groups:
        mean, error = mean_and_error(some["energy"])
        exact = some.get("energy_exact")
        if exact is not None and "replica" in exact.dims:
            exact = exact.isel(replica=0)
        curves.append(Curve(some["t"], mean, error, exact, f"T = {T:g}" if several else ""))
    frame = Frame("t", dataset.attrs.get("energy_unit", "energy"))
    return Chart("energy", frame, curves, system(dataset))


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
