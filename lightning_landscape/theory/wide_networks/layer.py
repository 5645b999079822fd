"""A layer of a wide network: its kernel map and its susceptibilities."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from lightning_landscape.activations import Activation
from lightning_landscape.errors import require
from lightning_landscape.theory.wide_networks.averages import Array, GaussianAverages, resolve
from lightning_landscape.theory.wide_networks.criticality import criticality

__all__ = ["Flow", "Layer", "per_layer", "require_depth", "require_no_skip"]


class Flow(NamedTuple):
    """The flow of one input through layers 1, ..., L of infinite width.

    Attributes:
        K: variance of the preactivations of each layer, shape (L,).
        parallel: chi_parallel from each layer to the next, shape (L,).
        perpendicular: chi_perpendicular from each layer to the next, shape (L,).
    """

    K: Array
    parallel: Array
    perpendicular: Array


@dataclass(frozen=True)
class Layer:
    """A layer z' = b + W sigma(z) + gamma z with random weights and biases.

    Var b = C_b and Var W = C_W / fan-in. At infinite width the preactivations are Gaussian with
    variance K, and K' = C_b + C_W <sigma^2>_K + gamma^2 K. A small relative change of the norm of
    z grows by chi_parallel = dK'/dK from layer to layer, a small perturbation orthogonal to z (and
    a gradient on its way back) by chi_perpendicular = C_W <sigma'^2>_K + gamma^2, both for squared
    norms.

    Source: Roberts, Yaida & Hanin 2021, arXiv:2106.10165, chapter 5.

    Args:
        activation: a name in `ACTIVATIONS`, or an `Activation`.
        weight_variance: C_W > 0.
        bias_variance: C_b >= 0.
        skip: gamma, 0 without a skip connection, 0 <= gamma < 1.

    Raises:
        UsageError: a number is out of its range, or the name is unknown.

    >>> layer = Layer("tanh", weight_variance=3.0)
    >>> round(layer.perpendicular(1.345393), 5)
    1.2388
    """

    activation: str | Activation
    weight_variance: float
    bias_variance: float = 0.0
    skip: float = 0.0

    def __post_init__(self) -> None:
        resolve(self.activation)
        require(self.weight_variance > 0, "weight_variance", self.weight_variance, "must be > 0")
        require(self.bias_variance >= 0, "bias_variance", self.bias_variance, "must be at least 0")
        _require_skip(self.skip)

    @classmethod
    def critical(cls, activation: str | Activation, skip: float = 0.0) -> Layer:
        """Return the critical layer of an activation: both susceptibilities are 1 at K*.

        With a skip connection C_W and C_b are the critical ones without it, times 1 - gamma^2.

        Raises:
            UsageError: the activation has no critical initialisation.

        >>> Layer.critical("relu", skip=0.6).weight_variance
        1.28
        """
        _require_skip(skip)
        point = criticality(activation)
        share = 1 - skip**2
        C_W, C_b = share * point.weight_variance, share * point.bias_variance
        return cls(activation, C_W, C_b, skip)

    @cached_property
    def sigma(self) -> Activation:
        """The activation."""
        return resolve(self.activation)

    def kernel(self, K: float) -> float:
        """Return K' = C_b + C_W <sigma^2>_K + gamma^2 K."""
        return self._step(K)[0]

    def parallel(self, K: float) -> float:
        """Return chi_parallel = C_W d<sigma^2>_K/dK + gamma^2."""
        return self._step(K)[1]

    def perpendicular(self, K: float) -> float:
        """Return chi_perpendicular = C_W <sigma'^2>_K + gamma^2."""
        return self._step(K)[2]

    def flow(self, K1: float, depth: int) -> Flow:
        """Return K and the susceptibilities of layers 1, ..., L = depth, from K^1 = ``K1``.

        >>> Layer.critical("tanh").flow(K1=1.0, depth=3).K.round(5).tolist()
        [1.0, 0.39429, 0.23645]
        """
        require_depth(depth)
        layers, K = [], K1
        for _ in range(depth):
            following, parallel, perpendicular = self._step(K)
            layers.append((K, parallel, perpendicular))
            K = following
        return Flow(*np.array(layers).T)

    def _step(self, K: float) -> tuple[float, float, float]:
        average, C_W, skip = GaussianAverages(self.sigma, K), self.weight_variance, self.skip**2
        return (
            self.bias_variance + C_W * average.square + skip * K,
            C_W * average.derivative(average.value**2) + skip,
            C_W * average.slope_square + skip,
        )


def _require_skip(skip: float) -> None:
    require(0 <= skip < 1, "skip", skip, "must be at least 0 and less than 1")


def require_depth(depth: int) -> None:
    """Raise a `UsageError` unless there is a layer."""
    require(depth >= 1, "depth", depth, "must be at least 1")


def require_no_skip(layer: Layer, what: str) -> None:
    """Raise a `UsageError` where a result holds without skip connections only."""
    require(layer.skip == 0, "skip", layer.skip, f"{what} is known without skip connections only")


def per_layer(name: str, rate: float | Array, depth: int) -> Array:
    """Return a number per layer, shape (L,), from one number or from one for each layer."""
    rates = np.asarray(rate, dtype=float)
    shapes = f"must be one number or one for each of the {depth} layers"
    require(rates.shape in ((), (depth,)), name, rate, shapes)
    return np.broadcast_to(rates, depth)
