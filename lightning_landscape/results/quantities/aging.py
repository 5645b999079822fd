"""Aging: correlation C and displacement Delta of two times, their plateau and their collapse."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.errors import UsageError
from lightning_landscape.observables.relaxation import plateau, relaxation_time, susceptibility
from lightning_landscape.observables.scaling import Collapse, aging_onset, collapse
from lightning_landscape.observables.statistics import by_temperature
from lightning_landscape.results import pspin
from lightning_landscape.results.axes import points, shades
from lightning_landscape.results.finite_size import expected_shift
from lightning_landscape.results.quantities.gradient_noise import strength_at
from lightning_landscape.results.registry import Panel, Records, Result, register
from lightning_landscape.results.system import has_several_temperatures
from lightning_landscape.results.table import Row, row, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray
    from xarray import DataArray, Dataset

    from lightning_landscape.theory.glasses.cugliandolo_kurchan import Solution

__all__ = ["Aging", "two_times"]

_DELTA = r"$\Delta(t_w, t_w + t)$"
_WORST_COLLAPSE = 4.0  # quality above which no exponent makes the curves fall together


@register("AgingCorrelation")
class Aging(Result):
    """C(tw + t, tw) and Delta(tw, tw + t), exact for the spherical p-spin glass at constant T."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield a few values for each tw, the plateau and the exponent of the collapse."""
        if has_several_temperatures(dataset):
            yield from _of_temperatures(dataset)
            return
        yield from _values(dataset)
        if "MSD" in dataset:
            yield from _plateau(dataset)
            yield from _collapse(dataset)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return C, Delta and its collapse; over temperature where there are several."""
        if has_several_temperatures(dataset):
            return _ladder_panels(dataset)
        C = two_times("C", r"$C(t_w + t, t_w)$", "linear")
        return [C, two_times("MSD", _DELTA, "log"), _collapsed]

    def exact(self, dataset: Dataset) -> Dataset:
        """Add ``C_exact`` and ``MSD_exact`` where C was measured."""
        if not pspin.is_solved(dataset):
            return dataset
        return _with_exact_correlation(dataset).assign_attrs(theory_reference=pspin.REFERENCE)

    def compared(self, dataset: Dataset, run: Records) -> dict[str, Panel]:
        """Return Delta, Delta in units of the noise where its strength is known, the collapse."""
        if has_several_temperatures(dataset):
            return {"collapse": _collapse_exponents}
        panels = {"displacement": two_times("MSD", _DELTA, "log"), "collapse": _collapsed}
        if (strength := strength_at(dataset, run)) is not None:
            panels["displacement in units of the noise"] = _in_units_of_the_noise(strength)
        return panels


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


def _collapse(dataset: Dataset) -> Iterator[Row]:
    try:
        found = _fit(dataset)
    except UsageError:  # one waiting time
        return
    exact = np.nan
    if "MSD_exact" in dataset:
        # with the scatter of the replicas, so that both are fitted with the same weights
        scatter = dataset["MSD"] - dataset["MSD"].mean("replica", skipna=False)
        exact = _fit(dataset[[]].assign(MSD=dataset["MSD_exact"] + scatter)).exponent
    note, holds = f"quality {found.quality:.2g}", found.quality < _WORST_COLLAPSE
    yield Row("μ of Δ(t / tw^μ)", found.exponent, found.error, exact, note=note, holds=holds)


def _fit(dataset: Dataset) -> Collapse:
    """Return the collapse of Delta, which is fitted once for the rows and panels of a record."""
    aged = dataset.sel(tw=dataset["tw"] > 0)
    MSD = aged["MSD"].transpose("tw", "t", "replica").to_numpy()
    tw, t = aged["tw"].to_numpy(), aged["t"].to_numpy()
    return _fit_once(tw.tobytes(), t.tobytes(), MSD.tobytes())


@lru_cache(maxsize=64)
def _fit_once(tw: bytes, t: bytes, MSD: bytes) -> Collapse:
    waiting_times, times = np.frombuffer(tw), np.frombuffer(t)
    values = np.frombuffer(MSD).reshape(len(waiting_times), len(times), -1)
    return collapse(waiting_times, times, values)


def two_times(name: str, label: str, scale: str) -> Panel:
    """Return the panel of a function of two times, one curve for each waiting time."""

    def panel(dataset: Dataset, axes: Axes) -> None:
        reached = dataset.dropna("tw", how="all", subset=["C"])
        for curve, color in _waiting_times(reached):
            points(axes, curve["t"], curve[name], color=color, label=f"{float(curve['tw']):g}")
            if f"{name}_exact" in curve:
                axes.plot(curve["t"], curve[f"{name}_exact"], color=color, linewidth=1)
        axes.set(xscale="log", yscale=scale, xlabel="t", ylabel=label)
        if reached.sizes["tw"]:
            axes.legend(title="$t_w$")

    return panel


def _collapsed(dataset: Dataset, axes: Axes) -> None:
    """The displacement against t / tw^mu, with the mu at which its curves fall together best."""
    aged = dataset.sel(tw=dataset["tw"] > 0).dropna("tw", how="all", subset=["MSD"])
    try:
        found = _fit(dataset)
    except UsageError as refusal:
        axes.set_title(str(refusal), fontsize="x-small", wrap=True)
        return
    for curve, color in _waiting_times(aged.assign(MSD=aged["MSD"].where(aged["MSD"] > 0))):
        tw = float(curve["tw"])
        x = curve["t"] / tw**found.exponent
        points(axes, x, curve["MSD"], color=color, label=f"{tw:g}")
    axes.set(xscale="log", yscale="log", ylabel=_DELTA)
    axes.set(xlabel=rf"$t / t_w^\mu$, μ = {found.exponent:.3g} ± {found.error:.1g}")
    axes.legend(title="$t_w$")


def _in_units_of_the_noise(strength: DataArray | float) -> Panel:
    """Return the panel of Delta / (lr^2 D(tw)) against the number of steps."""

    def panel(dataset: Dataset, axes: Axes) -> None:
        lr = dataset.attrs["time_step"]
        scaled = dataset.assign(MSD=dataset["MSD"] / (lr**2 * strength))
        scaled = scaled.assign_coords(t=dataset["t"] / lr).drop_vars("MSD_exact", errors="ignore")
        two_times("MSD", r"$\Delta(t_w, t_w + t)\;/\;\eta^2 D(t_w)$", "log")(scaled, axes)
        axes.plot(scaled["t"], scaled["t"], color="gray", linestyle="--", linewidth=1)
        axes.set(xlabel="steps (dashed: free diffusion)")

    return panel


def _waiting_times(dataset: Dataset) -> Iterator[tuple[Dataset, NDArray[np.float64]]]:
    """Yield the curve of each waiting time with a colour of its own."""
    colors = shades(dataset.sizes["tw"])
    for k, color in enumerate(colors):
        yield dataset.isel(tw=k), color


def _of_temperatures(dataset: Dataset) -> Iterator[Row]:
    """Yield the relaxation time and the peak of chi_4 of each temperature at the first tw.

    With several tw, also the exponent of their collapse, and the temperatures between which it
    leaves 0.
    """
    for T, some in by_temperature(dataset.isel(tw=0)):
        tau, error = relaxation_time(some["t"], some["C"])
        exact = np.nan
        if "C_exact" in some:
            exact = relaxation_time(some["t"], some["C_exact"].isel(replica=[0]))[0]
        if not np.isnan(tau):
            yield Row(f"τ(T = {T:g})", tau, error, exact)
        if some.sizes["replica"] > 2:
            chi, errors = susceptibility(some["C"], dataset.attrs["N"])
            k = int(chi.argmax())
            note = f"t = {float(some['t'][k]):.3g}"
            yield Row(f"largest χ₄(T = {T:g})", chi[k], errors[k], note=note)
    aged = dataset.sel(tw=dataset["tw"] > 0)
    if aged.sizes["tw"] > 1:
        yield from _onset(aged)


def _onset(dataset: Dataset) -> Iterator[Row]:
    groups = by_temperature(dataset)
    try:
        found = [_fit(some) for _, some in groups]
    except UsageError:  # not yet two waiting times with enough points
        return
    for (T, _), at in zip(groups, found, strict=True):
        note, holds = f"quality {at.quality:.2g}", at.quality < _WORST_COLLAPSE
        name = f"μ(T = {T:g}) of Δ(t / tw^μ)"
        yield Row(name, at.exponent, at.error, note=note, holds=holds)
    onset = aging_onset([T for T, _ in groups], found)
    if onset is not None:
        low, high = onset
        note = f"{low:g} … {high:g}"
        yield Row("T at which aging sets in", (low + high) / 2, (high - low) / 2, note=note)


def _ladder_panels(dataset: Dataset) -> list[Panel]:
    """Return C(t), the relaxation time, and chi_4 or, with several tw, the collapse exponents."""
    return [_correlation, _tau, _chi_4 if dataset.sizes.get("tw", 0) < 2 else _collapse_exponents]


def _correlation(dataset: Dataset, axes: Axes) -> None:
    """C(t) from the first waiting time on, one curve for each temperature."""
    groups = by_temperature(dataset.isel(tw=0))
    for (T, some), color in zip(groups, shades(len(groups), "plasma"), strict=True):
        points(axes, some["t"], some["C"], color=color, label=f"{T:g}")
        if "C_exact" in some:
            axes.plot(some["t"], some["C_exact"].isel(replica=0), color=color, linewidth=1)
    axes.axhline(np.exp(-1), color="gray", linewidth=0.5)
    label = f"C(tw + t, tw), tw = {float(dataset['tw'][0]):g}"
    axes.set(xscale="log", xlabel="t", ylabel=label)
    axes.legend(title="T")


def _tau(dataset: Dataset, axes: Axes) -> None:
    """The relaxation time against T."""
    groups = [(T, some.isel(tw=0)) for T, some in by_temperature(dataset)]
    measured = [(T, *relaxation_time(x["t"], x["C"])) for T, x in groups]
    T, times, errors = np.array(measured).T
    if "C_exact" in dataset:
        exact = [relaxation_time(x["t"], x["C_exact"][:, :1])[0] for _, x in groups]
        axes.plot(T, exact, color="black", linewidth=1, label="exact")
    axes.errorbar(T, times, errors, fmt="o", label="measured")
    axes.set(xlabel="T", ylabel="τ: C(τ) = 1/e")
    if np.isfinite(times).any():  # a logarithmic axis of nothing cannot be drawn
        axes.set(xscale="log" if T[-1] > 10 * T[0] > 0 else "linear", yscale="log")
    axes.legend()


def _chi_4(dataset: Dataset, axes: Axes) -> None:
    """The dynamical susceptibility chi_4(t), one curve for each temperature."""
    groups = [(T, x.isel(tw=0)) for T, x in by_temperature(dataset) if x.sizes["replica"] > 2]
    for (T, some), color in zip(groups, shades(len(groups), "plasma"), strict=True):
        chi, error = susceptibility(some["C"], dataset.attrs["N"])
        axes.errorbar(some["t"], chi, error, fmt="o", color=color, label=f"{T:g}")
    axes.set(xscale="log", xlabel="t", ylabel="χ₄ = N Var C")
    if groups:  # a variance takes three replicas at one temperature
        axes.legend(title="T")


def _collapse_exponents(dataset: Dataset, axes: Axes) -> None:
    """The exponent of the collapse on t / tw^mu against T: above 0 where the system ages."""
    aged = dataset.sel(tw=dataset["tw"] > 0)
    groups = [(T, some.dropna("tw", how="all", subset=["MSD"])) for T, some in by_temperature(aged)]
    found = [(T, _fit(some)) for T, some in groups if some.sizes["tw"] > 1]
    for T, at in found:
        axes.errorbar(T, at.exponent, at.error, fmt="o", color="C0")
    axes.axhline(0, color="gray", linewidth=0.5)
    axes.set(xscale="log" if found else "linear", xlabel="T")
    axes.set_ylabel(r"$\mu$ of $\Delta(t / t_w^\mu)$")
