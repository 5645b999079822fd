"""Activation functions, their derivatives, and the initialisation at which each is critical."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ACTIVATIONS", "Activation", "ActivationName"]

ActivationName = Literal["relu", "tanh", "erf", "gelu", "linear"]

_aten = torch.ops.aten


class Activation(NamedTuple):
    """An activation sigma, and the initialisation at which it is critical.

    With weights of variance C_W / fan-in and biases of variance C_b the susceptibilities of a wide
    network, chi_parallel = C_W <z sigma sigma'>_K / K and chi_perp = C_W <sigma'^2>_K for
    z ~ N(0, K), are both 1 at the fixed point K* of its kernel: neither signals nor gradients
    explode or vanish with depth. K* is any K for relu and linear, 0 for tanh and erf, and
    (3 + sqrt 17) / 2 for gelu.

    Source: Roberts, Yaida & Hanin 2021, arXiv:2106.10165, chapter 5.

    Attributes:
        value: h = sigma(z), differentiable to any order.
        value_: the same without a graph; it may overwrite z by h.
        pull_: (g, z) -> g sigma'(z), in place of g, with z as ``value_`` has left it.
        weight_variance: C_W.
        bias_variance: C_b.
    """

    value: Callable[[Tensor], Tensor]
    value_: Callable[[Tensor], Tensor]
    pull_: Callable[[Tensor, Tensor], Tensor]
    weight_variance: float
    bias_variance: float = 0.0


def _pull_relu_(g: Tensor, h: Tensor) -> Tensor:
    return _aten.threshold_backward.grad_input(g, h, 0, grad_input=g)


def _pull_tanh_(g: Tensor, h: Tensor) -> Tensor:
    return _aten.tanh_backward.grad_input(g, h, grad_input=g)


def _pull_erf_(g: Tensor, z: Tensor) -> Tensor:
    return g.mul_(z.square().neg_().exp_()).mul_(2 / math.sqrt(math.pi))


def _pull_gelu_(g: Tensor, z: Tensor) -> Tensor:
    return _aten.gelu_backward.grad_input(g, z, grad_input=g)


def _identity(z: Tensor) -> Tensor:
    return z


def _pull_identity_(g: Tensor, z: Tensor) -> Tensor:
    return g


ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(torch.relu, torch.relu_, _pull_relu_, 2.0),
    "tanh": Activation(torch.tanh, torch.tanh_, _pull_tanh_, 1.0),
    "erf": Activation(torch.erf, torch.erf, _pull_erf_, math.pi / 4),
    "gelu": Activation(F.gelu, F.gelu, _pull_gelu_, 1.9830582574, 0.1729223908),
    "linear": Activation(_identity, _identity, _pull_identity_, 1.0),
}
