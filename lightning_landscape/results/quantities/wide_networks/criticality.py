"""Criticality: K and both susceptibilities layer by layer, beside the theory of wide networks."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.activations import ACTIVATIONS
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row, Shift, estimate, row, spread
from lightning_landscape.theory.wide_networks import (
    GaussianAverages,
    Layer,
    first_order,
    metric_law,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["Criticality", "Predicted", "chance", "infos_of", "predicted"]

Array = NDArray[np.float64]
Infos = Sequence[dict[str, Any]]

_SYMBOLS = {"K": "K", "parallel": "χ∥", "perpendicular": "χ⊥"}
_LABELS = {"parallel": r"$\chi_\parallel$", "perpendicular": r"$\chi_\perp$"}
_REFERENCE = "Roberts, Yaida, Hanin 2021, arXiv:2106.10165"
_LEAST_WIDTH = 8
_VARIANCES = ("weight_variance", "bias_variance")


class Predicted(NamedTuple):
    """What the theory of infinite width gives for each layer, nan where it does not reach."""

    K: Array
    parallel: Array
    perpendicular: Array


@register("Criticality")
class Criticality(Result):
    """K, chi_parallel and chi_perp of every layer, in time."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield C_W beside the critical one, then K and chi of a few layers at the first time."""
        first = dataset.isel(t=0)
        yield from _of_initialization(first)
        for l in spread(dataset.sizes["layer"], 4):
            at = first.isel(layer=l)
            for name, symbol in _SYMBOLS.items():
                if not np.isnan(at[name]).all():
                    where = f"{at['layer'].item()} (t = {float(first['t']):g})"
                    yield _row(f"{symbol}, {where}", at, name, is_given=l == 0 and name == "K")
        if dataset.sizes["t"] > 1:
            last = dataset.isel(t=-1)
            for name in ("parallel", "perpendicular"):
                t = f"(t = {float(last['t']):.4g})"
                yield row(f"{_SYMBOLS[name]}, mean over layers {t}", last[name].mean("layer"))

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return K, and the susceptibilities, against the layer."""
        return [_kernel, _susceptibilities]

    def exact(self, dataset: Dataset) -> Dataset:
        """Add the theory at the variances of weights and biases that the layers have."""
        infos = infos_of(dataset)
        K1 = dataset["K"].isel(layer=0).mean("replica")
        skip = float(dataset.attrs.get("skip", 0.0))
        C_W, C_b = (dataset[name].mean("replica").to_numpy() for name in _VARIANCES)
        of_times = [predicted(infos, C_W[k], C_b[k], float(K1[k]), skip) for k in range(len(C_W))]
        for name in Predicted._fields:
            values = np.stack([getattr(found, name) for found in of_times])
            dataset[f"{name}_exact"] = (("t", "layer"), values)
        dataset["chance"] = ("layer", chance(infos, C_W[0], C_b[0], float(K1[0]), skip))
        dataset["chance"].attrs["long_name"] = "standard deviation of ln K over networks"
        return dataset.assign_attrs(theory_reference=_REFERENCE)


def infos_of(dataset: Dataset) -> list[dict[str, Any]]:
    """Return what a record says of the layers; see `LayerInfo`."""
    infos: list[dict[str, Any]] = json.loads(dataset.attrs["layers"])
    return infos


def predicted(infos: Infos, C_W: Array, C_b: Array, K1: float, skip: float = 0.0) -> Predicted:
    r"""Return K and the susceptibilities of the layers at infinite width, from K of the first.

    Layer by layer K' = C_b + C_W <sigma^2>_K + gamma^2 K and so on, see `Layer`, with C_W and C_b
    of the layer above. Dropout that keeps a neuron with probability p divides C_W by p. A
    normalisation in front of sigma replaces K by K_0 = mean gamma^2 + beta^2; then chi_parallel = 0
    and chi_perp = C_W <sigma'^2>_{K_0} K_0 / K. Batch normalisation divides by the variance over
    the batch instead of K, which is known behind another one: C_W (<sigma^2> - <sigma>^2)_{K_0}.
    So gradients of ReLU networks grow by pi / (pi - 1) a layer, at any C_W (Yang et al. 2019,
    arXiv:1902.08129).

    Args:
        infos: what the layers are, and what is between them; see `LayerInfo`.
        C_W: of each layer, shape (L,).
        C_b: of each layer.
        K1: K of the first layer.
        skip: gamma, of all but the first and the last layer.
    """
    L = len(infos)
    found = Predicted(*(np.full(L, np.nan) for _ in range(3)))
    K, over_batch = K1, math.nan
    for l, info in enumerate(infos):
        found.K[l] = K
        end = l + 1 == L or not info["activation"] or math.isnan(C_W[l + 1])
        if end or not K > 0:
            break
        own_skip = skip if 0 < l + 1 < L - 1 else 0.0
        layer = Layer(info["activation"], C_W[l + 1] / info["keep"], C_b[l + 1], own_skip)
        if info["norm"]:
            K0, of_batch = info["normalized"], "BatchNorm" in info["norm"]
            found.parallel[l] = 0.0
            found.perpendicular[l] = layer.perpendicular(K0) * K0 / (over_batch if of_batch else K)
            over_batch = _variance_over_batch(layer, K0) if of_batch else math.nan
            K = layer.kernel(K0)
        else:
            found.parallel[l], found.perpendicular[l] = layer.parallel(K), layer.perpendicular(K)
            K, over_batch = layer.kernel(K), math.nan
    return found


def _variance_over_batch(layer: Layer, K0: float) -> float:
    """Return C_W (<sigma^2> - <sigma>^2): what independent inputs do not share of K'."""
    average = GaussianAverages(layer.sigma, K0)
    return layer.weight_variance * (average.square - average.mean(average.value) ** 2)


