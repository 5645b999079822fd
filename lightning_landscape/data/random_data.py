"""Random samples with random labels: nothing to learn but the data themselves."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.data.dataset import Dataset
from lightning_landscape.errors import require
from lightning_landscape.rng import Stream

__all__ = ["RandomData"]


class RandomData(Dataset):
    """x ~ N(0, 1)^d with labels that are independent of x.

    Sample mu has label mu mod classes: as the x are exchangeable, these are random labels, and the
    classes are as balanced as can be. The test samples are drawn alike.

    Args:
        samples: P.
        dimension: d.
        classes: how many labels there are.
        test_samples: how many samples to hold out.
        seed: of the samples.

    Raises:
        UsageError: an argument is out of range.

    >>> RandomData(samples=4, dimension=10, classes=2).targets
    tensor([0, 1, 0, 1])
    """

    def __init__(
        self,
        samples: int,
        dimension: int,
        classes: int = 2,
        test_samples: int = 1000,
        seed: int = 0,
    ) -> None:
        sizes = {"samples": samples, "dimension": dimension, "test_samples": test_samples}
        for name, size in sizes.items():
            require(size >= 1, name, size, "must be at least 1")
        require(classes >= 2, "classes", classes, "must be at least 2")

        def x(P: int, name: str) -> Tensor:
            return Stream(seed, name).normal_(torch.empty(P, dimension), step=0)

        super().__init__(
            x(samples, "samples"),
            torch.arange(samples) % classes,
            x(test_samples, "test samples"),
            torch.arange(test_samples) % classes,
            classes,
        )
