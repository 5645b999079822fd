"""The samples that one rank evaluates, of those that several ranks share out."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.energies.energy import Energy
from lightning_landscape.energies.networks.architectures import Architecture

__all__ = ["DataPart", "can_share_data"]


class DataPart:
    """A part of the data: the mean over the ranks of what they find is that of all samples.

    Args:
        energy: a mean over samples.
        index: which part this rank has.
        parts: how many there are.
    """

    def __init__(self, energy: Energy, index: int, parts: int) -> None:
        P = energy.samples
        self.index, self.parts = index, parts
        self._own = torch.arange(index * P // parts, (index + 1) * P // parts)
        self._weight = len(self._own) * parts / P

    def samples(self, device: torch.device) -> Tensor:
        """Return the samples of this rank where all count, int64; the same tensor every time."""
        self._own = self._own.to(device)
        return self._own

    def weight(self, batch: Tensor | None) -> float:
        """Return what the mean over ``batch`` counts in the mean over the ranks."""
        return self._weight if batch is self._own else 1.0


def can_share_data(energy: Energy, parts: int) -> bool:
    """Return whether the energy is the mean of those of so many parts of its data.

    It is none where samples see each other, as in batch normalisation.
    """
    networks = [m for m in energy.modules() if isinstance(m, Architecture)]
    together = any(network.samples_together is not None for network in networks)
    return energy.samples >= parts and not together
