"""What is said of the criticality of a network: the table of its layers, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_landscape.activations import ACTIVATIONS
from lightning_landscape.errors import UsageError
from lightning_landscape.observables.statistics import mean_and_error
from lightning_landscape.results.quantities.wide_networks.criticality import infos_of
from lightning_landscape.results.table import with_error
from lightning_landscape.theory.wide_networks import (
    Criticality,
    Layer,
    criticality,
    learning_rates,
    metric_vertex,
    optimal_aspect_ratio,
)

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["table_and_verdict", "verdict"]

_DEEP = 100  # layers after which a flow has reached its fixed point, for a verdict
_CLOSE = 0.03  # relative deviation of C_W that is no more than the chance of one layer
_LAWS = {
    "scale-invariant": "K keeps any value",
    "vanishing": "K ~ 1/l",
    "vanishing, kinked": "K ~ 1/l²",
    "half-stable": "K stays at K* = {K:.4g}",
}


def table_and_verdict(dataset: Dataset) -> str:
    """Return the layers, what theory says of networks of their class, and one sentence.

    Args:
        dataset: a record of `Criticality` with its exact curves; the first time is judged.
    """
    first = dataset.isel(t=0)
    lines = [*_layers(first), "", *_class(first), *_notes(infos_of(first))]
    return "\n".join([*lines, f"verdict     {verdict(first)}"])


# the table


def _layers(first: Dataset) -> Iterator[str]:
    infos, R = infos_of(first), first.sizes["replica"]
    head = ["layer", "width", "K", "theory", "± chance", "χ∥", "theory", "χ⊥", "theory", "then"]
    cells = [head]
    for l, info in enumerate(infos):
        at = first.isel(layer=l)
        by_chance = float(at["K_exact"] * at["chance"])
        columns = [info["name"], str(info["width"] or info["kind"]), _measured(at, "K", R)]
        columns += [_number(float(at["K_exact"])), _number(by_chance)]
        for name in ("parallel", "perpendicular"):
            columns += [_measured(at, name, R), _number(float(at[f"{name}_exact"]))]
        cells.append([*columns, ", ".join(info["passes"]) or info["activation"]])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
    kind = f"standard errors over {R} networks" if R > 1 else "standard errors over the samples"
    yield f"in parentheses: {kind}; chance: standard deviation of one network with one input"


def _measured(at: Dataset, name: str, R: int) -> str:
    if np.isnan(at[name]).all():
        return ""
    mean, error = mean_and_error(at[name]) if R > 1 else (at[name][0], at[f"{name}_error"][0])
    return with_error(float(mean), float(error))


def _number(x: float) -> str:
    return "" if math.isnan(x) else f"{x:.4g}"


# what theory says of the class


def _class(first: Dataset) -> Iterator[str]:
    infos = infos_of(first)
    name = _activation(infos)
    if not name:
        yield "class       unknown: there is not one activation between all layers"
        return
    try:
        point = criticality(name)
    except UsageError as error:
        yield f"class       none: {error}"
        return
    skip = float(first.attrs.get("skip", 0.0))
    C_W, C_b = _variances(first)
    critical = Layer.critical(name, skip)
    law = _LAWS[point.kind].format(K=point.K)
    yield f"class       {point.kind}: {law} ({name})"
    yield (
        f"critical at C_W = {critical.weight_variance:.6g}, C_b = {critical.bias_variance:.6g}; "
        f"here C_W = {C_W:.4g}, C_b = {C_b:.4g}"
    )
    yield from _rates(name, infos)
    yield from _aspect_ratio(point, critical, infos)


def _rates(name: str, infos: Sequence[dict[str, Any]]) -> Iterator[str]:
    rates = learning_rates(name, len(infos))
    fan_in = np.array([info["fan_in"] for info in infos])
    if not fan_in.all():
        return
    of_weights = ", ".join(f"{x:.3g}" for x in rates.weight / fan_in)
    of_biases = ", ".join(f"{x:.3g}" for x in rates.bias)
    yield f"SGD rates   of the layers, in units of one rate: weights {of_weights}"
    yield f"            biases {of_biases}"


def _aspect_ratio(
    point: Criticality, critical: Layer, infos: Sequence[dict[str, Any]]
) -> Iterator[str]:
    widths = [info["width"] for info in infos]
    if not all(widths) or any(info["kind"] != "Linear" for info in infos):
        return
    r = sum(1 / n for n in widths[:-1])
    nu = point.nu
    if critical.skip > 0:
        L = len(infos)
        vertex = metric_vertex(critical, point.K if point.K > 0 else 1.0, L)
        nu = float(vertex.V[-1] / vertex.K[-1] ** 2 / (L - 1))
    best = optimal_aspect_ratio(nu, widths[-1])
    yield (
        f"L/n         {r:.3g}; nu = {nu:.3g}: from network to network the metric varies by "
        f"{math.sqrt(nu * r):.2g} of itself"
    )
    yield (
        f"r*          {best:.3g} for {widths[-1]} outputs: the L/n at which a truncated series has "
        "its maximum;"
    )
    yield "            read it as the order of magnitude from which on fluctuations hurt"


def _notes(infos: Sequence[dict[str, Any]]) -> Iterator[str]:
    norms = sorted({i["norm"] for i in infos if i["norm"]} | {n for i in infos for n in _norms(i)})
    if norms:
        yield (
            f"{', '.join(norms)} sets K to its own scale whatever K was: chi_parallel is 0 there, "
            "and the variance of the\n            weights below decides nothing"
        )
    attention = sorted({n for i in infos for n in i["contains"] if "attention" in n.lower()})
    if attention:
        yield f"{', '.join(attention)}: no theory of independent neurons; all of it is measured"
    unknown = next((i for i in infos[:-1] if not i["activation"]), None)
    if unknown is not None and not attention:
        passes = ", ".join(unknown["passes"]) or unknown["kind"]
        yield f"theory ends at {unknown['name']}: {passes} is more than one activation"


def _norms(info: dict[str, Any]) -> list[str]:
    return [name for name in (*info["contains"], *info["passes"]) if "norm" in name.lower()]


# the verdict


def verdict(first: Dataset) -> str:
    """Return one sentence: critical, subcritical or supercritical, and what to do."""
    infos = infos_of(first)
    name = _activation(infos)
    plain = name and not any(info["norm"] for info in infos)
    if not plain:
        return _measured_verdict(first)
    sigma, skip = ACTIVATIONS[name], float(first.attrs.get("skip", 0.0))
    C_W, C_b = _variances(first)
    if not sigma.critical:
        return f"{name} is critical at no initialisation; use another activation, such as gelu"
    critical = Layer.critical(name, skip)
    use = f"use C_W = {critical.weight_variance:.6g}, C_b = {critical.bias_variance:.6g}"
    deep = Layer(name, C_W, C_b, skip).flow(max(float(first["K"][:, 0].mean()), 1e-6), _DEEP)
    parallel, perpendicular = deep.parallel[-1], deep.perpendicular[-1]
    off = C_W / critical.weight_variance - 1
    off_b = abs(C_b - critical.bias_variance) / max(critical.bias_variance, 0.01)
    if abs(off) < _CLOSE and off_b < _CLOSE:
        return "critical: signals and gradients keep their size, up to powers of the depth"
    default = abs(C_W - 1 / 3) < 0.02
    whose = f"; PyTorch's default, C_W = 1/3, is not meant for {name}" if default else ""
    if perpendicular < 1:
        return (
            f"subcritical: signals shrink by {parallel:.2g} a layer and gradients by "
            f"{perpendicular:.2g}, in square{whose}; {use}"
        )
    return (
        f"supercritical: gradients, and differences between signals, grow by {perpendicular:.3g} a "
        f"layer, in square{whose}; {use}"
    )


def _measured_verdict(first: Dataset) -> str:
    """Return what the measured growth says, where theory does not reach."""
    perpendicular = first["perpendicular"].mean("replica").to_numpy()
    growth = float(np.exp(np.nanmean(np.log(perpendicular))))
    if abs(growth - 1) < 0.1:
        change = f"keep their size: by {growth:.3g} a layer, in square"
    else:
        change = f"{'grow' if growth > 1 else 'shrink'} by {growth:.3g} a layer, in square"
    return f"as measured, where theory does not reach all layers, gradients {change}"


def _activation(infos: Sequence[dict[str, Any]]) -> str:
    """Return the one activation between all layers, or the empty string."""
    names = {info["activation"] for info in infos[:-1]}
    return next(iter(names)) if len(names) == 1 else ""


def _variances(first: Dataset) -> tuple[float, float]:
    """Return C_W and C_b of the layers above the first, each layer counting the same."""
    inner = first.isel(layer=slice(1, None))
    return float(inner["weight_variance"].mean()), float(inner["bias_variance"].mean())
