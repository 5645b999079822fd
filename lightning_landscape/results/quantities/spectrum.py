"""The spectrum of the Hessian: its edges, density, negative fraction and outliers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.observables.statistics import mean_and_error
from lightning_landscape.results.axes import log_errorbar, logarithmic_time, points, shades
from lightning_landscape.results.comparison.charts import Chart, Curve, Frame
from lightning_landscape.results.comparison.verdict import Estimate
from lightning_landscape.results.registry import Panel, Records, Result, register
from lightning_landscape.results.system import system
from lightning_landscape.results.table import Row, Shift, estimate, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray
    from xarray import DataArray, Dataset

__all__ = ["Spectrum"]

_SHOWN_TIMES = 4
# The semicircle ends steeply: bins are compared with its mean, not with its value at the centre.
_POINTS_PER_BIN = 32
# where densities are compared, in units of the largest eigenvalue, and a fraction that matters
_PLACES = np.array([-0.01, 0.01, 0.1])
_APPRECIABLE_FRACTION = 0.25


@register("HessianSpectrum")
class Spectrum(Result):
    """The Hessian's spectrum; for the spherical p-spin glass a semicircle, at any temperature."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield both edges, the negative fraction and a trace, at a few times.

        Where all eigenvalues were computed, and theory knows none, they are the exact ones. The
        edges of a glass have the shift of finite N of random matrices, see `_edge_shift`.
        """
        for k in spread(dataset.sizes["t"], 4):
            at = dataset.isel(t=k)
            t, everything = f"(t = {float(at['t']):.4g})", at.get("eigenvalues")
            yield from _edge_rows(at, t, everything)
            below = None if everything is None else (everything < at["zero"]).mean("eigenvalue")
            half_width = (at["negative_upper"] - at["negative_lower"]) / 2
            exact = at.get("negative_exact", below)
            yield estimate(f"negative fraction{t}", at["negative"], half_width, exact)
            yield _trace_row(at, t, everything)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return edges, density, and the outliers of a classifier or the negative fraction."""
        return [_edges, _density, _outliers if "classes" in dataset.attrs else _negative]

    def charts(self, dataset: Dataset, run: Records) -> list[Chart]:
        """Return the density of eigenvalues at the last time, in units of the largest."""
        return [_chart(dataset.isel(t=-1))]

    def estimates(self, dataset: Dataset, run: Records) -> Iterator[Estimate]:
        """Yield the edges and the density at the last time."""
        yield from _estimates(dataset.isel(t=-1))

    def exact(self, dataset: Dataset) -> Dataset:
        """Add edges, density and index of the semicircle around the measured mean mu.

        Its radius is 2 sqrt(f''(1)), with f the covariance of the couplings.
        """
        if dataset.attrs.get("theory") == "pspin" and "multiplier" in dataset:
            return _semicircle(dataset)
        return dataset


def _estimates(last: Dataset) -> Iterator[Estimate]:
    """Yield the edges of the spectrum, and how much of it is below a few places."""
    dof = last.sizes["replica"] - 1
    highest, lowest = (last[end].isel(rank=0) for end in ("highest", "lowest"))
    logarithm = highest.copy(data=np.log(highest.where(highest > 0).to_numpy()))
    value, error = (float(x) for x in mean_and_error(logarithm))
    yield Estimate("spectrum: ln λ_max", value, error, dof, system=system(last))
    value, error = (float(x) for x in mean_and_error(lowest / highest))
    yield Estimate("spectrum: λ_min / λ_max", value, error, dof, scale=max(abs(value), 0.01))
    places = _PLACES * highest.to_numpy()[:, None]  # (replica, place)
    below = np.stack([_cumulative(last, replica, at) for replica, at in enumerate(places)])
    R = len(below)
    errors = below.std(0, ddof=1) / R**0.5 if R > 1 else np.full(len(_PLACES), np.nan)
    name = f"spectrum: fraction below λ = {', '.join(f'{x:g}' for x in _PLACES)} λ_max"
    yield Estimate(name, below.mean(0), errors, dof, scale=_APPRECIABLE_FRACTION)


