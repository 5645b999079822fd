"""Aging of several runs: what they draw on the same axes, and the numbers that are compared."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.errors import UsageError
from lightning_landscape.observables.relaxation import plateau
from lightning_landscape.observables.statistics import jackknife, mean_and_error
from lightning_landscape.results.comparison.charts import Chart, Curve, Frame
from lightning_landscape.results.comparison.verdict import Estimate
from lightning_landscape.results.quantities.aging.collapse import WORST, fit
from lightning_landscape.results.quantities.aging.panels import DELTA
from lightning_landscape.results.quantities.gradient_noise import strength_at
from lightning_landscape.results.registry import Records
from lightning_landscape.results.system import system

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from xarray import DataArray, Dataset

__all__ = ["charts", "estimates"]

_MOST_GROUPS = 32  # of replicas, in the jackknife of the collapse
_BOTTOM = 1.0  # decades at the end of the longest curve, where the run is at the bottom


def charts(dataset: Dataset, run: Records) -> list[Chart]:
    """Return Delta against t, Delta / Delta(tw, 2 tw) against t / tw, and in units of the noise.

    Full aging is one curve in the second of these, whatever the units of the system. In the third,
    Delta / (lr^2 D(tw)) against the number of steps, free diffusion by the noise is the diagonal.
    """
    own = Frame("t", DELTA, "log", "log")
    scaled = Frame("$t / t_w$", r"$\Delta(t_w, t_w + t)\;/\;\Delta(t_w, 2 t_w)$", "log", "log")
    found = [
        Chart("displacement", own, [_curve(c) for c in _reached(dataset)], system(dataset)),
        Chart("displacement in units of its age", scaled, list(_by_age(dataset))),
    ]
    if (strength := strength_at(dataset, run)) is not None:
        found.append(_by_noise(dataset, strength))
    return found


def estimates(dataset: Dataset, run: Records) -> Iterator[Estimate]:
    """Yield mu, ln of the plateau, and the diffusion in the last decade of the longest curve."""
    R = dataset.sizes["replica"]
    try:
        found = fit(dataset)
    except UsageError:  # one waiting time
        pass
    else:
        flaw = "" if found.quality < WORST else "no collapse"
        name = "aging: μ of Δ(t / tw^μ)"
        yield Estimate(name, found.exponent, found.error, min(R, _MOST_GROUPS) - 1, flaw=flaw)
    curves = list(_reached(dataset))
    yield from _slowing_down(curves, R - 1)
    flat = [at for c in curves if (at := plateau(c["t"], c["MSD"])) is not None]
    if flat:
        value, error = np.log(flat[-1].value), flat[-1].error / flat[-1].value
        yield Estimate("ln of the plateau of Δ", value, error, R - 1, system=system(dataset))
    if curves:
        yield from _bottom(curves[-1], strength_at(dataset, run))


def _slowing_down(curves: list[Dataset], dof: int) -> Iterator[Estimate]:
    """Yield -d ln Delta(tw, t) / d ln tw at one t, which needs no law of aging: 0 without aging.

    The t is the geometric mean of the waiting times, as far as all curves reach it.
    """
    aged = [curve for curve in curves if float(curve["tw"]) > 0]
    if len(aged) < 2:
        return
    x = np.log([float(curve["tw"]) for curve in aged])
    t = reduce(np.intersect1d, [curve["t"].to_numpy() for curve in aged])
    if not len(t):
        return
    at = t[np.argmin(np.abs(np.log(t) - x.mean()))]
    MSD = np.stack([curve["MSD"].sel(t=at).to_numpy() for curve in aged])  # (tw, replica)

    def slope(some: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(-np.polyfit(x, np.log(some.mean(-1)), 1)[0])

    if (MSD > 0).all():
        value, error = (float(number) for number in jackknife(slope, MSD))
        yield Estimate("aging: -d ln Δ / d ln tw at t = ⟨tw⟩, 0 if stationary", value, error, dof)


def _bottom(curve: Dataset, strength: DataArray | float | None) -> Iterator[Estimate]:
    """Yield the exponent of diffusion (1 is Brownian) and, in units of the noise, its strength."""
    late = curve.sel(t=curve["t"] >= float(curve["t"][-1]) / 10**_BOTTOM)
    MSD = late["MSD"].transpose("t", "replica").to_numpy()
    if len(MSD) < 3 or not (MSD > 0).all():
        return
    x, dof = np.log(late["t"].to_numpy()), MSD.shape[1] - 1

    def exponent(some: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.polyfit(x, np.log(some.mean(-1)), 1)[0])

    value, error = (float(number) for number in jackknife(exponent, MSD))
    yield Estimate("diffusion at the bottom: a of Δ ~ t^a", value, error, dof)
    if strength is not None:
        lr, steps = curve.attrs["time_step"], np.exp(x) / curve.attrs["time_step"]
        D = strength if isinstance(strength, float) else float(strength.sel(tw=curve["tw"]))

        def level(some: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.asarray(np.log(some.mean(-1) / (lr**2 * D * steps)).mean())

        value, error = (float(number) for number in jackknife(level, MSD))
        yield Estimate("diffusion at the bottom: ln of Δ / (η² D steps)", value, error, dof)


def _reached(dataset: Dataset) -> Iterator[Dataset]:
    """Yield the curve of each waiting time, as far as it was measured."""
    for tw in dataset["tw"]:
        curve = dataset.sel(tw=tw).dropna("t", how="all", subset=["MSD"])
        if curve.sizes["t"]:
            yield curve


def _curve(curve: Dataset, x: float = 1.0, y: float = 1.0) -> Curve:
    """Return Delta against t in the given units."""
    mean, error = mean_and_error(curve["MSD"])
    exact = curve["MSD_exact"] / y if "MSD_exact" in curve else None
    label = f"$t_w$ = {float(curve['tw']):g}"
    return Curve(curve["t"] / x, mean / y, error / y, exact, label)


def _by_age(dataset: Dataset) -> Iterator[Curve]:
    for curve in _reached(dataset):
        tw, t = float(curve["tw"]), curve["t"].to_numpy()
        if t[0] <= tw <= t[-1]:
            mean = curve["MSD"].mean("replica").to_numpy()
            yield _curve(curve, tw, float(np.exp(np.interp(np.log(tw), np.log(t), np.log(mean)))))


def _by_noise(dataset: Dataset, strength: DataArray | float) -> Chart:
    lr, curves = dataset.attrs["time_step"], []
    for curve in _reached(dataset):
        D = strength if isinstance(strength, float) else float(strength.sel(tw=curve["tw"]))
        curves.append(_curve(curve.drop_vars("MSD_exact", errors="ignore"), lr, lr**2 * D))
    label = r"$\Delta(t_w, t_w + t)\;/\;\eta^2 D(t_w)$"
    frame = Frame("steps", label, "log", "log", "diagonal", "free diffusion")
    return Chart("displacement in units of the noise", frame, curves)
