"""Mini-batches as functions of the step: no state to save or replay."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from lightning_landscape.arguments import Checked
from lightning_landscape.errors import require, require_whole
from lightning_landscape.rng import Stream

__all__ = ["Batches"]


@dataclass(frozen=True)
class Batches(Checked):
    """The samples that each replica sees at each step: a pure function of (seed, step).

    Without replacement every epoch is a random permutation of the samples, cut into batches; a
    remainder of fewer than ``batch_size`` samples is not used in that epoch. With replacement every
    index is drawn independently. Replicas draw independently of each other, so that error bars over
    replicas include the noise of SGD, and the draws of replica r do not depend on the number of
    replicas.

    In a distributed run every rank takes its part of the same batch.

    Args:
        batch_size: B, over all ranks together.
        seed: seed of the draws.
        replacement: whether to draw with replacement.
        shared: whether all replicas see the same samples.

    Raises:
        UsageError: the batch size is out of range, or the seed is no integer.

    >>> batches = Batches(batch_size=2, seed=1)
    >>> epoch = torch.cat([batches(step, samples=6, replicas=3) for step in range(3)], dim=1)
    >>> epoch.sort(dim=1).values.tolist() == 3 * [[0, 1, 2, 3, 4, 5]]
    True
    """

    batch_size: int
    seed: int = 0
    replacement: bool = False
    shared: bool = False

    def __post_init__(self) -> None:
        require_whole("batch_size", self.batch_size)
        Stream(self.seed, "batches")  # which refuses what is no seed

    def __call__(
        self, step: int, samples: int, replicas: int, rank: int = 0, world_size: int = 1
    ) -> Tensor:
        """Return the indices at ``step``, int64 on the CPU: (R, B), or (B,) if shared.

        Args:
            step: the number of steps before this one.
            samples: P.
            replicas: R.
            rank: which part of the batch to return.
            world_size: the number of parts into which the batch is cut.

        Raises:
            UsageError: the batch is larger than the data, or not divisible by the world size.
        """
        B, parts = self.batch_size, world_size
        require(samples >= B, "batch_size", B, f"must be at most the {samples} samples")
        require(B % parts == 0, "batch_size", B, f"must be divisible by the {parts} processes")
        rows = 1 if self.shared else replicas
        if self.replacement:
            batch = Stream(self.seed, "batches").integers(samples, (rows, B), step)
        else:
            epoch, k = divmod(step, samples // B)
            batch = _permutations(self.seed, samples, rows, epoch)[:, k * B : (k + 1) * B]
        part = batch.chunk(parts, dim=1)[rank].clone()
        return part[0] if self.shared else part


# one entry for each of two runs in one process
@lru_cache(maxsize=2)
def _permutations(seed: int, samples: int, replicas: int, epoch: int) -> Tensor:
    streams = (Stream(seed, f"batches of replica {r}") for r in range(replicas))
    return torch.stack([stream.permutation(samples, step=epoch) for stream in streams])
