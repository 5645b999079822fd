"""Subsets of a data set, and new splits into training and test samples."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lightning_landscape.data.labelled_data import LabelledData
from lightning_landscape.errors import require
from lightning_landscape.rng import Stream

__all__ = ["Resplit", "Subset"]


class Subset(LabelledData):
    """A subset of the training samples: random, or with given class fractions.

    Without class fractions the samples are drawn at random. With class fractions the number of
    samples in each class is exact (to the nearest sample), the samples of a class are drawn at
    random, and the classes are interleaved evenly: two equal classes alternate, 0, 1, 0, 1. With
    the same seed, a smaller random or balanced subset is the beginning of a larger one.

    On the effect of class imbalance: Francazi, Baity-Jesi & Lucchi 2023, arXiv:2207.00391.

    Args:
        data: the data set to draw from.
        samples: P, the number of training samples.
        class_fractions: one fraction per class, summing to 1; ``equal`` for balanced classes; None
            for a random draw.
        test_samples: the number of test samples, drawn at random; None keeps all.
        seed: seed of the draws.

    Raises:
        UsageError: there are too few samples, or the fractions are invalid.

    >>> from lightning_landscape.data import RandomData
    >>> data = RandomData(1000, dimension=3, classes=2)
    >>> Subset(data, samples=8, class_fractions=[0.75, 0.25]).targets
    tensor([0, 0, 1, 0, 0, 0, 1, 0])
    """

    def __init__(
        self,
        data: LabelledData,
        samples: int,
        class_fractions: list[float] | Literal["equal"] | None = None,
        test_samples: int | None = None,
        seed: int = 0,
    ) -> None:
        P, P_test = len(data.targets), len(data.test_targets)
        _require_available("samples", samples, P)
        some_test = P_test if test_samples is None else test_samples
        _require_available("test_samples", some_test, P_test)
        rows = Stream(seed, "subset").permutation(P, step=0)
        if class_fractions is None:
            rows = rows[:samples]
        else:
            rows = _of_classes(rows, data, _numbers(class_fractions, samples, data.classes))
        test_inputs, test_targets = data.test_inputs, data.test_targets
        if some_test < P_test:
            drawn = Stream(seed, "test subset").permutation(P_test, step=0)[:some_test]
            test_inputs, test_targets = test_inputs[drawn], test_targets[drawn]
        super().__init__(
            data.inputs[rows], data.targets[rows], test_inputs, test_targets, data.classes
        )


class Resplit(LabelledData):
    """Training and test samples pooled and split again at random.

    Args:
        data: the samples.
        test_samples: the number of samples to hold out; the others are for training.
        seed: seed of the split.

    Raises:
        UsageError: the training or the test set would be empty.

    >>> from lightning_landscape.data import RandomData
    >>> len(Resplit(RandomData(800, dimension=3, test_samples=200), test_samples=50).targets)
    950
    """

    def __init__(self, data: LabelledData, test_samples: int, seed: int = 0) -> None:
        x = torch.cat([data.inputs, data.test_inputs])
        y = torch.cat([data.targets, data.test_targets])
        _require_available("test_samples", test_samples, len(y) - 1)
        order = Stream(seed, "new division").permutation(len(y), step=0)
        test, train = order[:test_samples], order[test_samples:]
        super().__init__(x[train], y[train], x[test], y[test], data.classes)


def _require_available(name: str, wanted: int, available: int) -> None:
    whole = isinstance(wanted, int) and 1 <= wanted <= available
    require(whole, name, wanted, f"must lie in 1 … {available}, a whole number")


def _numbers(fractions: list[float] | Literal["equal"], samples: int, classes: int) -> Tensor:
    """Return the number of samples per class, shape (classes,), by largest remainders."""
    given = [1 / classes] * classes if fractions == "equal" else fractions
    f = torch.tensor(given, dtype=torch.float64)
    one_each = len(f) == classes and bool((f >= 0).all()) and abs(f.sum().item() - 1) < 1e-6
    required = f"must be {classes} numbers >= 0, one per class, with sum 1"
    require(one_each, "class_fractions", fractions, required)
    shares = f * samples
    numbers = (shares + 1e-6).floor().long()
    left = samples - int(numbers.sum())
    numbers[(numbers - shares).argsort(stable=True)[:left]] += 1
    return numbers


def _of_classes(rows: Tensor, data: LabelledData, numbers: Tensor) -> Tensor:
    """Return the first rows of each class, with the classes interleaved evenly."""
    chosen, places = [], []
    for c, n in enumerate(numbers.tolist()):
        of_class = rows[data.targets[rows] == c]
        enough = f"class {c} has {len(of_class)} samples, but {n} would be needed"
        require(n <= len(of_class), "samples", int(numbers.sum()), enough)
        chosen.append(of_class[:n])
        places.append((torch.arange(n) + 0.5) / max(n, 1))
    return torch.cat(chosen)[torch.cat(places).argsort(stable=True)]
