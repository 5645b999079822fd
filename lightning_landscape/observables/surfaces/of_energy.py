"""An energy on a cut, many points at once on the replica axis."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.energies.energy import Energy, HasData
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.energies.regularized import WithL2
from lightning_landscape.errors import require
from lightning_landscape.observables.surfaces._of_network import is_fast, network_on
from lightning_landscape.observables.surfaces.cut import Cut

__all__ = ["energy_on"]


@checked
def energy_on(
    energy: Energy, cut: Cut, replica: int = 0, split: str = "train"
) -> Callable[[Tensor], Tensor]:
    """Return the function that gives the energies (B,) at coordinates (B, D) of a cut.

    The B points are the replicas of one evaluation. On a sphere |x|^2 = N each point of the cut is
    moved to sqrt(N) x / |x|. The energy itself stays where it is.

    Cost: an evaluation of the energy a point. In fully connected networks the first layer, whose
    inputs are the same at every point, costs D + 1 multiplications for all points together.
    Memory: 2 B N numbers, and what an evaluation of B replicas takes.

    Args:
        energy: whose landscape it is.
        cut: in its space of configurations.
        replica: whose data, couplings or penalty define the landscape.
        split: ``train`` for the energy, ``test`` for that of the held-out data, without penalties.

    Raises:
        UsageError: a cut of another N, no such replica, or an energy without held-out data.

    >>> from lightning_landscape.energies import Quadratic
    >>> line = Cut(torch.zeros(2), torch.tensor([[0.0, 1.0]]))
    >>> energy_on(Quadratic([1.0, 3.0]), line)(torch.tensor([[0.0], [2.0]]))
    tensor([0., 6.])
    """
    N = len(cut.origin)
    require(energy.N == N, "cut", f"of {N} coordinates", f"must have {energy.N}, as the energy")
    known = 0 <= replica < energy.replicas
    require(known, "replica", replica, f"must be 0 … {energy.replicas - 1}")
    require(split in ("train", "test"), "split", split, "must be train or test")
    held_out = split == "train" or isinstance(energy, HasData)
    require(held_out, "split", split, "needs an energy with held-out data")
    if (fast := _fast(energy, cut, replica, split)) is not None:
        return fast
    one, sized = energy.only(torch.tensor([replica])), dict[int, Energy]()

    @torch.no_grad()
    def values(coordinates: Tensor) -> Tensor:
        B = len(coordinates)
        if B not in sized:
            sized.clear()  # the last chunk of a grid is smaller; two sizes need not be kept
            sized[B] = one.only(torch.zeros(B, dtype=torch.int64))
        x, copies = cut.at(coordinates), sized[B]
        copies.place(x if copies.constraint is None else copies.constraint.retract_(x))
        if split == "train":
            return copies()
        assert isinstance(copies, HasData)
        return copies.evaluate("test")["energy"]

    return values


def _fast(energy: Energy, cut: Cut, replica: int, split: str) -> Callable[[Tensor], Tensor] | None:
    """Return the function for a fully connected network, with its penalty, or None for others."""
    inner = energy.energy if isinstance(energy, WithL2) else energy
    if not is_fast(inner, cut):
        return None
    assert isinstance(inner, NetworkEnergy)
    with torch.no_grad():
        network = network_on(inner, cut, split)
    if inner is energy or split == "test":
        return torch.no_grad()(network)
    assert isinstance(energy, WithL2)
    strength = energy.strengths[replica]
    rows = torch.cat([cut.origin[None], cut.directions]).double()
    products = rows @ rows.T

    @torch.no_grad()
    def penalized(coordinates: Tensor) -> Tensor:
        c = torch.cat([coordinates.new_ones(len(coordinates), 1), coordinates], dim=1).double()
        loss = network(coordinates)
        return loss + (strength * torch.linalg.vecdot(c @ products, c)).to(loss)

    return penalized
