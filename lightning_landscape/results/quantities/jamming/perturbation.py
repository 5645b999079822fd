"""Data perturbations of a jamming scan: avalanches, and the last jammed minima."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lightning_landscape.observables.exponents import PowerLaw, fit_size_law
from lightning_landscape.observables.gaps import (
    JAMMED_ABOVE,
    SATISFIED_BELOW,
    hinge_loss,
    log_counts,
    size_density,
    transition_exponents,
    unsatisfied,
)
from lightning_landscape.results.axes import log_errorbar
from lightning_landscape.results.quantities.jamming.gaps import SATISFIED, UNSATISFIED, draw_side
from lightning_landscape.results.quantities.jamming.runs import SOURCE, mean_row
from lightning_landscape.results.table import Row
from lightning_landscape.theory.jamming import NETWORKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import DataArray, Dataset

    from lightning_landscape.results.registry import Panel

__all__ = ["avalanche_sizes", "exit_ratios", "is_decompressed", "last_minima", "panels", "rows"]


def avalanche_sizes(dataset: Dataset) -> DataArray:
    """Return the sizes of avalanches (run, change), nan where a network was not jammed before."""
    jammed = dataset["change_unsatisfied"] > JAMMED_ABOVE * dataset["N"]
    before = jammed.shift(change=1, fill_value=False)
    return dataset["avalanche"].where(before).isel(change=slice(1, None))


def is_decompressed(dataset: Dataset) -> bool:
    """Return whether changes made P smaller, and there were jammed minima on the way."""
    P = dataset["change_P"]
    return bool((P.isel(change=-1) < P.isel(change=0)).any() and dataset["gap"].notnull().any())


def exit_ratios(dataset: Dataset) -> DataArray:
    """Return P/N after the change at which each network left the jammed phase, nan if none did."""
    jammed = dataset["change_unsatisfied"] > JAMMED_ABOVE * dataset["N"]
    left = jammed.shift(change=1, fill_value=False) & ~jammed
    return dataset["change_P"].where(left).max("change") / dataset["N"]


def last_minima(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Return the gaps (n, P) and the losses (n,) of the last minima of the n networks with one."""
    gaps = torch.from_numpy(dataset["gap"].to_numpy())
    gaps = gaps[~gaps.isnan().all(1)]
    losses = [hinge_loss(row[~row.isnan()][None]) for row in gaps]
    return gaps, torch.cat([*losses, torch.empty(0, dtype=torch.float64)])


def rows(place: str, jammed: Dataset, jump: float) -> Iterator[Row]:
    """Yield the mean avalanche size and tau, and numbers of the last minima before the transition.

    Args:
        place: where the networks are in the scan, in words.
        jammed: the jammed networks there.
        jump: the published N_Delta/N at the transition, or nan.
    """
    sizes = avalanche_sizes(jammed)
    yield mean_row(f"avalanche ({place})", sizes.mean("change").dropna("run"))
    control = jammed["avalanche"].isel(change=0)
    yield mean_row(f"the same without a change ({place})", control)
    law = fit_size_law(sizes, 1, int(jammed["P"].max()))
    if np.isfinite(law.exponent):
        yield _exponent(f"τ of avalanche sizes ({place})", law, -law.exponent)
    if is_decompressed(jammed):
        yield from _minima_rows(place, jammed, jump)


def _minima_rows(place: str, jammed: Dataset, jump: float) -> Iterator[Row]:
    """Yield where networks left the jammed phase, and numbers of their last jammed minima."""
    exits = exit_ratios(jammed).dropna("run")
    if n := exits.sizes["run"]:
        note = f"of the {n} of {jammed.sizes['run']} that did"
        yield replace(mean_row(f"P/N where they ceased to jam ({place})", exits), note=note)
    gaps, loss = last_minima(jammed)
    if not len(loss):
        return
    N = int(jammed["N"][0])
    yield mean_row(f"L of the last minima ({place})", loss)
    yield mean_row(f"N_Δ/N of the last minima ({place})", unsatisfied(gaps) / N, jump)
    theta, gamma = transition_exponents(gaps, loss)
    for name, fit, s, known in (
        ("θ", theta, theta.exponent, NETWORKS.theta),
        ("γ", gamma, -gamma.exponent, NETWORKS.gamma),
    ):
        if np.isfinite(s):
            yield _exponent(f"{name} of the last minima ({place})", fit, s, known)


def _exponent(name: str, fit: PowerLaw, exponent: float, known: float = math.nan) -> Row:
    note = f"on [{fit.low:g}, {fit.high:g}], p = {fit.p_value:.2g}"
    return Row(name, exponent, fit.error_bar, known, SOURCE, note)


def panels(dataset: Dataset) -> list[Panel]:
    """Return N_Delta, loss and gaps along the changes if P became smaller, and the avalanches."""
    along = [_number, _loss, _gaps] if is_decompressed(dataset) else []
    return [*along, _avalanches]


def _number(dataset: Dataset, axes: Axes) -> None:
    """N_Delta / N of each network that was jammed against P/N, change after change."""
    jammed = dataset.isel(run=np.flatnonzero(dataset["jammed"]))
    N_Delta = jammed["change_unsatisfied"] / jammed["N"]
    axes.plot((jammed["change_P"] / jammed["N"]).T, N_Delta.T, ".-", linewidth=1)
    axes.axhline(0.5, color="black", linewidth=1, linestyle=":")
    axes.set(xlabel="P / N after each change", ylabel=r"$N_\Delta / N$")


def _loss(dataset: Dataset, axes: Axes) -> None:
    """The loss of each network that was jammed against P/N, change after change."""
    jammed = dataset.isel(run=np.flatnonzero(dataset["jammed"]))
    L = jammed["change_loss"].where(jammed["change_loss"] >= SATISFIED_BELOW)
    axes.plot((jammed["change_P"] / jammed["N"]).T, L.T, ".-", linewidth=1)
    axes.set(yscale="log", xlabel="P / N after each change", ylabel="loss")


def _gaps(dataset: Dataset, axes: Axes) -> None:
    """The gaps of the last minima on both sides, with the laws fitted to them."""
    gaps, loss = last_minima(dataset)
    theta, gamma = transition_exponents(gaps, loss)
    edges = torch.logspace(-9, 4, 131, dtype=torch.float64)
    rescaled = gaps / loss.sqrt()[:, None]
    for side, fit, x in ((UNSATISFIED, theta, rescaled), (SATISFIED, gamma, -gaps)):
        law = ((fit.low, fit.high), fit.exponent)
        draw_side(axes, log_counts(x, edges).numpy(), edges.numpy(), side, law)
    axes.set(xscale="log", yscale="log", xlabel="gap", ylabel="density in the last minima")
    axes.legend()


def _avalanches(dataset: Dataset, axes: Axes) -> None:
    """The distribution of the sizes of avalanches in the jammed phase, and the control."""
    control = dataset["avalanche"].isel(change=0)[np.flatnonzero(dataset["jammed"])]
    for sizes, label in (
        (avalanche_sizes(dataset), "after a change"),
        (control, "without a change"),
    ):
        S = torch.from_numpy(sizes.to_numpy().astype(float)).nan_to_num()
        x, density, error = (values.numpy() for values in size_density(S))
        log_errorbar(axes, x, density, error, markersize=4, label=label)
    axes.set(xscale="log", yscale="log", xlabel="avalanche size S", ylabel="P(S)")
    axes.set_xlim(left=0.8)  # a size is 1 at least
    axes.legend()
