"""Criticality: how signals and gradients pass the layers of the networks of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.probes.wide_networks._networks import network_energy
from lightning_landscape.callbacks.times import Times
from lightning_landscape.callbacks.view import EnergyFn, View
from lightning_landscape.energies.copies import Copies
from lightning_landscape.energies.networks.architectures import FullyConnected
from lightning_landscape.energies.networks.replicated import Replicated
from lightning_landscape.errors import UsageError, require, require_whole
from lightning_landscape.observables.wide_networks import (
    LayerInfo,
    Signals,
    layers_of,
    module_signals,
    signals,
)
from lightning_landscape.parallel import Reduction

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["Criticality", "measured"]

_OF_LAYERS = ("weight_variance", "bias_variance")


class Criticality(Probe):
    r"""Measure K, chi_parallel and chi_perp layer by layer, at time 0 and on a log grid.

    K^l is the mean of z^2 over the neurons of layer l and the samples, chi_parallel = dK^{l+1}/dK^l
    says how a signal's size passes to the next layer, and chi_perp by how much the square of a
    gradient does; both are 1 where a network is critical. They are measured by forward-mode
    derivatives, so that any layers can be between. The record has the theory of wide networks
    beside them, as far as it reaches: for linear maps and convolutions with one activation in
    between, which a normalisation may precede; and by how much one network of this width differs
    from it by chance.

    Energies are `NetworkEnergy` of `FullyConnected` or `Replicated` networks, or `WithL2` of it; of
    fully connected ones also `Copies` and `WithField`.
    In a foreign project signals are those of the training step, with dropout and normalisation as
    in training, and a layer is a linear map, a convolution, or a repeated block; see
    `module_signals`.

    Cost: about three forward passes of ``samples`` samples; in a foreign project two evaluations
    of the loss on the current batch, with twice its memory.

    Args:
        first: first time > 0 after time 0 (the step size times the number of steps; in a foreign
            project the number of steps).
        last: last time; later ones are not measured.
        per_decade: points in a factor of ten.
        samples: how many training samples of a run of ours are passed through, at most.
        layers: in a foreign project, names of submodules to measure at.
        activation: in a foreign project, the activation that is called as a function.
        seed: of the random directions.
        loss_fn: the energy of a foreign module, ``loss_fn(pl_module, batch)``; see `View`.
        options: ``name`` and ``strict``, see `Probe`.

    Raises:
        UsageError: an argument is out of range, or the run has no layers.

    Source: Roberts, Yaida & Hanin 2021, arXiv:2106.10165, chapter 5.
    """

    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        **dict.fromkeys((*Signals._fields, *_OF_LAYERS), ("t", "replica", "layer")),
    }
    variable_attributes: ClassVar[dict[str, dict[str, str]]] = {
        "K": {"long_name": "mean of z^2"},
        "parallel": {"long_name": "chi_parallel, from this layer to the next"},
        "perpendicular": {"long_name": "chi_perpendicular, from this layer to the next"},
        "weight_variance": {"long_name": "C_W, mean of W^2 times the fan-in"},
        "bias_variance": {"long_name": "C_b, mean of b^2"},
    }
    reductions: ClassVar[dict[str, Reduction]] = dict.fromkeys(Signals._fields, "mean")
    reference = "Roberts, Yaida, Hanin 2021, arXiv:2106.10165"

    def __init__(
        self,
        first: float = 1,
        last: float = 1_000_000,
        per_decade: int = 3,
        samples: int = 100,
        layers: list[str] | None = None,
        activation: str = "",
        seed: int = 0,
        loss_fn: EnergyFn | None = None,
        **options: Any,
    ) -> None:
        require_whole("samples", samples)
        super().__init__(Times.log(first, last, per_decade), loss_fn, **options)
        self.samples, self.layers, self.activation, self.seed = samples, layers, activation, seed

    def prepare(self, view: View) -> str:
        """Check that there are layers; the tables start with the first measurement."""
        self.results = {}
        if view.landscape is None:
            layers_of(view.system, self.layers)
        else:
            _architecture(view)
        return f"at most {len(self._steps)} measurements, of about three forward passes each"

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Append what the layers do at this time."""
        with view.measuring():
            found, infos = self._measured(view)
        if "layers" not in self.results:
            text = json.dumps([asdict(info) for info in infos[0]])
            self.results["layers"] = torch.tensor(list(text.encode()), dtype=torch.uint8)
        variances = {
            name: torch.tensor([[getattr(info, name) for info in layers] for layers in infos])
            for name in _OF_LAYERS
        }
        self.append(view, {**found._asdict(), **variances})
        last = {"K": found.K[:, -1], "perpendicular": found.perpendicular[:, -2]}
        return {name: value.mean().item() for name, value in last.items()}

    def _measured(self, view: View) -> tuple[Signals, list[list[LayerInfo]]]:
        if view.landscape is None:
            how = self.layers, self.activation, self.seed
            found, infos = module_signals(view.system, view.energy, *how)
            return found, [infos]
        energy = network_energy(view.landscape)
        assert energy is not None
        assert view.landscape is not None
        parameters = tuple(view.landscape.parameters())
        net, x = _architecture(view), energy.inputs[: self.samples]
        return measured(net, x, self.seed, parameters)

    def describe(self, view: View) -> dict[str, Any]:
        """Return what the record says of the run, with the skip connections."""
        energy = network_energy(view.landscape)
        net = None if energy is None else energy.architecture
        skip = net.skip if isinstance(net, FullyConnected) else 0.0
        return super().describe(view) | {"skip": skip}

    def dataset(self) -> Dataset:
        """Return the tables with the names of the layers, and what the layers are."""
        infos = json.loads(bytes(self.results["layers"].tolist()))
        dataset = super().dataset().assign_coords(layer=[info["name"] for info in infos])
        return dataset.assign_attrs(layers=json.dumps(infos))