def chance(infos: Infos, C_W: Array, C_b: Array, K1: float, skip: float = 0.0) -> Array:
    """Return by how much ln K of one network and one input differs by chance, shape (L,).

    The square is the variance of ln G, of the exact law of the metric without skip connections and
    at leading order with them, and 2/n for the n neurons of which K is the mean. nan for layers
    that are not all linear maps of 8 or more neurons with one activation between them.

    Args:
        infos: what the layers are; see `LayerInfo`.
        C_W: of each layer, shape (L,).
        C_b: of each layer.
        K1: K of the first layer.
        skip: gamma.
    """
    L = len(infos)
    kinds = {(info["activation"], info["norm"], info["keep"]) for info in infos[:-1]}
    widths = [info["width"] for info in infos]
    plain = len(kinds) == 1 and all(info["kind"] == "Linear" for info in infos)
    activation, norm, keep = next(iter(kinds))
    if not plain or norm or keep < 1 or not activation or min(widths[:-1]) < _LEAST_WIDTH:
        return np.full(L, np.nan)
    layer = Layer(activation, float(C_W[1:].mean()), float(C_b[1:].mean()), skip)
    if skip > 0:
        flow = first_order(layer, K1, L)
        variance = flow.V / flow.K**2 / widths[0]
    else:
        law = metric_law(layer, K1, tuple(widths[:-1]), L)
        has_biases = layer.bias_variance > 0  # the law knows ln (G - C_b)
        variance = np.log1p(law.variance / law.mean**2) if has_biases else law.log_variance
    return np.sqrt(variance + 2 / np.array(widths))


def _row(quantity: str, at: Dataset, name: str, is_given: bool) -> Row:
    """Return a row; one network may differ from theory by chance, several average over it."""
    exact = at.get(f"{name}_exact")
    if exact is None or np.isnan(exact) or is_given:
        exact = None
    measured = estimate(quantity, at[name], at[f"{name}_error"], exact)
    by_chance = float(at.get("chance", math.nan))
    if at.sizes["replica"] > 1 or name != "K" or exact is None or math.isnan(by_chance):
        return measured
    shift = Shift(0.0, by_chance * float(exact), "chance at this width")
    return Row(measured.quantity, measured.measured, measured.error, measured.exact, shift=shift)


def _of_initialization(first: Dataset) -> Iterator[Row]:
    """Yield the variances of the inner layers beside the critical ones of their activation."""
    infos = infos_of(first)
    names = {info["activation"] for info in infos[:-1]}
    sigma = ACTIVATIONS.get(next(iter(names))) if len(names) == 1 else None
    inner = first.isel(layer=slice(1, None))
    share = 1 - float(first.attrs.get("skip", 0.0)) ** 2
    for symbol, name in (("C_W", "weight_variance"), ("C_b", "bias_variance")):
        values = inner[name].mean("layer")
        if np.isnan(values).any():
            continue
        known = sigma is not None and sigma.critical
        critical = share * getattr(sigma, name) if known else math.nan
        yield Row(f"{symbol}, mean over layers", float(values.mean()), math.nan, critical,
                  source=f"critical for {sigma.name}" if known and sigma else "")  # fmt: skip


def _kernel(dataset: Dataset, axes: Axes) -> None:
    """K against the layer at the first and the last time, with theory and what chance gives."""
    l = np.arange(1.0, dataset.sizes["layer"] + 1)
    if "K_exact" in dataset:
        exact = dataset["K_exact"].isel(t=0)
        axes.plot(l, exact, color="black", linewidth=1, label=r"theory, $n=\infty$")
        low, high = (exact * np.exp(sign * dataset["chance"]) for sign in (-1, 1))
        axes.fill_between(l, low, high, color="gray", alpha=0.3, label="chance, one network")
    for k, color in {0: "tab:blue", dataset.sizes["t"] - 1: "tab:orange"}.items():
        _layers(axes, l, dataset, "K", k, color=color, label=f"t = {float(dataset['t'][k]):.4g}")
    axes.set(yscale="log", xlabel="layer", ylabel="$K$")
    axes.legend()


def _susceptibilities(dataset: Dataset, axes: Axes) -> None:
    """Both susceptibilities at the first time, and what theory gives."""
    l = np.arange(1.0, dataset.sizes["layer"] + 1)
    axes.axhline(1, color="gray", linewidth=0.5)
    for name, color in (("parallel", "tab:green"), ("perpendicular", "tab:red")):
        if f"{name}_exact" in dataset:
            axes.plot(l, dataset[f"{name}_exact"].isel(t=0), color=color, linewidth=1)
        _layers(axes, l, dataset, name, 0, color=color, label=_LABELS[name])
    axes.set(xlabel="layer", ylabel="susceptibility")
    axes.legend(title=f"t = {float(dataset['t'][0]):g}; lines: theory")


def _layers(axes: Axes, l: Array, dataset: Dataset, name: str, k: int, **look: Any) -> None:
    """Draw means over replicas, with errors over them, or over samples for one."""
    at = dataset.isel(t=k)
    R = at.sizes["replica"]
    scatter = at[name].std("replica", ddof=1) / R**0.5 if R > 1 else at[f"{name}_error"][0]
    error = np.nan_to_num(scatter)
    axes.errorbar(l, at[name].mean("replica"), error, fmt="o", markersize=4, **look)
