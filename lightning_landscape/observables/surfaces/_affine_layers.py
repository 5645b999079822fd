"""Layers whose input is the same at every point of a cut, computed once for the whole cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["AffineLayers", "Known"]

_LAYERS = (F.linear, F.conv1d, F.conv2d, F.conv3d)

Known = dict[str, tuple[Tensor, Tensor] | None]
"""By the name of a weight: the input of its layer, and the outputs for each term of the cut.

There are no outputs, shape (0,), after one point; None where the input changes."""


class AffineLayers(TorchFunctionMode):
    r"""Inside, a linear or convolutional layer with a known input costs no multiplication.

    Such a layer is linear in its weights: at W = W_0 + \sum_k c_k W_k with the same input x,

        W x + b = (W_0 x + b_0) + \sum_k c_k (W_k x + b_k),

    where the brackets are computed once. The first layer of a network sees the data at every point
    of a cut, whatever follows, and among fully connected layers it is often the most expensive
    one. That an input is the same is seen by comparing it, number by number.

    Args:
        factors: 1 and the coordinates c, shape (1 + D,).
        parameters: the tensors that stand for the parameters at c, by name.
        terms: of each parameter its values at the origin and in the directions, (1 + D, ...).
        known: what is known from the points before; it is added to.
    """

    def __init__(
        self,
        factors: Tensor,
        parameters: Mapping[str, Tensor],
        terms: Mapping[str, Tensor],
        known: Known,
    ) -> None:
        super().__init__()
        self.factors, self.terms, self.known = factors, terms, known
        self.names = {id(p): name for name, p in parameters.items()}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Return what a function of torch returns."""
        kwargs = kwargs or {}
        if func in _LAYERS and len(args) in (2, 3) and not torch.is_grad_enabled():
            x, W = args[:2]
            b = args[2] if len(args) == 3 else kwargs.get("bias")
            options = {name: value for name, value in kwargs.items() if name != "bias"}
            ours = id(W) in self.names and (b is None or id(b) in self.names)
            if ours and (outputs := self._outputs(func, x, W, b, options)) is not None:
                return torch.tensordot(self.factors.to(outputs.dtype), outputs, dims=1)
        return func(*args, **kwargs)

    def _outputs(
        self, func: Any, x: Tensor, W: Tensor, b: Tensor | None, options: dict[str, Any]
    ) -> Tensor | None:
        """Return the outputs for each term, or None where they are not known."""
        name = self.names[id(W)]
        if name not in self.known:
            self.known[name] = x.clone(), x.new_empty(0)
            return None
        known = self.known[name]
        if known is None:
            return None
        before, outputs = known
        if x.dtype != before.dtype or not _equal(x, before):
            self.known[name] = None
            return None
        if not outputs.numel():
            weights = self.terms[name]
            biases = [None] * len(weights) if b is None else list(self.terms[self.names[id(b)]])
            pairs = zip(weights, biases, strict=True)
            outputs = torch.stack([func(x, w, bias, **options) for w, bias in pairs])
            self.known[name] = before, outputs
        return outputs


def _equal(x: Tensor, y: Tensor) -> bool:
    """Whether all numbers are the same; those of several points of `vmap` are not."""
    try:
        return torch.equal(x, y)
    except RuntimeError:
        return False
