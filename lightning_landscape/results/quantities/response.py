"""The integrated response chi against the correlation, and the effective temperatures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.response import (
    FAST,
    SLOW,
    effective_temperature,
    ratio_temperature,
)
from lightning_landscape.observables.statistics import jackknife, mean_and_error
from lightning_landscape.results import pspin
from lightning_landscape.results.axes import shades
from lightning_landscape.results.comparison.charts import Chart, Curve, Frame
from lightning_landscape.results.comparison.verdict import Estimate
from lightning_landscape.results.finite_size import expected_shift
from lightning_landscape.results.quantities.aging import Aging, two_times
from lightning_landscape.results.registry import Panel, Records, register
from lightning_landscape.results.system import bath_temperature, has_several_temperatures, system
from lightning_landscape.results.table import Row, Shift, row, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray
    from xarray import Dataset

__all__ = ["Response"]

Window = tuple[float, float]


@register("LinearResponse", "FieldResponse")
class Response(Aging):
    """chi(tw + t, tw) and T_eff, exact for the spherical p-spin glass at constant temperature.

    The record holds C and Delta too, which are compared with those of other runs.
    """

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield the response at two times and three temperatures for each waiting time."""
        for tw in dataset["tw"].to_numpy():
            curve = dataset.sel(tw=tw).dropna("t", how="all", subset=["chi"])
            for k in spread(curve.sizes["t"], 2):
                at, t = curve.isel(t=k), float(curve["t"][k])
                shift = expected_shift(dataset, "chi", tw=float(tw), t=t)
                quantity = f"χ(tw = {tw:.4g}, t = {t:.4g})"
                yield row(quantity, at["chi"], at.get("chi_exact"), shift)
            if curve.sizes["t"]:
                yield _shortest(curve)
                yield _over_window(curve, FAST, "first quarter")
                yield _over_window(curve, SLOW, "second half")

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return chi, chi against the decay, and T_eff; nothing before the first measurement."""
        if not _has_responded(dataset):
            return []
        scale = "linear" if "theory" in dataset.attrs else "log"
        return [
            two_times("chi", r"$\chi(t_w + t, t_w)$", scale),
            _against_decay,
            _effective_temperatures,
        ]

    def exact(self, dataset: Dataset) -> Dataset:
        """Add ``chi_exact`` beside ``C_exact`` and ``MSD_exact``."""
        if not pspin.is_solved(dataset):
            return dataset
        tw, t = np.meshgrid(dataset["tw"], dataset["t"], indexing="ij")
        chi = pspin.curve(dataset, (tw + t).max(), lambda s: s.integrated_response(tw + t, tw))
        chi[dataset["chi"].isnull().all("replica").to_numpy()] = np.nan
        dims = ("tw", "t", "replica")[: chi.ndim]
        return super().exact(dataset).assign(chi_exact=(dims, chi))

    def charts(self, dataset: Dataset, run: Records) -> list[Chart]:
        """Return those of aging, the response against the decay, and T_eff against tw."""
        found = super().charts(dataset, run)
        if has_several_temperatures(dataset) or not _has_responded(dataset):
            return found
        return [*found, _response_chart(dataset), _temperature_chart(dataset)]

    def estimates(self, dataset: Dataset, run: Records) -> Iterator[Estimate]:
        """Yield those of aging, the bend of the response, and ln T_eff of the slow decay."""
        yield from super().estimates(dataset, run)
        if not has_several_temperatures(dataset) and _has_responded(dataset):
            yield from _estimates(dataset)


def _has_responded(dataset: Dataset) -> bool:
    return bool(dataset["chi"].notnull().any())


def _shortest(curve: Dataset) -> Row:
    """Return (Delta/2)/chi at the shortest t, which is T in equilibrium."""
    at = {"tw": float(curve["tw"]), "t": float(curve["t"][0])}
    quantity = f"Δ/2χ(tw = {at['tw']:.4g}, t = {at['t']:.4g})"
    return _temperature_row(quantity, curve, None, expected_shift(curve, "T_ratio", **at))


def _over_window(curve: Dataset, window: Window, name: str) -> Row:
    at = {"tw": float(curve["tw"]), "low": window[0], "high": window[1]}
    quantity = f"T_eff(tw = {at['tw']:.4g}), {name} of the decay"
    return _temperature_row(quantity, curve, window, expected_shift(curve, "T_eff", **at))


def _temperature_row(
    quantity: str, curve: Dataset, window: Window | None, shift: Shift | None
) -> Row:
    measured = _temperature(curve, "", window)
    if "chi_exact" not in curve:
        return Row(quantity, *measured)
    return Row(quantity, *measured, _temperature(curve, "_exact", window)[0], shift=shift)


def _temperature(curve: Dataset, suffix: str, window: Window | None) -> tuple[float, float]:
    """Return T_eff and its error over a window of the decay, or at the shortest t."""
    decayed, response = curve[f"MSD{suffix}"] / 2, curve[f"chi{suffix}"]
    if window is None:
        return ratio_temperature(decayed.isel(t=0), response.isel(t=0))
    return effective_temperature(decayed, response, window)


def _estimates(dataset: Dataset) -> Iterator[Estimate]:
    """Yield ln(T_slow / T_fast), 0 for a straight line, and ln T_slow, at the longest tw."""
    curve, _ = _curves(dataset)[-1]
    pair = np.stack(
        [(curve["MSD"] / 2).transpose("t", "replica"), curve["chi"].transpose("t", "replica")]
    )
    dof = curve.sizes["replica"] - 1

    def logarithms(some: NDArray[np.float64]) -> NDArray[np.float64]:
        slow, fast = (effective_temperature(some[0], some[1], window)[0] for window in (SLOW, FAST))
        with np.errstate(invalid="ignore"):  # a slope of the wrong sign is no temperature
            return np.array([np.log(slow / fast), np.log(slow)])

    (bend, slow), (bend_error, slow_error) = jackknife(logarithms, pair)
    yield Estimate("response law: ln(T_eff slow / fast), 0 in equilibrium", bend, bend_error, dof)
    yield Estimate("ln T_eff of the slow decay", slow, slow_error, dof, system=system(dataset))


def _response_chart(dataset: Dataset) -> Chart:
    """Return T chi / A against (Delta / 2) / A: A is the largest decay, T that of the fast one."""
    curves = []
    for curve, _ in _curves(dataset):
        (x, _), (y, error) = mean_and_error(curve["MSD"] / 2), mean_and_error(curve["chi"])
        A, T = float(x.max()), _temperature(curve, "", FAST)[0]
        exact = curve["chi_exact"] * T / A if "chi_exact" in curve else None
        label = f"$t_w$ = {float(curve['tw']):g}"
        curves.append(Curve(x / A, y * T / A, error * T / A, exact, label))
    frame = Frame(
        r"$(\Delta/2)\;/\;$ its largest value $A$",
        r"$T_{\rm fast}\,\chi\;/\;A$",
        "linear",
        "linear",
        "diagonal",
        "equilibrium",
    )
    return Chart("response", frame, [curve for curve in curves if np.isfinite(curve.y).any()])


def _temperature_chart(dataset: Dataset) -> Chart:
    curves, x = [], [float(curve["tw"]) for curve, _ in _curves(dataset)]
    for window, name in ((None, "shortest t"), (FAST, "first quarter"), (SLOW, "second half")):
        y, error = np.array([_temperature(c, "", window) for c, _ in _curves(dataset)]).T
        exact = None
        if "chi_exact" in dataset:
            exact = np.array([_temperature(c, "_exact", window)[0] for c, _ in _curves(dataset)])
        curves.append(Curve(x, y, error, exact, name))
    scale = "log" if min(x) > 0 else "symlog"
    frame = Frame("$t_w$", r"$T_{\rm eff}$", scale, "log")
    return Chart("effective temperatures", frame, curves, system(dataset))


def _against_decay(dataset: Dataset, axes: Axes) -> None:
    """The response against what has decayed: the fluctuation-dissipation plot."""
    for curve, color in _curves(dataset):
        (x, dx), (y, dy) = mean_and_error(curve["MSD"] / 2), mean_and_error(curve["chi"])
        axes.errorbar(x, y, dy, dx, fmt="o", color=color)
        if "chi_exact" in curve:
            axes.plot(curve["MSD_exact"] / 2, curve["chi_exact"], color=color, linewidth=1)
    if (T := bath_temperature(dataset)) is not None:
        top = float(mean_and_error(dataset["chi"])[0].max())
        label = r"equilibrium, slope $1/T$"
        axes.plot([0, T * top], [0, top], color="gray", linestyle="--", label=label)
        axes.legend()
    on_sphere = "theory" in dataset.attrs
    axes.set(xlabel=r"$1 - C$" if on_sphere else r"$\Delta/2$", ylabel=r"$\chi$")
    if not on_sphere:
        axes.set(xscale="log", yscale="log")


def _effective_temperatures(dataset: Dataset, axes: Axes) -> None:
    """T_eff for each waiting time: at the shortest t, of the fast and of the slow decay."""
    curves = [curve for curve, _ in _curves(dataset)]
    tw = [float(curve["tw"]) for curve in curves]
    for window, name, marker in (
        (None, "at the shortest t", "D"),
        (FAST, "first quarter", "o"),
        (SLOW, "second half", "s"),
    ):
        found = [_temperature(curve, "", window) for curve in curves]
        value, error = np.array(found).reshape(-1, 2).T
        bars = axes.errorbar(tw, value, error, fmt=marker, markersize=4, label=name)
        if "chi_exact" in dataset:
            exact = [_temperature(curve, "_exact", window)[0] for curve in curves]
            axes.plot(tw, exact, marker="_", markersize=14, color=bars[0].get_color())
    if (T := bath_temperature(dataset)) is not None:
        axes.axhline(T, color="gray", linestyle="--", linewidth=1, label="T of the bath")
    linear = dataset["tw"].min() == 0
    axes.set(xscale="linear" if linear else "log", xlabel="$t_w$", ylabel=r"$T_{\rm eff}$")
    axes.set_xticks(tw, [f"{time:g}" for time in tw])
    axes.set_xticks([], minor=True)
    if "theory" not in dataset.attrs:
        axes.set_yscale("log")
    axes.legend(title="of the decay")


def _curves(dataset: Dataset) -> list[tuple[Dataset, NDArray[np.float64]]]:
    """Return the curve of each waiting time that was reached, and its colour."""
    reached = dataset.dropna("tw", how="all", subset=["chi"])
    colors = shades(reached.sizes["tw"])
    curves = (reached.sel(tw=tw).dropna("t", how="all", subset=["chi"]) for tw in reached["tw"])
    return list(zip(curves, colors, strict=True))
