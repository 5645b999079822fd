"""What the spherical glasses share: start on the sphere, energy, and the parameters of theory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from lightning_landscape.energies.energy import Energy
from lightning_landscape.energies.glasses._polynomial import Interaction, energy
from lightning_landscape.errors import require
from lightning_landscape.memory import require_memory_of_replicas
from lightning_landscape.mixture import mixture_to_json
from lightning_landscape.rng import Stream
from lightning_landscape.sphere import Sphere

__all__ = ["Glass", "check_sizes", "uniform_start"]


class Glass(Energy):
    """H(x) = -sum_p P_p(x) on the sphere |x|^2 = N.

    Args:
        x: the start, shape (R, N).
        interactions: the P_p.
        mixture: the a_p of f(q) = sum_p a_p q^p.
        start_temperature: at which the start is in equilibrium, for all or for each replica.
    """

    extensive: ClassVar[bool] = True

    def __init__(
        self,
        x: Tensor,
        interactions: Iterable[Interaction],
        mixture: Mapping[int, float],
        start_temperature: float | list[float] = math.inf,
    ) -> None:
        super().__init__()
        self.replicas, self.mixture, self.start_temperature = len(x), mixture, start_temperature
        self.constraint = Sphere(x.shape[1])
        self.x = nn.Parameter(x)
        self.interactions = nn.ModuleList(interactions)

    def forward(self, batch: Tensor | None = None) -> Tensor:
        """Return H, shape (R,). A glass has no data: ``batch`` makes no difference."""
        return energy(self.x, cast(Sequence[Interaction], list(self.interactions)))

    def only(self, replicas: Tensor) -> Energy:
        """Return a glass of some of the replicas, each with its own disorder.

        Couplings that are not shared by all replicas are copied, unless all replicas are asked for.
        """
        for interaction in cast(Sequence[Interaction], list(self.interactions)):
            interaction.draw()  # once, for both
        some = super().only(replicas)
        assert isinstance(some, Glass)
        for interaction in cast(Sequence[Interaction], list(some.interactions)):
            interaction.keep(replicas)
        if isinstance(self.start_temperature, list):
            some.start_temperature = [self.start_temperature[r] for r in replicas.tolist()]
        return some

    def reference(self) -> dict[str, Any]:
        """Return the model and the start temperature, for the Cugliandolo-Kurchan equations."""
        return {
            "theory": "pspin",
            "mixture": mixture_to_json(self.mixture),
            "start_temperature": self.start_temperature,
            "N": self.N,
        }


def uniform_start(replicas: int, N: int, seed: int) -> Tensor:
    """Return uniform points on the sphere |x|^2 = N, shape (R, N), float64.

    Row r depends on the seed and r only.

    Raises:
        UsageError: they do not fit into memory.
    """
    require_memory_of_replicas(replicas, N)
    stream, x = Stream(seed, "start"), torch.empty(replicas, N, dtype=torch.float64)
    for r, row in enumerate(x):
        stream.normal_(row, step=r)
    return Sphere(N).retract_(x)


def check_sizes(N: int, replicas: int, dtype: str) -> torch.dtype:
    """Raise a `UsageError` for impossible sizes; return the dtype."""
    require(isinstance(N, int) and N >= 2, "N", N, "must be an integer of at least 2")
    require(isinstance(replicas, int) and replicas >= 1, "replicas", replicas, "must be at least 1")
    require(dtype in ("float32", "float64"), "dtype", dtype, "must be float32 or float64")
    return getattr(torch, dtype)
