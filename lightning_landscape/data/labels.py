"""Transformations of the labels; the samples stay the same."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.data.labelled_data import LabelledData
from lightning_landscape.errors import require, require_kind
from lightning_landscape.rng import Stream

__all__ = ["GroupedClasses", "Parity", "RandomLabels"]


class GroupedClasses(LabelledData):
    """Classes merged into groups: samples of the classes in ``groups[k]`` get the label k.

    Samples whose class is in no group are dropped: [[3], [5]] leaves threes and fives.

    Args:
        data: the samples.
        groups: disjoint lists of classes, two or more.

    Raises:
        UsageError: a group is empty, or a class is in two groups or not in the data.

    >>> from lightning_landscape.data import RandomData
    >>> GroupedClasses(RandomData(8, dimension=3, classes=4), groups=[[0, 3], [2]]).targets
    tensor([0, 1, 0, 0, 1, 0])
    """

    def __init__(self, data: LabelledData, groups: list[list[int]]) -> None:
        require_kind("data", data, LabelledData)
        named = [c for group in groups for c in group]
        require(
            len(groups) >= 2 and all(groups), "groups", groups, "must be two or more nonempty lists"
        )
        require(len(set(named)) == len(named), "groups", groups, "must not share a class")
        inside = all(0 <= c < data.classes for c in named)
        require(inside, "groups", groups, f"must name classes 0 … {data.classes - 1}")
        label = torch.full((data.classes,), -1)
        for k, group in enumerate(groups):
            label[group] = k

        def relabelled(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            labels = label[y]
            kept = labels >= 0
            return (x, labels) if bool(kept.all()) else (x[kept], labels[kept])

        train = relabelled(data.inputs, data.targets)
        test = relabelled(data.test_inputs, data.test_targets)
        super().__init__(*train, *test, classes=len(groups))


class Parity(GroupedClasses):
    """Even classes (0) against odd classes (1); for digits, a task that is not linear.

    Args:
        data: the samples.

    >>> from lightning_landscape.data import RandomData
    >>> Parity(RandomData(6, dimension=3, classes=3)).targets
    tensor([0, 1, 0, 0, 1, 0])
    """

    def __init__(self, data: LabelledData) -> None:
        require_kind("data", data, LabelledData)
        classes = range(data.classes)
        super().__init__(data, [list(classes[::2]), list(classes[1::2])])


class RandomLabels(LabelledData):
    """Random labels for a fraction of the training samples.

    The random labels are uniform over the classes, so that a fraction 1/classes of them is correct
    by chance. Test samples keep their labels.

    Source: Zhang, Bengio, Hardt, Recht & Vinyals 2017, arXiv:1611.03530, section 2.

    Args:
        data: the samples.
        fraction: fraction of the training samples with random labels, in [0, 1].
        seed: seed of the choice of samples and of their labels.

    Raises:
        UsageError: the fraction is out of range.

    >>> from lightning_landscape.data import RandomData
    >>> data = RandomData(1000, dimension=3, classes=2)
    >>> (RandomLabels(data, fraction=0.4).targets != data.targets).sum()  # about half of 400
    tensor(210)
    """

    def __init__(self, data: LabelledData, fraction: float = 1.0, seed: int = 0) -> None:
        require_kind("data", data, LabelledData)
        require(0 <= fraction <= 1, "fraction", fraction, "must lie in [0, 1]")
        P = len(data.targets)
        changed = Stream(seed, "samples with random labels").permutation(P, 0)[
            : round(fraction * P)
        ]
        targets = data.targets.clone()
        targets[changed] = Stream(seed, "random labels").integers(data.classes, (len(changed),), 0)
        super().__init__(
            data.inputs, targets, data.test_inputs, data.test_targets, classes=data.classes
        )
