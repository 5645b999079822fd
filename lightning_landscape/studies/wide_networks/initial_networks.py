"""InitialNetworks: signals in networks of several classes at initialisation, beside the theory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_landscape.activations import ActivationName
from lightning_landscape.energies.networks.architectures import FullyConnected
from lightning_landscape.errors import require, require_whole
from lightning_landscape.observables.wide_networks import InitialSignals, initial_signals
from lightning_landscape.rng import Stream
from lightning_landscape.studies.ensembles.rounds import (
    EnsembleRound,
    one_by_one,
    recorded_points,
)
from lightning_landscape.studies.study import Compute, Result, Study
from lightning_landscape.studies.table import columns
from lightning_landscape.theory.wide_networks import (
    Layer,
    MetricLaw,
    criticality,
    first_order,
    metric_law,
)

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["Family", "InitialNetworks"]

Array = NDArray[np.float64]

_TOGETHER = 2**24  # weights at a time
_LEAST_WIDTH = 8  # of the exact law
_TAIL, _NODES = 1e-6, 300  # of an average over the law


@dataclass(frozen=True)
class Family:
    """Networks of one kind, at their critical initialisation unless variances are given.

    Args:
        activation: sigma.
        width: n, of all layers.
        skip: gamma.
        weight_variance: C_W.
        bias_variance: C_b.
    """

    activation: ActivationName
    width: int
    skip: float = 0.0
    weight_variance: float | None = None
    bias_variance: float | None = None

    @property
    def layer(self) -> Layer:
        """The layer of the theory."""
        net = self.networks(1, 1, 0)
        return Layer(self.activation, net.weight_variance, net.bias_variance, self.skip)

    def start(self, K1: float | None) -> float:
        """Return K of the first layer."""
        if K1 is not None:
            return K1
        point = criticality(self.activation) if self.weight_variance is None else None
        return point.K if point is not None and point.K > 0 else 1.0

    def networks(self, depth: int, replicas: int, seed: int) -> FullyConnected:
        """Return networks with ``depth`` layers of width n below an output."""
        given = self.weight_variance, self.bias_variance
        widths = [self.width] * (depth + 1)
        return FullyConnected(
            [*widths, 1], self.activation, replicas, seed, *given, dtype="float32", skip=self.skip
        )


class InitialNetworks(Study):
    r"""Draws networks and measures their metric and susceptibilities layer by layer.

    Of every layer of each network the metric G, the variance of its preactivations given the layer
    below, and both susceptibilities, see `initial_signals`, for one input.
    Recorded are, of each seed, the mean of G over its networks, V / n relative to its square, which
    without skip connections is the variance of G, the variance of ln (G - C_b), and the mean
    susceptibilities. Beside them stand the exact law at this width without skip connections, and
    the leading order with them.

    Args:
        families: the kinds of networks.
        depth: L, layers.
        networks: of one seed.
        seeds: of each family.
        K1: of the first layer; None takes the fixed point K* of the family where there is one
            above 0, and 1 elsewhere.
        seed: of the first.

    Raises:
        UsageError: a number is out of range, or a family has no critical initialisation.

    Source: Roberts, Yaida & Hanin 2021, arXiv:2106.10165, chapters 4 and 5.
    """

    name: ClassVar[str] = "initial_networks"
    dims: Mapping[str, tuple[str, ...]] = dict.fromkeys(
        ("mean", "relative_variance", "log_variance", "parallel", "perpendicular"), ("layer",)
    )

    def __init__(
        self,
        families: list[Family],
        depth: int = 8,
        networks: int = 200,
        seeds: int = 8,
        K1: float | None = None,
        seed: int = 0,
    ) -> None:
        require(len(families) >= 1, "families", families, "must be at least one")
        for name, number in {"depth": depth, "networks": networks, "seeds": seeds}.items():
            require_whole(name, number, 2)
        require(K1 is None or K1 > 0, "K1", K1, "must be > 0")
        for family in families:
            require_whole("width", family.width, _LEAST_WIDTH)
            required = "must be more than C_b of every family"
            require(family.layer.bias_variance < family.start(K1), "K1", K1, required)
        self.families, self.seeds = families, seeds
        self._draws = _Draws(tuple(families), depth, networks, K1, seed)

    @property
    def compute(self) -> Compute:
        """Draws the networks of the seeds of a share."""
        return one_by_one(self._draws.run)

    def next(self, recorded: Sequence[Result]) -> EnsembleRound | None:
        """Return the first family that is not recorded."""
        done = recorded_points(recorded, ["kind"])
        every = range(len(self.families))
        return next((EnsembleRound((k,)) for k in every if (k,) not in done), None)

    def dataset(self, recorded: Sequence[Result]) -> Dataset:
        """Return all seeds along ``run``, and the theory of each family along ``family``."""
        from xarray import Dataset

        depth, K1 = self._draws.depth, self._draws.K1
        theory = [_theory(family, depth, family.start(K1)) for family in self.families]
        names = ("mean", "relative_variance", "log_variance", "parallel", "perpendicular", "nu")
        exact = {
            f"{name}_exact": (("family", "layer"), np.stack([t[name] for t in theory]))
            for name in names
        }
        of_families = {
            f"family_{name}": ("family", [getattr(family, name) for family in self.families])
            for name in ("activation", "width", "skip")
        }
        attributes = {
            "probe": "InitialNetworks",
            "replicas": self.seeds * self._draws.networks,
            "reference": "Roberts, Yaida, Hanin 2021, arXiv:2106.10165",
        }
        layers = {"layer": np.arange(1, depth + 1)}
        return Dataset(columns(recorded, self.dims) | exact | of_families, layers, attributes)

    def line(self, each: EnsembleRound, new: Sequence[Result]) -> str:
        """Return the relative variance of the metric of the last layer."""
        family = self.families[int(each.point[0])]
        variance = np.mean([result["relative_variance"][-1] for result in new])
        skip = f", skip {family.skip:g}" if family.skip else ""
        return (
            f"{family.activation}, n = {family.width}{skip}: Var G / (E G)^2 = {variance:.4f} "
            f"in layer {self._draws.depth}"
        )


@dataclass(frozen=True)
class _Draws:
    """How the networks of a seed are drawn; it can be pickled."""

    families: tuple[Family, ...]
    depth: int
    networks: int
    K1: float | None
    seed: int

    def run(self, each: EnsembleRound, seed: int) -> Result:
        k = int(each.point[0])
        family, stream = self.families[k], Stream(self.seed + seed, f"networks of family {k}")
        layer = family.layer
        x = torch.ones(1, family.width)
        x *= ((family.start(self.K1) - layer.bias_variance) / layer.weight_variance) ** 0.5
        together = max(1, _TOGETHER // (family.width**2 * self.depth))
        parts = []
        for block, start in enumerate(range(0, self.networks, together)):
            R = min(together, self.networks - start)
            net = family.networks(self.depth, R, stream.key(block))
            parts.append(torch.stack(list(initial_signals(net, x)))[:, :, : self.depth, 0])
        whole = InitialSignals(*torch.cat(parts, dim=1))
        G, parallel, perpendicular, _ = (each.numpy() for each in whole)
        found = {
            "mean": G.mean(0),
            "relative_variance": whole.vertex().numpy() / G.mean(0) ** 2,
            "log_variance": np.log(G - layer.bias_variance).var(0, ddof=1),
            "parallel": parallel.mean(0),
            "perpendicular": perpendicular.mean(0),
        }
        place = {"kind": k, "activation": family.activation, "width": family.width}
        return place | {"seed": self.seed + seed} | {n: x.tolist() for n, x in found.items()}


@cache
def _theory(family: Family, depth: int, K1: float) -> dict[str, Array]:
    """Return what is known of the layers of a family, shape (L,) each."""
    layer = family.layer
    flow, vertex = layer.flow(K1, depth), first_order(layer, K1, depth)
    leading = vertex.V / vertex.K**2
    found = {"parallel": flow.parallel, "perpendicular": flow.perpendicular}
    l = np.arange(depth)
    found["nu"] = np.divide(leading, l, out=np.full(depth, np.nan), where=l > 0)
    if family.skip > 0:
        variance = leading / family.width
        unknown = np.full(depth, np.nan)
        return found | {"mean": flow.K, "relative_variance": variance, "log_variance": unknown}
    law = metric_law(layer, K1, family.width, depth)
    found["perpendicular"] = _mean_perpendicular(layer, law, flow.perpendicular)
    return found | {
        "mean": law.mean,
        "relative_variance": law.variance / law.mean**2,
        "log_variance": law.log_variance,
    }


def _mean_perpendicular(layer: Layer, law: MetricLaw, flow: Array) -> Array:
    """Return the mean of chi_perp over the exact law of the metric, for each layer."""
    later = range(2, len(flow) + 1)
    low = min(law.quantile(max(_TAIL, 2 * law.atom[l - 1]), l) for l in later)
    high = max(law.quantile(1 - _TAIL, l) for l in later)
    G = np.geomspace(low, high, _NODES)
    chi, found = np.array([layer.perpendicular(K) for K in G]), flow.copy()
    for l in later:
        weight = law.density(G, l) * G
        found[l - 1] = weight @ chi / weight.sum()
    return found
