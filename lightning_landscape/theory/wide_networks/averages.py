"""Averages of an activation and its derivative over Gaussian preactivations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_landscape.activations import ACTIVATIONS, Activation, Function
from lightning_landscape.errors import nearest, require, require_kind

__all__ = ["Array", "GaussianAverages", "evaluate", "gaussian_nodes", "normal_nodes", "resolve"]

Array = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_SYNONYMS = {"silu": "swish", "leakyrelu": "leaky_relu", "hardswish": "hard_swish"}
_REACH = 13.0  # standard deviations
_CORE, _PANEL = 36.0, 2.0  # to |z| = 36, where exp(-|z|) is nothing, panels are at most 2 wide


def resolve(activation: str | Activation) -> Activation:
    """Return the activation of this name; torch's SiLU is swish. An `Activation` is itself."""
    if isinstance(activation, Activation):
        return activation
    require_kind("activation", activation, str)
    name = _SYNONYMS.get(activation.lower(), activation.lower())
    names = f"must be one of {', '.join(ACTIVATIONS)}{nearest(name, ACTIVATIONS)}"
    require(name in ACTIVATIONS, "activation", activation, names)
    return ACTIVATIONS[name]


def evaluate(function: Function, z: Array) -> Array:
    """Return an elementwise function of torch tensors at the points ``z``."""
    return function(torch.from_numpy(z)).numpy()


def normal_nodes(edges: Array) -> tuple[Array, Array]:
    """Return nodes and weights of averages over N(0, 1), by 16 Gauss-Legendre nodes a panel.

    Args:
        edges: the sorted ends of the panels along the last axis, shape (..., E).

    Returns:
        Nodes and weights, shape (..., 16 (E - 1)).
    """
    left, right = edges[..., :-1, None], edges[..., 1:, None]
    u = (left + right) / 2 + (right - left) / 2 * _NODES
    weights = (right - left) / 2 * _WEIGHTS * np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)
    shape = (*edges.shape[:-1], -1)
    return u.reshape(shape), weights.reshape(shape)


def panel_edges(K: float) -> Array:
    """Return edges of panels in u = z / sqrt(K), at most 1 wide, and 2 in z where |z| <= 36."""
    scale = math.sqrt(K)
    core = min(_REACH, _CORE / scale)
    inner = np.linspace(-core, core, 2 * math.ceil(core * max(1.0, scale / _PANEL)) + 1)
    outer = np.linspace(core, _REACH, math.ceil(_REACH - core) + 1)[1:]
    return np.concatenate([-outer[::-1], inner, outer])


def gaussian_nodes(K: float, kinks: Sequence[float] = ()) -> tuple[Array, Array]:
    """Return nodes z and weights for averages over N(0, K), split at the kinks.

    They reach to 13 sqrt(K): about 1e-13 relative for functions that between the kinks vary on the
    scale 1 for |z| < 36 and are powers beyond, or vary on the scale sqrt(K). A function that
    oscillates everywhere, as sine does, needs K < 100. Cost: 420 to 1000 nodes.

    Args:
        K: the variance, > 0.
        kinks: the z at which the function or a derivative of it jumps.
    """
    require(K > 0, "K", K, "must be > 0")
    scale = math.sqrt(K)
    inside = [z / scale for z in kinks if abs(z) < _REACH * scale]
    u, weights = normal_nodes(np.union1d(panel_edges(K), inside))
    return scale * u, weights


class GaussianAverages:
    """Averages over z ~ N(0, K) of products of sigma, sigma' and z, and their derivatives in K.

    d<f>/dK = <f (z^2 - K)> / (2 K^2) and d^2<f>/dK^2 = <f (z^4 - 6 K z^2 + 3 K^2)> / (4 K^4), so
    that sigma and sigma' are enough, whatever kinks sigma has.

    Args:
        sigma: a name in `ACTIVATIONS`, or an `Activation`.
        K: the variance, > 0.

    Attributes:
        z: the nodes.
        weights: theirs.
        value: sigma(z).
        slope: sigma'(z).

    >>> average = GaussianAverages("relu", K=2.0)
    >>> round(average.mean(average.value**4), 10)
    6.0
    """

    def __init__(self, sigma: str | Activation, K: float) -> None:
        sigma, self.K = resolve(sigma), K
        self.z, self.weights = gaussian_nodes(K, sigma.kinks)
        self.value, self.slope = evaluate(sigma.value, self.z), evaluate(sigma.slope, self.z)
        self.square = self.mean(self.value**2)
        self.slope_square = self.mean(self.slope**2)

    def mean(self, f: Array) -> float:
        """Return <f>, f given at the nodes."""
        return float(self.weights @ f)

    def derivative(self, f: Array) -> float:
        """Return d<f>/dK."""
        return self.mean(f * (self.z**2 - self.K)) / (2 * self.K**2)

    def second_derivative(self, f: Array) -> float:
        """Return d^2<f>/dK^2."""
        z2, K = self.z**2, self.K
        return self.mean(f * (z2**2 - 6 * K * z2 + 3 * K**2)) / (4 * K**4)

    @property
    def square_variance(self) -> float:
        """Var(sigma^2) = <sigma^4> - <sigma^2>^2."""
        return self.mean((self.value**2 - self.square) ** 2)
