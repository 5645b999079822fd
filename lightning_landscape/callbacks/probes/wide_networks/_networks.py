"""The networks whose layers or tangent kernel a probe measures."""

from __future__ import annotations

from torch import nn

from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.energies.regularized import WithL2

__all__ = ["network_energy"]


def network_energy(energy: nn.Module | None) -> NetworkEnergy | None:
    """Return the energy of networks, without a penalty on their weights; None if it is none."""
    inner = energy.energy if isinstance(energy, WithL2) else energy
    return inner if isinstance(inner, NetworkEnergy) else None