def _cumulative(last: Dataset, replica: int, at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fraction of eigenvalues of a replica below some places, linear within bins."""
    bins, fraction = last["edges"].to_numpy(), last["fraction"].isel(replica=replica).to_numpy()
    return np.asarray(np.interp(at, bins, np.concatenate([[0.0], np.cumsum(fraction)])))


def _chart(last: Dataset) -> Chart:
    """Return the density of eigenvalues in units of the largest."""
    width, unit = np.diff(last["edges"]), float(last["highest"].isel(rank=0).mean("replica"))
    mean = last["fraction"].mean("replica").to_numpy()
    error = _total_error(last["fraction"], last["fraction_scatter"])
    middle = (last["edges"].to_numpy()[1:] + last["edges"].to_numpy()[:-1]) / 2
    exact = last["density_exact"].to_numpy() * unit if "density_exact" in last else None
    seen = mean > 0
    x, y, error = middle / unit, mean / width * unit, error / width * unit
    curve = Curve(x[seen], y[seen], error[seen], None if exact is None else exact[seen])
    frame = Frame(
        r"$\lambda\;/\;\lambda_{\rm max}$",
        r"$\lambda_{\rm max}\,\rho(\lambda)$ at the last time",
        "symlog",
        "log",
        linear_below=1e-3,
    )
    return Chart("spectrum", frame, [curve])


def _semicircle(dataset: Dataset) -> Dataset:
    from lightning_landscape.theory.glasses.pspin import hessian_edges, mixture_from_json
    from lightning_landscape.theory.random_matrices import semicircle_density

    mixture = mixture_from_json(dataset.attrs["mixture"])
    mu = dataset["multiplier"].mean("replica").to_numpy()
    lower, upper = np.array([hessian_edges(mixture, m) for m in mu]).T
    radius = (upper[0] - lower[0]) / 2
    edges = dataset["edges"].to_numpy()
    inside = (np.arange(_POINTS_PER_BIN) + 0.5) / _POINTS_PER_BIN
    grid = edges[:, :-1, None] + np.diff(edges)[..., None] * inside  # (t, bin, point)
    density = [semicircle_density(x, radius, m).mean(-1) for x, m in zip(grid, mu, strict=True)]
    x = np.clip(mu / radius, -1, 1)
    return dataset.assign(
        lower_edge_exact=("t", lower),
        upper_edge_exact=("t", upper),
        density_exact=(("t", "bin"), np.array(density)),
        trace_of_square_exact=("t", (dataset.attrs["N"] - 1) * (mu**2 + radius**2 / 4)),
        negative_exact=("t", (np.arccos(x) - x * np.sqrt(1 - x**2)) / np.pi),
    ).assign_attrs(theory_reference="Cavagna, Giardina, Parisi 1998, PRB 57, 11251; N to infinity")


def _edge_rows(at: Dataset, t: str, everything: DataArray | None) -> Iterator[Row]:
    known = {"λ_max": at.get("upper_edge_exact"), "λ_min": at.get("lower_edge_exact")}
    if everything is not None and known["λ_max"] is None:
        known = {"λ_max": everything.max("eigenvalue"), "λ_min": everything.min("eigenvalue")}
    for name, end in (("λ_max", "highest"), ("λ_min", "lowest")):
        flag = "" if at[f"{end}_converged"].isel(rank=0).all() else ", not converged"
        values, residual = (at[f"{end}{of}"].isel(rank=0) for of in ("", "_residual"))
        found = estimate(f"{name}{t}{flag}", values, residual, known[name])
        if "upper_edge_exact" in at:
            inside = _edge_shift(at)
            found = replace(found, shift=inside if end == "highest" else inside.opposite)
        yield found


def _edge_shift(at: Dataset) -> Shift:
    """Return what finite N adds to the upper edge of a glass; the lower one has the opposite.

    At a random point the tangent Hessian less mu is an (N - 1) x (N - 1) matrix of the GOE with
    off-diagonal variance f''(1)/N. Points that a quench selects are not random: at late times, when
    most replicas are in minima, the lower edge is above what this says.
    """
    from lightning_landscape.theory.random_matrices import goe_largest_eigenvalue

    N, radius = at.attrs["N"], float(at["upper_edge_exact"] - at["lower_edge_exact"]) / 2
    expected = goe_largest_eigenvalue(N - 1, radius * (1 - 1 / N) ** 0.5)
    return Shift(expected - radius, 0.0, "Tracy-Widom")


def _trace_row(at: Dataset, t: str, everything: DataArray | None) -> Row:
    if "multiplier" in at:  # on the sphere, where theory knows the second moment
        N, square = at.attrs["N"], at["trace_of_square"]
        error, exact = at["trace_of_square_error"] / N, at.get("trace_of_square_exact")
        return estimate(f"tr H²{t}/N", square / N, error, None if exact is None else exact / N)
    total = None if everything is None else everything.sum("eigenvalue")
    return estimate(f"tr H{t}", at["trace"], at["trace_error"], total)


def _edges(dataset: Dataset, axes: Axes) -> None:
    """Both ends of the spectrum in time, the k leading eigenvalues of each."""
    for end, color in (("highest", "tab:red"), ("lowest", "tab:blue")):
        inner = dataset[end].isel(rank=slice(1, None)).mean("replica").transpose("t", "rank")
        axes.plot(dataset["t"], inner, color=color, linewidth=0.5, alpha=0.5)
        outermost = dataset[end].isel(rank=0)
        points(axes, dataset["t"], outermost, color=color, label=f"{end} $\\lambda$")
    for name in ("lower_edge_exact", "upper_edge_exact"):
        if name in dataset:
            axes.plot(dataset["t"], dataset[name], color="black", linewidth=1)
    axes.axhline(0, color="gray", linewidth=0.5)
    axes.set(xlabel="t", ylabel=r"$\lambda$")
    if not _is_linear(dataset):
        ends = np.abs(dataset[["highest", "lowest"]].isel(rank=0).to_array())
        axes.set_yscale("symlog", linthresh=max(1e-3 * float(ends.max()), 1e-30))
    logarithmic_time(dataset, axes)
    axes.legend()


def _density(dataset: Dataset, axes: Axes) -> None:
    """The density of eigenvalues at the last time, on a log axis; what it resolves is filled."""
    last = dataset.isel(t=-1)
    bins = last["edges"].to_numpy()
    width = np.diff(bins)
    mean = last["fraction"].mean("replica").to_numpy()
    error = _total_error(last["fraction"], last["fraction_scatter"])
    resolved = (last["resolution"].median("replica").to_numpy() <= width) & (mean > 0)
    # the scatter of the random vectors knows nothing of bins that are not resolved
    error = np.where(resolved, error, np.nan)
    density = mean / width
    axes.stairs(density, bins, color="tab:blue", label="measured")
    axes.stairs(
        np.where(resolved, density, 0), bins, color="tab:blue", alpha=0.2, fill=True,
        label="resolved",
    )  # fmt: skip
    centres = (bins[1:] + bins[:-1]) / 2
    log_errorbar(axes, centres, density, error / width, fmt="none", color="tab:blue")
    if "density_exact" in last:
        exact = last["density_exact"].where(last["density_exact"] > 0)
        axes.stairs(exact, bins, baseline=None, color="black", linewidth=1, label="semicircle")
    elif "eigenvalues" in last:
        counts = np.histogram(last["eigenvalues"], bins)[0] / last["eigenvalues"].size
        axes.stairs(counts / width, bins, color="black", linewidth=1, label="all eigenvalues")
    if not _is_linear(dataset):
        _symmetric_decades(bins, axes)
    occupied = np.flatnonzero(mean > 0)
    axes.set_xlim(bins[occupied[0]], bins[occupied[-1] + 1])
    axes.set(yscale="log", ylim=(density[occupied].min() / 3, None), xlabel=r"$\lambda$")
    axes.set_ylabel(rf"$\rho(\lambda)$ at t = {float(last['t']):.4g}")
    axes.legend()


def _symmetric_decades(bins: np.ndarray, axes: Axes) -> None:
    zero = float(bins[bins > 0].min())
    powers = 10.0 ** np.arange(np.ceil(np.log10(zero)), np.log10(bins[-1]), 2)
    axes.set_xscale("symlog", linthresh=zero)
    axes.set_xticks([*-powers[::-1], 0, *powers])


def _negative(dataset: Dataset, axes: Axes) -> None:
    """The fraction of negative eigenvalues in time, between its bounds."""
    t, value = dataset["t"], dataset["negative"].mean("replica")
    below = value - dataset["negative_lower"].mean("replica")
    above = dataset["negative_upper"].mean("replica") - value
    axes.errorbar(t, value, [below, above], fmt="o", label="measured, with bounds")
    if "negative_exact" in dataset:
        axes.plot(t, dataset["negative_exact"], color="black", linewidth=1, label="semicircle")
    axes.set(xlabel="t", ylabel="fraction of negative eigenvalues")
    logarithmic_time(dataset, axes)
    axes.legend()


def _outliers(dataset: Dataset, axes: Axes) -> None:
    """The highest eigenvalues by rank, and the number of classes."""
    times = spread(dataset.sizes["t"], _SHOWN_TIMES)
    for t, color in zip(times, shades(len(times)), strict=True):
        at = dataset.isel(t=t)
        ranks = np.arange(1, at.sizes["rank"] + 1)
        label = f"t = {float(at['t']):.4g}"
        points(axes, ranks, at["highest"], fmt="o-", color=color, label=label)
    classes = dataset.attrs["classes"]
    axes.axvline(classes, color="black", linewidth=1, label=f"{classes} classes")
    axes.set(yscale="log", xlabel="rank", ylabel=r"$\lambda$ from the highest down")
    axes.legend()


def _is_linear(dataset: Dataset) -> bool:
    return "multiplier" in dataset


def _total_error(values: DataArray, error: DataArray) -> np.ndarray:
    """Return the standard error of the mean over replicas, from their scatter or the estimates."""
    R = values.sizes["replica"]
    own = (error**2).sum("replica").to_numpy() ** 0.5 / R
    return own if R == 1 else np.maximum(own, mean_and_error(values)[1].to_numpy())
