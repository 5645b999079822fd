"""A small set of real handwritten digits that needs no download."""

from __future__ import annotations

import torch

from lightning_landscape.data.labelled_data import LabelledData
from lightning_landscape.errors import require
from lightning_landscape.rng import Stream

__all__ = ["Digits"]


class Digits(LabelledData):
    """The 1797 handwritten digits of 8 x 8 pixels that come with scikit-learn.

    Samples have shape (1, 8, 8): one channel, for convolutions; `FullyConnected` flattens them to
    64 components. One shift and one scale factor, the same for all pixels, give the training
    samples mean 0 and variance 1, so that |x|^2 is about 64. The seed alone determines which
    samples are held out.

    Source: Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI repository.

    Args:
        test_fraction: fraction of the samples held out for testing, in (0, 1).
        parity: if true the classes are even (0) and odd (1), instead of the ten digits.
        seed: seed of the split into training and test samples.

    Raises:
        UsageError: the training or the test set would be empty.

    >>> data = Digits()
    >>> data.inputs.shape, data.test_inputs.shape, data.classes
    (torch.Size([1438, 1, 8, 8]), torch.Size([359, 1, 8, 8]), 10)
    """

    def __init__(self, test_fraction: float = 0.2, parity: bool = False, seed: int = 0) -> None:
        from sklearn.datasets import load_digits

        pixels, labels = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
        held_out = round(test_fraction * len(labels))
        sides = 0 < held_out < len(labels)
        require(sides, "test_fraction", test_fraction, "must leave training and test samples")
        order = Stream(seed, "test samples").permutation(len(labels), step=0)
        test, train = order[:held_out], order[held_out:]
        std, mean = torch.std_mean(pixels[train], correction=0)
        x = ((pixels - mean) / std).float().view(-1, 1, 8, 8)
        y = labels % 2 if parity else labels
        super().__init__(x[train], y[train], x[test], y[test], classes=2 if parity else 10)
