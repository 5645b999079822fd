"""Signals in networks at initialisation: the metric and its fluctuations, class by class."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_landscape.results.axes import shades
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row
from lightning_landscape.theory.wide_networks import optimal_aspect_ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import DataArray, Dataset

__all__ = ["InitialNetworks"]


class _Family(NamedTuple):
    """The seeds of a family, and what theory knows of it."""

    name: str
    kind: str
    width: int
    skip: float
    seeds: Dataset
    exact: Dataset

    def mean(self, name: str) -> DataArray:
        return self.seeds[name].mean("run")

    def error(self, name: str) -> DataArray:
        return self.seeds[name].std("run", ddof=1) / self.seeds.sizes["run"] ** 0.5

    @property
    def has_heavy_tail(self) -> bool:
        """Whether there are too few networks, < 10 exp(4 Var ln G), for a direct second moment."""
        if self.skip:
            return False
        variance = float(self.exact["log_variance_exact"][-1])
        return bool(self.seeds.attrs["replicas"] < 10 * math.exp(4 * variance))


@register("InitialNetworks")
class InitialNetworks(Result):
    """Var G, K and chi_perp of networks of several classes; see `studies.wide_networks`."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield Var G in the last layer of each family, l (1 - chi_perp), and nu of n → ∞.

        Where the tail of G is too heavy for the number of networks, only Var ln G is given.
        """
        families = _families(dataset)
        for family in families:
            yield from _of_family(family)
        kinds = defaultdict(list)
        for family in families:
            kinds[family.kind].append(family)
        for kind, members in kinds.items():
            if len(members) > 1 and not any(family.has_heavy_tail for family in members):
                yield from _nu(kind, sorted(members, key=lambda family: family.width))

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return Var G against l/n, K against l, and l (1 - chi_perp)."""
        return [_fluctuations, _kernel, _exponent]


def _families(dataset: Dataset) -> list[_Family]:
    found = []
    for k in range(dataset.sizes["family"]):
        seeds = dataset.isel(run=np.flatnonzero(dataset["kind"] == k))
        if not seeds.sizes["run"]:
            continue
        exact = dataset.isel(family=k)
        width, skip = int(exact["family_width"]), float(exact["family_skip"])
        kind = f"{exact['family_activation'].item()}" + (f", γ² = {skip**2:.2g}" if skip else "")
        found.append(_Family(f"{kind}, n = {width}", kind, width, skip, seeds, exact))
    return found


def _of_family(family: _Family) -> Iterator[Row]:
    L = int(family.seeds["layer"][-1])
    at_leading_order = "order 1/n" if family.skip else ""
    symbols = {"relative_variance": "V / n K²"}
    if not family.skip:
        symbols = {"log_variance": "Var ln (G - C_b)"}
        if not family.has_heavy_tail:
            symbols["relative_variance"] = "Var G / K²"
    for name, symbol in symbols.items():
        yield _row(family, name, f"{symbol} ({family.name}, l = {L})", -1, at_leading_order)
    l = L - 1  # the last one from which chi leads to another layer
    at = family.mean("perpendicular")[l - 1], family.error("perpendicular")[l - 1]
    exact, source = (
        float(family.exact["perpendicular_exact"][l - 1]),
        "n → ∞" if family.skip else "",
    )
    measured, error = l * (1 - float(at[0])), l * float(at[1])
    quantity = f"l (1 - χ⊥) ({family.name}, l = {l})"
    yield Row(quantity, measured, error, l * (1 - exact), elsewhere=source)


def _row(family: _Family, name: str, quantity: str, layer: int, source: str) -> Row:
    measured, error = (float(x[layer]) for x in (family.mean(name), family.error(name)))
    exact = float(family.exact[f"{name}_exact"][layer])
    return Row(quantity, measured, error, exact, elsewhere=source)


def _nu(kind: str, members: list[_Family]) -> Iterator[Row]:
    """Yield V / ((l - 1) K^2) of the two largest widths, extrapolated, and r* from it."""
    L = int(members[0].seeds["layer"][-1])
    small, large = members[-2:]
    a, b = (
        (m.width * m.seeds["relative_variance"].isel(layer=-1) / (L - 1)) for m in (small, large)
    )
    # nu(n) = nu + c / n
    weight = large.width / (large.width - small.width)
    value = weight * float(b.mean()) + (1 - weight) * float(a.mean())
    errors = [float(x.std(ddof=1)) / x.size**0.5 for x in (a, b)]
    error = math.hypot(weight * errors[1], (1 - weight) * errors[0])
    exact = float(members[0].exact["nu_exact"][-1])
    yield Row(f"ν ({kind}, l = {L})", value, error, exact, note="n → ∞ from two widths")
    if value < 2 * error:  # nu > 0 is not established
        return
    best = optimal_aspect_ratio(value)
    yield Row(f"r* ({kind}, l = {L})", best, best * error / value, optimal_aspect_ratio(exact))


def _colours(families: list[_Family]) -> dict[str, object]:
    return dict(zip((f.name for f in families), shades(len(families)), strict=True))


def _fluctuations(dataset: Dataset, axes: Axes) -> None:
    """Var G / K^2 against l / n, with the exact law of each width."""
    families = _families(dataset)
    colours = _colours(families)
    for family in families:
        r = (dataset["layer"].to_numpy()[1:] - 1) / family.width
        measured = family.mean("relative_variance")[1:], family.error("relative_variance")[1:]
        colour = colours[family.name]
        exact = family.exact["relative_variance_exact"][1:]
        axes.plot(r, exact, color=colour, linewidth=1, linestyle="--" if family.skip else "-")
        axes.errorbar(r, *measured, fmt="o", markersize=3, color=colour, label=family.name)
    axes.set(xscale="log", yscale="log", xlabel=r"$(l-1)/n$", ylabel=r"$\mathrm{Var}\,G/K^2$")
    axes.text(0.03, 0.97, "lines: exact, dashed: order 1/n", va="top", transform=axes.transAxes)


def _kernel(dataset: Dataset, axes: Axes) -> None:
    """The mean metric against l, with its exact value."""
    families = _families(dataset)
    colours = _colours(families)
    for family in families:
        l, colour = dataset["layer"], colours[family.name]
        axes.plot(l, family.exact["mean_exact"], color=colour, linewidth=1)
        mean = family.mean("mean"), family.error("mean")
        axes.errorbar(l, *mean, fmt="o", markersize=3, color=colour, label=family.name)
    axes.set(xscale="log", yscale="log", xlabel="l", ylabel=r"$\mathrm{E}\,G$")
    axes.legend(fontsize="x-small", loc="lower left")


def _exponent(dataset: Dataset, axes: Axes) -> None:
    """The decay of chi_perp, l (1 - chi_perp), against l, with its value at infinite width."""
    families = _families(dataset)
    colours = _colours(families)
    for family in families:
        l, colour = dataset["layer"][:-1], colours[family.name]
        axes.plot(l, l * (1 - family.exact["perpendicular_exact"][:-1]), color=colour, linewidth=1)
        mean, error = (family.mean("perpendicular")[:-1], family.error("perpendicular")[:-1])
        axes.errorbar(l, l * (1 - mean), l * error, fmt="o", markersize=3, color=colour)
    for p in (0, 1, 2):
        axes.axhline(p, color="gray", linewidth=0.5)
    axes.set(xlabel="l", ylabel=r"$l\,(1-\chi_\perp)$")
