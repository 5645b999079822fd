"""Fully connected networks on a cut: the first layer is multiplied once for all points."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_landscape.energies.networks.architectures import FullyConnected
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.energies.networks.slices import even_slices
from lightning_landscape.observables.surfaces.cut import Cut
from lightning_landscape.replicas import unflatten

__all__ = ["is_fast", "network_on"]

_MOST_BYTES = 2**30  # of what is kept of the first layer
_BLOCK_BYTES = 2**23  # of activations at a time: several points share what is read of z_k


def is_fast(energy: object, cut: Cut) -> bool:
    """Whether `network_on` can be used for an energy."""
    if not isinstance(energy, NetworkEnergy) or not isinstance(energy.architecture, FullyConnected):
        return False
    if len(energy.architecture.widths) == 2:  # there is nothing but the first layer
        return False
    samples = max(len(energy.inputs), len(energy.get_buffer("test_inputs")))
    numbers = (cut.dimensions + 1) * energy.architecture.widths[1] * samples
    return numbers * cut.origin.element_size() <= _MOST_BYTES


def network_on(energy: NetworkEnergy, cut: Cut, split: str) -> Callable[[Tensor], Tensor]:
    r"""Return the function that gives the mean losses (B,) at coordinates (B, D).

    z^1 = W^1 x + b^1 is linear in the weights, so that on the cut z^1(c) = z_0 + \sum_k c_k z_k
    with the z of its origin and of its directions, which are computed once. What is left of an
    evaluation are the other layers.

    Args:
        energy: of fully connected networks; its configurations are not used.
        cut: in the space of one replica.
        split: ``train`` or ``test``.
    """
    prefix = "" if split == "train" else "test_"
    x, y = energy.get_buffer(f"{prefix}inputs").flatten(1), energy.get_buffer(f"{prefix}targets")
    net = energy.architecture
    assert isinstance(net, FullyConnected)
    terms = unflatten(torch.cat([cut.origin[None], cut.directions]), net.parameters())
    layers = len(terms) // 2
    W, b = terms[0], terms[layers]
    blocks = []
    for part in even_slices(len(x), net.block_samples):
        first = torch.baddbmm(b.unsqueeze(2), W, x[part].T.expand(len(W), -1, -1))
        blocks.append((first, y[part]))
    values = net.values_per_sample(()) * len(blocks[0][1]) * x.element_size()
    at_once = max(1, _BLOCK_BYTES // values)

    room = x.new_empty(at_once * blocks[0][0][0].numel())  # kept: fresh memory costs more

    def some(coordinates: Tensor) -> Tensor:
        c = torch.cat([coordinates.new_ones(len(coordinates), 1), coordinates], dim=1).to(x)
        parameters = list(terms)  # those of the first layer are not used
        for k in (*range(1, layers), *range(layers + 1, 2 * layers)):
            parameters[k] = torch.tensordot(c, terms[k], dims=1)
        total = torch.zeros(len(c), dtype=x.dtype, device=x.device)
        for z, targets in blocks:
            first = room[: len(c) * z[0].numel()].view(len(c), -1)
            torch.mm(c, z.flatten(1), out=first)
            outputs = net.outputs_from(parameters, first.view(len(c), *z.shape[1:]))
            total += len(targets) / len(x) * energy.mean_loss(outputs, targets)
        return total

    return lambda coordinates: torch.cat([some(part) for part in coordinates.split(at_once)])
