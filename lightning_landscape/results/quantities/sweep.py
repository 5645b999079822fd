"""The quantities of a sweep against the option that was swept."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.results.axes import shades
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["Curve", "Sweep", "axis_of", "curves"]

_MOST_PANELS, _MOST_CURVES, _MOST_ROWS = 9, 8, 7
_WIDE = 30.0  # a ratio of values from which their axis is logarithmic


class Curve:
    """One quantity against one option, at fixed values of the others.

    Attributes:
        label: those values.
        x: of the option, sorted, shape (n,).
        mean: over the points with this x: those that differ in their seed only.
        error: the standard error of that mean; of a single point its own.
        exact: what is known; nan where nothing is.
    """

    def __init__(self, label: str, dataset: Dataset, axis: str) -> None:
        self.label = label
        measured, own, exact = (dataset[n].to_numpy() for n in ("measured", "error", "exact"))
        values = dataset[axis].to_numpy()
        self.x = np.unique(values[~np.isnan(measured)])
        groups = [(values == x) & ~np.isnan(measured) for x in self.x]
        self.mean = np.array([measured[g].mean() for g in groups])
        self.exact = np.array([exact[g].mean() for g in groups])
        self.error = np.array([_error(measured[g], own[g]) for g in groups])


def _error(measured: np.ndarray, own: np.ndarray) -> float:
    """Return the error of a mean: from the scatter of the points, or of one point its own."""
    if len(measured) == 1:
        return float(own[0])
    return float(measured.std(ddof=1) / len(measured) ** 0.5)


@register("Sweep")
class Sweep(Result):
    """Each quantity of the closing table of the runs, against the option that was swept."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield the quantities at a few values of the option."""
        states = dataset["state"].to_numpy()
        yield Row("points done", float((states == "done").sum()), np.nan)
        yield Row("points failed", float((states == "failed").sum()), np.nan)
        axis = axis_of(dataset)
        for quantity in _quantities(dataset):
            yield from _laws(dataset, quantity)
            for curve in curves(dataset, quantity)[:_MOST_CURVES]:
                for k in spread(len(curve.x), _MOST_ROWS):
                    note = f"{curve.label}{axis} = {curve.x[k]:g}"
                    mean, error, exact = curve.mean[k], curve.error[k], curve.exact[k]
                    yield Row(quantity, float(mean), float(error), float(exact), note=note)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return a panel for each quantity."""
        return [partial(_against, quantity=quantity) for quantity in _quantities(dataset)]


def _laws(dataset: Dataset, quantity: str) -> Iterator[Row]:
    """Yield the limits or exponents of a law that was fitted, one a curve."""
    if "law" not in dataset:
        return
    kind, axis = dataset.attrs["law"], axis_of(dataset)
    at = {"infinity": f"{axis} → ∞", "zero": f"{axis} → 0", "power": f"exponent of {axis}"}[kind]
    for curve, law in zip(curves(dataset, quantity), _fits(dataset, quantity), strict=True):
        value, error, chi2, freedom = (
            float(law[n]) for n in ("law", "law_error", "law_chi2", "law_freedom")
        )
        if np.isnan(value):
            continue
        # a theory of infinite size says the same at every size
        same = kind == "infinity" and np.ptp(curve.exact) <= 1e-9 * abs(curve.exact).max()
        exact = float(curve.exact[0]) if same else np.nan
        note = f"{curve.label}{at}, χ² = {chi2:.1f} of {freedom:.0f}"
        yield Row(quantity, value, error, exact, note=note)


def _fits(dataset: Dataset, quantity: str) -> list[Dataset]:
    of_quantity = dataset.sel(quantity=quantity)
    return [of_quantity.isel(curve=k) for k in range(dataset.sizes["curve"])]


def _law(dataset: Dataset, law: Dataset, x: np.ndarray) -> np.ndarray:
    """Return the law at some values of the option."""
    a, b = law["law_coefficients"].to_numpy()
    if dataset.attrs["law"] == "power":
        return np.asarray(a * x**b)
    w = dataset.attrs["law_exponent"]
    return np.asarray(a + b * x ** (-w if dataset.attrs["law"] == "infinity" else w))


def curves(dataset: Dataset, quantity: str) -> list[Curve]:
    """Return a quantity against the option with the most values, a curve for the others' values.

    Options that are called seed are averaged over.

    Args:
        dataset: the catalogue of a sweep.
        quantity: one of its coordinate.
    """
    axis = axis_of(dataset)
    others = [n for n in _options(dataset) if n != axis and not n.endswith("seed")]
    of_quantity = dataset.sel(quantity=quantity).isel(point=dataset["state"].to_numpy() == "done")
    if not others:
        return [Curve("", of_quantity, axis)]
    keys = list(zip(*(of_quantity[name].to_numpy() for name in others), strict=True))
    found = []
    for key in dict.fromkeys(keys):
        here = np.array([k == key for k in keys])
        label = "".join(f"{n} = {_text(v)}, " for n, v in zip(others, key, strict=True))
        found.append(Curve(label, of_quantity.isel(point=here), axis))
    return found


def _options(dataset: Dataset) -> list[str]:
    swept = dataset.attrs["swept"]
    return [swept] if isinstance(swept, str) else [str(name) for name in swept]


def axis_of(dataset: Dataset) -> str:
    """Return the option with numbers that has the most values; a seed only where all are seeds."""
    names = [n for n in _options(dataset) if np.issubdtype(dataset[n].dtype, np.number)]
    names = names or _options(dataset)
    return max(names, key=lambda n: (not n.endswith("seed"), len(np.unique(dataset[n]))))


def _quantities(dataset: Dataset) -> list[str]:
    """Return those that most points have measured."""
    count = dataset["measured"].notnull().sum("point").to_numpy()
    most = count.max(initial=0)
    names = dataset["quantity"].to_numpy()
    common = [str(n) for n, c in zip(names, count, strict=True) if c > most / 2]
    return [common[k] for k in spread(len(common), _MOST_PANELS)]


def _against(dataset: Dataset, axes: Axes, quantity: str) -> None:
    axis, found = axis_of(dataset), curves(dataset, quantity)[:_MOST_CURVES]
    for curve, color in zip(found, shades(len(found)), strict=True):
        label = curve.label.rstrip(", ") or None
        x = curve.x if np.issubdtype(curve.x.dtype, np.number) else np.arange(len(curve.x))
        axes.errorbar(x, curve.mean, np.nan_to_num(curve.error), fmt="o", color=color, label=label)
        if not np.isnan(curve.exact).all():
            axes.plot(x, curve.exact, color=color, linewidth=1)
    if "law" in dataset:
        fits = _fits(dataset, quantity)[: len(found)]
        for curve, law, color in zip(found, fits, shades(len(found)), strict=True):
            x = np.geomspace(curve.x.min(), curve.x.max(), 100)
            axes.plot(x, _law(dataset, law, x), "--", color=color, linewidth=1)
    if all((c.x > 0).all() and c.x.max(initial=1) > _WIDE * c.x.min(initial=1) for c in found):
        axes.set_xscale("log")
    axes.set(xlabel=axis, ylabel=quantity.split(",")[0])
    if any(curve.label for curve in found):
        axes.legend()


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
