"""The interface of a data set: labelled tensors for training and for testing."""

from __future__ import annotations

from torch import Tensor

from lightning_landscape.arguments import Checked
from lightning_landscape.errors import require

__all__ = ["LabelledData"]


class LabelledData(Checked):
    """Labelled samples, for training and for testing.

    The constructor of a subclass makes the tensors and passes them to this one.

    Args:
        inputs: training samples, shape (P, …), floating point.
        targets: their class labels 0 … classes - 1, shape (P,), int64.
        test_inputs: held-out samples, shape (P', …).
        test_targets: their labels, shape (P',).
        classes: the number of classes.

    Raises:
        UsageError: the shapes or the types do not match, a sample is not finite, or a label is
            out of range.
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        test_inputs: Tensor,
        test_targets: Tensor,
        classes: int,
    ) -> None:
        require(classes >= 2, "classes", classes, "must be at least 2")
        _check("", inputs, targets, classes)
        _check("test_", test_inputs, test_targets, classes)
        shape, other = tuple(inputs.shape[1:]), tuple(test_inputs.shape[1:])
        require(other == shape, "shape of a test sample", other, f"must be {shape}, as in training")
        self.inputs, self.targets = inputs, targets
        self.test_inputs, self.test_targets = test_inputs, test_targets
        self.classes = classes


def _check(prefix: str, x: Tensor, labels: Tensor, classes: int) -> None:
    require(len(x) >= 1, f"{prefix}inputs", tuple(x.shape), "must hold at least one sample")
    remedy = "convert them with .float()"
    real = x.is_floating_point()
    require(real, f"{prefix}inputs.dtype", x.dtype, "must be floating point", remedy)
    finite = bool(x.isfinite().all())
    require(finite, f"{prefix}inputs", "inf or nan", "must be finite", "remove these samples")
    whole = not (labels.is_floating_point() or labels.is_complex())
    remedy = "convert them with .long()"
    require(whole, f"{prefix}targets.dtype", labels.dtype, "must be integers", remedy)
    shape = tuple(labels.shape)
    require(shape == (len(x),), f"{prefix}targets.shape", shape, f"must be ({len(x)},)")
    low, high = int(labels.min()), int(labels.max())
    inside = low >= 0 and high < classes
    require(inside, f"{prefix}targets", f"{low} … {high}", f"must lie in 0 … {classes - 1}")
