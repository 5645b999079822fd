"""Activation functions: derivatives, Gaussian averages, critical initialisations."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_landscape.errors import require

__all__ = ["ACTIVATIONS", "Activation", "ActivationName", "Moments"]

ActivationName = Literal[
    "relu", "tanh", "erf", "gelu", "linear", "swish", "sin", "leaky_relu", "elu", "selu",
    "softsign", "hard_swish", "mish", "softplus", "sigmoid",
]  # fmt: skip

_aten = torch.ops.aten

Function = Callable[[Tensor], Tensor]

# Gaussian averages: Gauss-Legendre points per standard deviation, out to +-12 of them
_POINTS, _RANGE = 16, 12


class Moments(NamedTuple):
    """Averages over z ~ N(0, K) that decide how a signal and its gradient pass a layer.

    Attributes:
        square: <sigma(z)^2>.
        parallel: <z sigma(z) sigma'(z)> / K; times C_W it is chi_parallel.
        perpendicular: <sigma'(z)^2>; times C_W it is chi_perp.
    """

    square: float
    parallel: float
    perpendicular: float


@dataclass(frozen=True)
class Activation:
    """An activation sigma, and the initialisation at which it is critical.

    With weights of variance C_W / fan-in and biases of variance C_b the susceptibilities of a wide
    network, chi_parallel = C_W <z sigma sigma'>_K / K and chi_perp = C_W <sigma'^2>_K for
    z ~ N(0, K), are both 1 at the fixed point K* of its kernel: neither signals nor gradients
    explode or vanish with depth. K* is any K for relu, leaky_relu and linear, 0 for tanh, erf,
    sin, elu, selu and softsign, (3 + sqrt 17) / 2 for gelu, 14.32 for swish, 4.80 for hard_swish
    and 1.67 for mish. softplus and sigmoid have no such point: theirs are C_W = 1 and C_b = 0.

    Source: Roberts, Yaida & Hanin 2021, arXiv:2106.10165, chapter 5.

    Attributes:
        name: its key in `ACTIVATIONS`.
        value: h = sigma(z), differentiable to any order.
        slope: sigma'(z).
        curvature: sigma''(z); None where it vanishes everywhere but at the kinks.
        weight_variance: C_W.
        bias_variance: C_b.
        kinks: the z at which sigma' or sigma'' jumps.
        value_: sigma(z) without a graph; it may overwrite z by h.
        pull_: (g, z) -> g sigma'(z), in place of g, with z as ``value_`` has left it.
        critical: whether C_W and C_b are critical.
        decay: p of K ~ l^-p at the critical initialisation, which is also the limit of
            l (1 - chi_perp); 0 where K stays.

    >>> [round(moment, 12) for moment in ACTIVATIONS["relu"].moments(K=1.0)]
    [0.5, 0.5, 0.5]
    """

    name: ActivationName
    value: Function
    slope: Function
    curvature: Function | None
    weight_variance: float
    bias_variance: float
    kinks: tuple[float, ...]
    value_: Function
    pull_: Callable[[Tensor, Tensor], Tensor]
    critical: bool = True
    decay: int = 0

    def mean(self, function: Function, K: float) -> float:
        """Return <function(z)> over z ~ N(0, K), by quadrature between the kinks of sigma.

        Exact to about 1e-13 for functions that are smooth on the scale sqrt(K) there.

        Args:
            function: elementwise, of z in float64.
            K: the variance, > 0.

        >>> round(ACTIVATIONS["linear"].mean(torch.square, K=2.0), 12)
        2.0
        """
        require(K > 0, "K", K, "must be > 0")
        edges = sorted({*range(-_RANGE, _RANGE + 1), *(z / math.sqrt(K) for z in self.kinks)})
        nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(_POINTS))
        left, right = torch.tensor([edges[:-1], edges[1:]], dtype=torch.float64).unsqueeze(2)
        u = (left + right) / 2 + (right - left) / 2 * nodes
        density = (right - left) / 2 * weights * torch.exp(-u.square() / 2) / math.sqrt(2 * math.pi)
        return (density * function(math.sqrt(K) * u)).sum().item()

    def moments(self, K: float) -> Moments:
        """Return the averages over z ~ N(0, K) of a layer."""

        def parallel(z: Tensor) -> Tensor:
            return z * self.value(z) * self.slope(z) / K

        functions = (lambda z: self.value(z).square(), parallel, lambda z: self.slope(z).square())
        return Moments(*(self.mean(function, K) for function in functions))

    def __reduce__(self) -> tuple[Callable[[str], Activation], tuple[str]]:
        """Pickle and copy as the entry of the table."""
        return _of_table, (self.name,)


def _normal_density(z: Tensor) -> Tensor:
    return torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)


def _erf_slope(z: Tensor) -> Tensor:
    return 2 / math.sqrt(math.pi) * torch.exp(-z.square())


def _pull_erf_(g: Tensor, z: Tensor) -> Tensor:
    return g.mul_(z.square().neg_().exp_()).mul_(2 / math.sqrt(math.pi))


_RELU = Activation(
    name="relu",
    value=torch.relu,
    slope=lambda z: (z > 0).to(z),
    curvature=None,
    weight_variance=2.0,
    bias_variance=0.0,
    kinks=(0.0,),
    value_=torch.relu_,
    pull_=lambda g, h: _aten.threshold_backward.grad_input(g, h, 0, grad_input=g),
)

_TANH = Activation(
    name="tanh",
    value=torch.tanh,
    slope=lambda z: 1 - torch.tanh(z).square(),
    curvature=lambda z: -2 * torch.tanh(z) * (1 - torch.tanh(z).square()),
    weight_variance=1.0,
    bias_variance=0.0,
    kinks=(),
    value_=torch.tanh_,
    pull_=lambda g, h: _aten.tanh_backward.grad_input(g, h, grad_input=g),
    decay=1,
)

_ERF = Activation(
    name="erf",
    value=torch.erf,
    slope=_erf_slope,
    curvature=lambda z: -2 * z * _erf_slope(z),
    weight_variance=math.pi / 4,
    bias_variance=0.0,
    kinks=(),
    value_=torch.erf,
    pull_=_pull_erf_,
    decay=1,
)

_GELU = Activation(
    name="gelu",
    value=F.gelu,
    slope=lambda z: torch.special.ndtr(z) + z * _normal_density(z),
    curvature=lambda z: (2 - z.square()) * _normal_density(z),
    weight_variance=1.9830582574,
    bias_variance=0.1729223908,
    kinks=(),
    value_=F.gelu,
    pull_=lambda g, z: _aten.gelu_backward.grad_input(g, z, grad_input=g),
)

_LINEAR = Activation(
    name="linear",
    value=lambda z: z,
    slope=torch.ones_like,
    curvature=None,
    weight_variance=1.0,
    bias_variance=0.0,
    kinks=(),
    value_=lambda z: z,
    pull_=lambda g, z: g,
)


def _out_of_place(
    name: ActivationName,
    value: Function,
    slope: Function,
    curvature: Function | None,
    variances: tuple[float, float],
    kinks: tuple[float, ...] = (),
    critical: bool = True,
    decay: int = 0,
) -> Activation:
    """Return an activation whose layers keep z for the way back."""

    def pull_(g: Tensor, z: Tensor) -> Tensor:
        return g.mul_(slope(z))

    C_W, C_b = variances
    return Activation(name, value, slope, curvature, C_W, C_b, kinks, value, pull_, critical, decay)


def _swish_slope(z: Tensor) -> Tensor:
    s = torch.sigmoid(z)
    return s + z * s * (1 - s)


def _swish_curvature(z: Tensor) -> Tensor:
    s = torch.sigmoid(z)
    return s * (1 - s) * (2 + z * (1 - 2 * s))


def _mish_slope(z: Tensor) -> Tensor:
    t = torch.tanh(F.softplus(z))
    return t + z * torch.sigmoid(z) * (1 - t.square())


def _mish_curvature(z: Tensor) -> Tensor:
    t, s = torch.tanh(F.softplus(z)), torch.sigmoid(z)
    return s * (1 - t.square()) * (2 + z * (1 - s - 2 * t * s))


def _exponential_below(z: Tensor) -> Tensor:
    """Return e^z for z <= 0, and 0 above."""
    return torch.where(z > 0, 0.0, torch.exp(z.clamp(max=0.0)))


def _hard_swish_slope(z: Tensor) -> Tensor:
    return torch.where(z.abs() < 3, z / 3 + 0.5, (z >= 3).to(z))


_LEAK = 0.01  # slope of the leaky ReLU at z < 0, torch's default
_SELU, _SELU_BELOW = 1.0507009873554805, 1.7580993408473768  # its slopes above and below 0

_SWISH = _out_of_place(
    "swish", F.silu, _swish_slope, _swish_curvature, (1.9880046783, 0.5551431707)
)
_SIN = _out_of_place("sin", torch.sin, torch.cos, lambda z: -torch.sin(z), (1.0, 0.0), decay=1)
_LEAKY_RELU = _out_of_place(
    "leaky_relu",
    lambda z: F.leaky_relu(z, _LEAK),
    lambda z: torch.where(z > 0, 1.0, torch.full_like(z, _LEAK)),
    None,
    (2 / (1 + _LEAK**2), 0.0),
    kinks=(0.0,),
)
_ELU = _out_of_place(
    "elu",
    F.elu,
    lambda z: (z > 0) + _exponential_below(z),
    _exponential_below,
    (1.0, 0.0),
    kinks=(0.0,),
    decay=2,
)
_SELU_ACTIVATION = _out_of_place(
    "selu",
    F.selu,
    lambda z: _SELU * (z > 0).to(z) + _SELU_BELOW * _exponential_below(z),
    lambda z: _SELU_BELOW * _exponential_below(z),
    (2 / (_SELU**2 + _SELU_BELOW**2), 0.0),
    kinks=(0.0,),
    decay=2,
)
_SOFTSIGN = _out_of_place(
    "softsign",
    F.softsign,
    lambda z: (1 + z.abs()) ** -2,
    lambda z: -2 * z.sign() * (1 + z.abs()) ** -3,
    (1.0, 0.0),
    kinks=(0.0,),
    decay=2,
)
_HARD_SWISH = _out_of_place(
    "hard_swish",
    F.hardswish,
    _hard_swish_slope,
    lambda z: (z.abs() < 3).to(z) / 3,
    (1.9732895836, 0.5071458488),
    kinks=(-3.0, 3.0),
)
_MISH = _out_of_place("mish", F.mish, _mish_slope, _mish_curvature, (2.0135240697, 0.0945217874))
_SOFTPLUS = _out_of_place(
    "softplus",
    lambda z: F.softplus(z, threshold=40.0),
    torch.sigmoid,
    lambda z: torch.sigmoid(z) * torch.sigmoid(-z),
    (1.0, 0.0),
    critical=False,
)
_SIGMOID = _out_of_place(
    "sigmoid",
    torch.sigmoid,
    lambda z: torch.sigmoid(z) * torch.sigmoid(-z),
    lambda z: torch.sigmoid(z) * torch.sigmoid(-z) * (1 - 2 * torch.sigmoid(z)),
    (1.0, 0.0),
    critical=False,
)

ACTIVATIONS: dict[str, Activation] = {
    sigma.name: sigma
    for sigma in (
        *(_RELU, _TANH, _ERF, _GELU, _LINEAR, _SWISH, _SIN, _LEAKY_RELU, _ELU, _SELU_ACTIVATION),
        *(_SOFTSIGN, _HARD_SWISH, _MISH, _SOFTPLUS, _SIGMOID),
    )
}


def _of_table(name: str) -> Activation:
    return ACTIVATIONS[name]
