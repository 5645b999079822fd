"""Random samples with random labels: they can be memorized, but not generalized from."""

from __future__ import annotations

import torch

from lightning_landscape.data._normalization import centred_on_sphere
from lightning_landscape.data.labelled_data import LabelledData
from lightning_landscape.errors import require_whole
from lightning_landscape.memory import require_memory
from lightning_landscape.rng import Stream

__all__ = ["RandomData"]


class RandomData(LabelledData):
    """x ~ N(0, 1)^d with labels that are independent of x.

    Sample mu has the label mu mod classes: since the x are exchangeable, these are random labels,
    and the classes are as balanced as possible. Test samples are drawn in the same way.

    With ``normalized`` the mean over the training samples is subtracted from every sample, also for
    testing, and each is rescaled to |x| = sqrt(d). With two classes these are the random data of
    Geiger et al. 2019, arXiv:1809.09349.

    Args:
        samples: P.
        dimension: d.
        classes: the number of labels.
        test_samples: the number of test samples.
        seed: seed of the samples.
        normalized: whether to subtract the mean and rescale every sample to |x| = sqrt(d).

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
        normalized: bool = False,
    ) -> None:
        sizes = {"samples": samples, "dimension": dimension, "test_samples": test_samples}
        for name, size in sizes.items():
            require_whole(name, size)
        require_whole("classes", classes, least=2)
        needed = 4 * dimension * (samples + test_samples)
        require_memory(needed, "samples", samples, f"lower it, or dimension = {dimension}")
        x = Stream(seed, "samples").normal_(torch.empty(samples, dimension), step=0)
        test = Stream(seed, "test samples").normal_(torch.empty(test_samples, dimension), step=0)
        if normalized:
            x, test = centred_on_sphere(x, test)
        labels, test_labels = torch.arange(samples), torch.arange(test_samples)
        super().__init__(x, labels % classes, test, test_labels % classes, classes)
