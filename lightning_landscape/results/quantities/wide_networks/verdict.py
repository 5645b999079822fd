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
    first_order,
    learning_rates,
    optimal_aspect_ratio,
)

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["table_and_verdict", "verdict"]

_DEEP = 100  # layers after which a flow has reached its fixed point, for a verdict
_KEPT = 0.1  # relative growth a layer that is called none
_CLOSE = 0.03  # relative deviation of C_W that is no more than the chance of one layer
_A_BLOCK = "a block is measured as a whole"
_CARRIED = 0.5  # chi_parallel above which a block has a skip connection
_IDENTITY = {
    True: "; let the blocks start as the identity: zero the weight of the last normalisation of "
    "each, nn.init.zeros_(norm.weight)",
    False: "; divide what each block adds by the square root of their number",
}
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
    return "\n".join([*lines, f"verdict     {verdict(first)}", *_how(first)])


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
    name = _nonlinearity(infos)
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
    if any(info["norm"] for info in infos):
        return
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
        vertex = first_order(critical, point.K if point.K > 0 else 1.0, L)
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
    between = {i["norm"] for i in infos if i["norm"]}
    between |= {n for i in infos if i["fan_in"] for n in _norms(i)}
    if between:
        yield (
            f"{', '.join(sorted(between))} sets K to its own scale whatever K was: χ∥ is 0 there, "
            "and the variance of the\n            weights below decides nothing"
        )
    within = {n for i in infos if not i["fan_in"] for n in _norms(i)}
    if within:
        yield (
            f"{', '.join(sorted(within))} within blocks: what they add has its own scale, whatever "
            "K and the weights are"
        )
    if _starts_normalized(infos):
        yield (
            f"χ⊥ of {infos[0]['name']} depends on the size of the inputs, as 1/K, "
            "and is left out of the verdict"
        )
    attention = sorted({n for i in infos for n in i["contains"] if "attention" in n.lower()})
    if attention:
        yield f"{', '.join(attention)}: no theory of independent neurons; all of it is measured"
    unknown = next((i for i in infos[:-1] if not i["activation"]), None)
    if unknown is not None and not attention:
        passes = ", ".join(unknown["passes"])
        reason = f"{passes} is more than one activation" if unknown["fan_in"] else _A_BLOCK
        yield f"theory ends at {unknown['name']}: {reason}"


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
    deep = Layer(name, C_W, C_b, skip).flow(max(float(first["K"][:, 0].mean()), 1e-6), _DEEP)
    parallel, perpendicular = deep.parallel[-1], deep.perpendicular[-1]
    if _is_close(critical, C_W, C_b):
        return "critical: signals and gradients keep their size, up to powers of the depth"
    advice = _advice(name, critical, C_W)
    if perpendicular < 1:
        return (
            f"subcritical: signals shrink by {parallel:.2g} a layer and gradients by "
            f"{perpendicular:.2g}, in square{advice}"
        )
    return (
        f"supercritical: gradients, and differences between signals, grow by {perpendicular:.3g} a "
        f"layer, in square{advice}"
    )


def _is_close(critical: Layer, C_W: float, C_b: float) -> bool:
    off = abs(C_W / critical.weight_variance - 1)
    off_b = abs(C_b - critical.bias_variance) / max(critical.bias_variance, 0.01)
    return off < _CLOSE and off_b < _CLOSE


def _advice(name: str, critical: Layer, C_W: float) -> str:
    default = abs(C_W - 1 / 3) < 0.02
    whose = f"; PyTorch's default, C_W = 1/3, is not meant for {name}" if default else ""
    use = f"use C_W = {critical.weight_variance:.6g}, C_b = {critical.bias_variance:.6g}"
    return f"{whose}; {use}"


def _measured_verdict(first: Dataset) -> str:
    """Return what the measured growth says, where theory does not reach."""
    infos = infos_of(first)
    end = -2 if len(infos) > 3 else -1  # what is pooled and read out at the end is no layer more
    start = 1 if _starts_normalized(infos) and len(infos) > 3 else 0
    perpendicular = first["perpendicular"].mean("replica").to_numpy()[start:end]
    growth = float(np.exp(np.nanmean(np.log(perpendicular))))
    where = f"a layer from {infos[start]['name']} to {infos[end]['name']}, in square"
    if abs(growth - 1) < _KEPT:
        return f"as measured, gradients keep their size: by {growth:.3g} {where}"
    said = f"as measured, gradients {'grow' if growth > 1 else 'shrink'} by {growth:.3g} {where}"
    norms = [norm for info in infos for norm in _norms(info)]
    carried = float(np.nanmean(first["parallel"].mean("replica").to_numpy()[start:end])) > _CARRIED
    blocks = not all(info["fan_in"] for info in infos[start:end])
    if growth > 1 and blocks and carried:
        return said + _IDENTITY[bool(norms)]
    if growth > 1 and any("BatchNorm" in norm for norm in norms):
        return f"{said}; batch normalisation does so at any C_W, and skip connections limit it"
    name = _tunable(infos)
    C_W, C_b = _variances(first)
    if not name or _is_close(critical := Layer.critical(name), C_W, C_b):
        return said
    return said + _advice(name, critical, C_W)


def _starts_normalized(infos: Sequence[dict[str, Any]]) -> bool:
    """Whether a normalisation takes the size of the inputs away behind the first layer."""
    return bool(_norms(infos[0])) or (not infos[1]["fan_in"] and bool(_norms(infos[1])))


def _tunable(infos: Sequence[dict[str, Any]]) -> str:
    """Return the activation of which the weights decide: no normalisation, and no blocks."""
    name = _nonlinearity(infos)
    free = all(info["fan_in"] and not _norms(info) for info in infos)
    return name if free and name and ACTIVATIONS[name].critical else ""


def _how(first: Dataset) -> Iterator[str]:
    """Yield how to set the variances in torch, where that is the advice."""
    name = _tunable(infos_of(first))
    if not name or "; use C_W" not in verdict(first):
        return
    layer = Layer.critical(name, float(first.attrs.get("skip", 0.0)))
    C_W, C_b = layer.weight_variance, layer.bias_variance
    bias = f"normal_(layer.bias, std={C_b**0.5:.4g})" if C_b > 0 else "zeros_(layer.bias)"
    yield (
        f"in torch    nn.init.normal_(layer.weight, std=({C_W:.6g} / fan_in) ** 0.5); "
        f"nn.init.{bias}"
    )


def _activation(infos: Sequence[dict[str, Any]]) -> str:
    """Return the one activation between all layers, or the empty string."""
    names = {info["activation"] for info in infos[:-1]}
    return next(iter(names)) if len(names) == 1 else ""


def _nonlinearity(infos: Sequence[dict[str, Any]]) -> str:
    """Return the one activation between all layers, whatever else is, or the empty string."""
    names = {info["activation"] or info["nonlinearity"] for info in infos[:-1]}
    return next(iter(names)) if len(names) == 1 else ""


def _variances(first: Dataset) -> tuple[float, float]:
    """Return C_W and C_b of the layers above the first, each layer counting the same."""
    inner = first.isel(layer=slice(1, None))
    return float(inner["weight_variance"].mean()), float(inner["bias_variance"].mean())
