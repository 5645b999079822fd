"""The networks whose layers or tangent kernel a probe measures."""

from __future__ import annotations

from torch import nn

from lightning_landscape.energies.copies import Copies
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.energies.regularized import WithL2

__all__ = ["network_energy"]


def network_energy(energy: nn.Module | None) -> NetworkEnergy | None:
    """Return the energy of networks, without a penalty on their weights; None if it is none.

    Parameters are to be taken from ``energy`` itself: where it holds copies of the networks, or
    twins in opposite fields, these are its own.
    """
    while isinstance(energy, WithL2 | Copies):
        energy = energy.energy
    return energy if isinstance(energy, NetworkEnergy) else None