def measured(
    net: FullyConnected | Replicated,
    x: Tensor,
    seed: int = 0,
    parameters: Sequence[Tensor] | None = None,
) -> tuple[Signals, list[list[LayerInfo]]]:
    """Return what the layers of R networks do to signals, and what the layers of each are.

    Args:
        net: the networks.
        x: inputs, shape (P, ...).
        seed: of the random directions.
        parameters: of fully connected networks; None takes those of ``net``.
    """
    if isinstance(net, FullyConnected):
        parameters = tuple(net.parameters()) if parameters is None else parameters
        return signals(net, x, seed, parameters), _layers(net, parameters)
    found, infos = [], []
    for r in range(len(net.stacks[0])):
        module = net.copy_of(r)
        of_one, layers = module_signals(module, partial(module, x), seed=seed)
        found.append(of_one)
        infos.append(layers)
    return Signals(*(torch.cat(parts) for parts in zip(*found, strict=True))), infos


def _architecture(view: View) -> FullyConnected | Replicated:
    energy = network_energy(view.landscape)
    net = view.landscape if energy is None else energy.architecture
    if not isinstance(net, FullyConnected | Replicated):
        raise UsageError(
            f"energy = {type(net).__name__}: Criticality measures the layers of networks; "
            "use NetworkEnergy with FullyConnected or Replicated networks"
        )
    copies = any(isinstance(part, Copies) for part in view.system.modules())
    if copies and not isinstance(net, FullyConnected):
        raise UsageError(
            f"energy = {type(view.landscape).__name__}: Criticality measures copies of fully "
            "connected networks only; use the energy without copies"
        )
    deep = not isinstance(net, FullyConnected) or len(net.widths) > 2
    require(deep, "widths", getattr(net, "widths", ()), "must have a hidden layer")
    return net


def _layers(net: FullyConnected, parameters: Sequence[Tensor]) -> list[list[LayerInfo]]:
    """Return what the layers of each network are."""
    L = len(parameters) // 2
    columns, last = [], L - 1
    for l, (W, b) in enumerate(zip(parameters[:L], parameters[L:], strict=True)):
        n, m = W.shape[1:]
        C_W = (W.detach().double().square().mean((1, 2)) * m).tolist()
        C_b = b.detach().double().square().mean(1).tolist()
        sigma = net.sigma.name if l < last else ""
        columns.append(
            [
                LayerInfo(f"layer {l + 1}", "Linear", m, n, *variances, activation=sigma)
                for variances in zip(C_W, C_b, strict=True)
            ]
        )
    return [list(layers) for layers in zip(*columns, strict=True)]
