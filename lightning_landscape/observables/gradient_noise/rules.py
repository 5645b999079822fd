"""Per-sample gradients of the parameters of one layer, from its input and the slope of its output.

A rule takes the call of a layer by argument name, the gradient of the losses in its output, where
the samples are in both, and their number n. It returns the moments of the gradients of ``weight``
and ``bias``, flattened to one replica.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_landscape.observables.gradient_noise.moments import Moments

__all__ = ["RULES", "Layout", "Rule"]

Call = dict[str, Any]


class Layout(NamedTuple):
    """Where the samples are: in axis ``axis`` of a layer's input, outermost in it or innermost.

    A layer that is applied at T places of each sample, such as a linear one in a transformer, may
    see an axis of n T numbers; then the samples are its slow or its fast index.
    """

    axis: int
    outermost: bool

    def samples_first(self, tensor: Tensor, n: int) -> Tensor:
        """Return the tensor as (n, …): the axes before ``axis``, the rest of it, those after it."""
        sizes = (n, -1) if self.outermost else (-1, n)
        return tensor.unflatten(self.axis, sizes).movedim(self.axis + (not self.outermost), 0)


class Rule(NamedTuple):
    """What is known of a function that takes parameters.

    Attributes:
        names: its arguments in their order.
        axes: how many leading axes of its input may hold the samples.
        held: how many numbers it holds for each of n samples.
        moments: of the gradients of its parameters, by name of the argument.
    """

    names: tuple[str, ...]
    axes: Callable[[Call], int]
    held: Callable[[Call, int], int]
    moments: Callable[[Call, Tensor, Layout, int], dict[str, Moments]]


def _held(**gradients: Tensor) -> dict[str, Moments]:
    """Return the moments of gradients (n, …) that are in memory."""
    return {name: Moments.of(g.flatten(1).unsqueeze(1)) for name, g in gradients.items()}


def _linear(call: Call, slope: Tensor, layout: Layout, n: int) -> dict[str, Moments]:
    """sum_mu g_mu^2 = (delta^2)^T h^2 where each sample comes once; else g_mu = delta^T h."""
    h = layout.samples_first(call["input"], n).flatten(1, -2)
    d = layout.samples_first(slope, n).flatten(1, -2)
    bias = _held(bias=d.sum(1))
    if h.shape[1] > 1:
        return bias | _held(weight=d.mT @ h)
    # in float64: the variance is a small difference of two sums where the samples agree
    h, d = h[:, 0].double(), d[:, 0].double()
    mean = (d.T @ h).div_(n)
    squares = (d.square().T @ h.square()).addcmul_(mean, mean, value=-n).clamp_(min=0)
    return bias | {"weight": Moments(n, mean.view(1, -1), squares.view(1, -1))}


def _convolution(call: Call, slope: Tensor, layout: Layout, n: int) -> dict[str, Moments]:
    """g_mu = delta^T (patches of h) by one product of matrices for each sample and group."""
    weight, groups = call["weight"], call.get("groups", 1)
    h, kernel = call["input"], weight.shape[2:]
    step, gap = (_each(call.get(name, 1), len(kernel)) for name in ("stride", "dilation"))
    h = F.pad(h, _padding(call.get("padding", 0), kernel, gap))
    if len(kernel) == 1:  # as images of one row
        h, kernel, step, gap = h.unsqueeze(2), (1, *kernel), (1, *step), (1, *gap)
    patches = F.unfold(h, tuple(kernel), dilation=gap, stride=step)  # (n q, C k k, L)
    patches = layout.samples_first(patches.unflatten(1, (groups, -1)), n)
    d = layout.samples_first(slope.flatten(2).unflatten(1, (groups, -1)), n)
    return _held(
        weight=torch.einsum("nqgol,nqgil->ngoi", d, patches), bias=d.sum((1, 4)).flatten(1)
    )


def _each(value: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * axes if len(values) == 1 else values


def _padding(given: Any, kernel: torch.Size, gap: tuple[int, ...]) -> list[int]:
    """Return the padding in the order of `F.pad`, the last axis first."""
    pairs: list[int] = []
    for axis, k in reversed(list(enumerate(kernel))):
        total = gap[axis] * (k - 1) if given == "same" else 0
        pair = (total // 2, total - total // 2)
        if not isinstance(given, str):
            pair = (_each(given, len(kernel))[axis],) * 2
        pairs += pair
    return pairs


def _embedding(call: Call, slope: Tensor, layout: Layout, n: int) -> dict[str, Moments]:
    """g_mu has a row for each word of the sample; words that come twice are added first."""
    weight = call["weight"]
    words = layout.samples_first(call["input"], n).flatten(1)
    d = layout.samples_first(slope, n).flatten(1, -2).double()
    own = words + len(weight) * torch.arange(n, device=words.device).unsqueeze(1)
    pairs, place = own.flatten().unique(return_inverse=True)
    rows = d.new_zeros(len(pairs), weight.shape[1]).index_add_(0, place, d.flatten(0, 1))
    if (without := call.get("padding_idx")) is not None:
        rows[pairs % len(weight) == without % len(weight)] = 0
    zero = torch.zeros_like(weight, dtype=torch.float64)
    mean = zero.index_add(0, pairs % len(weight), rows).div_(n)
    squares = zero.index_add(0, pairs % len(weight), rows.square())
    squares.addcmul_(mean, mean, value=-n).clamp_(min=0)
    return {"weight": Moments(n, mean.view(1, -1), squares.view(1, -1))}


def _layer_norm(call: Call, slope: Tensor, layout: Layout, n: int) -> dict[str, Moments]:
    """The output is weight x + bias with x the normalised input."""
    shape = tuple(call["normalized_shape"])
    x = F.layer_norm(call["input"], shape, eps=call.get("eps", 1e-5))
    d = layout.samples_first(slope, n).flatten(1, -1 - len(shape))
    x = layout.samples_first(x, n).flatten(1, -1 - len(shape))
    return _held(weight=(d * x).sum(1), bias=d.sum(1))


def _group_norm(call: Call, slope: Tensor, layout: Layout, n: int) -> dict[str, Moments]:
    x = F.group_norm(call["input"], call["num_groups"], eps=call.get("eps", 1e-5))
    d, x = (layout.samples_first(t.reshape(*t.shape[:2], -1), n) for t in (slope, x))
    return _held(weight=(d * x).sum((1, 3)), bias=d.sum((1, 3)))


def _of_input(call: Call, n: int) -> int:
    return call["input"].numel() // n


def _of_weight(call: Call, n: int) -> int:
    """Return the size of a gradient, unless each sample comes once to a linear layer."""
    weight = call["weight"]
    return 0 if call["input"].shape[:-1].numel() == n else weight.numel()


_CONVOLUTION = Rule(
    ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    lambda call: 1,
    _of_weight,
    _convolution,
)

RULES: dict[Callable[..., Any], Rule] = {
    F.linear: Rule(
        ("input", "weight", "bias"), lambda call: call["input"].ndim - 1, _of_weight, _linear
    ),
    F.conv1d: _CONVOLUTION,
    F.conv2d: _CONVOLUTION,
    F.embedding: Rule(
        ("input", "weight", "padding_idx"),
        lambda call: call["input"].ndim,
        lambda call, n: _of_input(call, n) * call["weight"].shape[1],
        _embedding,
    ),
    F.layer_norm: Rule(
        ("input", "normalized_shape", "weight", "bias", "eps"),
        lambda call: call["input"].ndim - len(call["normalized_shape"]),
        _of_input,
        _layer_norm,
    ),
    F.group_norm: Rule(
        ("input", "num_groups", "weight", "bias", "eps"), lambda call: 1, _of_input, _group_norm
    ),
}
"""What is known of the functions of `torch.nn.functional`."""
