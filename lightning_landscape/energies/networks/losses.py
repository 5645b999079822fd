"""Losses of single samples; the energy of a network is their mean over the data.

The target of a sample is a vector y, one component an output of the network: one-hot, or for two
classes that share a single output a sign, -1 for class 0 and +1 for class 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from lightning_landscape.errors import nearest, require

__all__ = ["LOSSES", "Loss", "LossName", "correct", "gaps", "loss_named", "target_vectors"]

LossName = Literal["cross_entropy", "quadratic_hinge", "squared"]


class Loss(NamedTuple):
    """A loss and its derivative, for outputs f (R, P, k) and targets y (R, P, k) or (1, P, k).

    cross_entropy: -log p of the target class, with p the softmax of f; for a single output
    p = 1 / (1 + exp(-y f)).
    quadratic_hinge: max(0, Delta)^2 / 2 of the gap Delta = kappa - y f, for a single output.
    squared: |f - y|^2 / 2.

    Source of the hinge and its margin 1: Geiger et al. 2019, arXiv:1809.09349.

    Attributes:
        value: the losses, shape (R, P), differentiable to any order.
        value_and_slope: the losses and, written out, d loss / d f, shape (R, P, k).

    >>> import torch
    >>> f, y = torch.tensor([[[-1.0], [0.5]]]), torch.tensor([[[1.0], [1.0]]])
    >>> LOSSES["quadratic_hinge"].value(f, y)
    tensor([[2.0000, 0.1250]])
    """

    value: Callable[[Tensor, Tensor], Tensor]
    value_and_slope: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def _cross_entropy(f: Tensor, y: Tensor) -> Tensor:
    if f.shape[-1] == 1:
        return -F.logsigmoid(y * f).squeeze(-1)
    return -(y * f.log_softmax(-1)).sum(-1)


def _cross_entropy_and_slope(f: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if f.shape[-1] == 1:
        log_p = F.logsigmoid(y * f)
        return -log_p.squeeze(-1), y * log_p.expm1()
    log_p = f.transpose(1, 2).log_softmax(1).transpose(1, 2)  # (R, k, P) is how f lies in memory
    return -(y * log_p).sum(-1), log_p.exp_().sub_(y)


def _quadratic_hinge(margin: float) -> Loss:
    def value(f: Tensor, y: Tensor) -> Tensor:
        return (margin - y * f).relu().square().squeeze(-1) / 2

    def value_and_slope(f: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        gap = (y * f).neg_().add_(margin).relu_()
        return gap.square().squeeze(-1).div_(2), gap.mul(y).neg_()

    return Loss(value, value_and_slope)


def _squared(f: Tensor, y: Tensor) -> Tensor:
    return (f - y).square().sum(-1) / 2


def _squared_and_slope(f: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    difference = f - y
    return difference.square().sum(-1) / 2, difference


LOSSES: dict[str, Loss] = {
    "cross_entropy": Loss(_cross_entropy, _cross_entropy_and_slope),
    "quadratic_hinge": _quadratic_hinge(margin=1.0),
    "squared": Loss(_squared, _squared_and_slope),
}


def loss_named(loss: LossName, margin: float = 1.0) -> Loss:
    """Return the loss of this name; the margin kappa is that of the quadratic hinge.

    Raises:
        UsageError: there is no such loss, or the margin is negative or not finite.
    """
    _require_known(loss)
    require(0 <= margin < math.inf, "margin", margin, "must be finite and at least 0")
    return _quadratic_hinge(margin) if loss == "quadratic_hinge" else LOSSES[loss]


def gaps(f: Tensor, y: Tensor, margin: float = 1.0) -> Tensor:
    """Return the gaps Delta of samples, shape (R, P): a pattern is satisfied where Delta <= 0.

    For a single output Delta = kappa - y f; for several it is the margin to the runner-up,
    Delta = kappa - (f_y - max_{k != y} f_k). With kappa = 0 what is unsatisfied is what is wrong.

    Args:
        f: outputs, shape (R, P, k).
        y: target vectors, shape (R, P, k) or (1, P, k); see `target_vectors`.
        margin: kappa.

    Source: Geiger et al. 2019, arXiv:1809.09349, for a single output.

    >>> import torch
    >>> f, y = torch.tensor([[[3.0, 1.0, 2.5]]]), torch.tensor([[[1, 0, 0]]])
    >>> gaps(f, y)
    tensor([[0.5000]])
    """
    if f.shape[-1] == 1:
        return margin - (y * f).squeeze(-1)
    target = (y * f).sum(-1)
    runner_up = f.masked_fill(y > 0, -math.inf).amax(-1)
    return margin - (target - runner_up)


def correct(f: Tensor, y: Tensor) -> Tensor:
    """Return which samples are classified correctly, shape (R, P), bool.

    The class is that of the largest output; with a single output it is that of its sign.
    """
    if f.shape[-1] == 1:
        return (y * f).squeeze(-1) > 0
    return f.argmax(-1) == y.argmax(-1)


def target_vectors(labels: Tensor, classes: int, outputs: int, loss: str) -> Tensor:
    """Return the targets y, shape (P, outputs), of samples with these class labels.

    Args:
        labels: 0 … classes - 1, shape (P,), int64.
        classes: how many classes the data have.
        outputs: how many outputs the network has.
        loss: the name of the loss that will use them.

    Raises:
        UsageError: there is no such loss, or it does not go with this number of outputs.
    """
    _require_known(loss)
    hinge = loss == "quadratic_hinge"
    two = "quadratic_hinge separates two classes"
    require(classes == 2 or not hinge, "classes of the data", classes, two)
    sizes = [1] if hinge else [2, 1] if classes == 2 else [classes]
    wanted = f"{loss} on {classes} classes needs {' or '.join(map(str, sizes))}"
    require(outputs in sizes, "outputs of the network", outputs, wanted)
    if outputs == 1:
        return 2 * labels.unsqueeze(1) - 1
    return F.one_hot(labels, classes)


def _require_known(loss: str) -> None:
    known = ", ".join(LOSSES) + nearest(loss, LOSSES)
    require(loss in LOSSES, "loss", loss, f"must be one of {known}")
