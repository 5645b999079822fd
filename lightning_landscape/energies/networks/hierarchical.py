"""A convolutional network whose receptive fields are the branches of a tree."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_landscape.activations import ACTIVATIONS, ActivationName
from lightning_landscape.energies.networks._initialization import gaussian
from lightning_landscape.energies.networks._names import require_name
from lightning_landscape.energies.networks.architectures import Architecture
from lightning_landscape.errors import require, require_whole
from lightning_landscape.memory import require_memory
from lightning_landscape.rng import Stream

__all__ = ["HierarchicalConvNet"]


class HierarchicalConvNet(Architecture):
    """R networks of convolutions by patches that do not overlap: s neighbours become one.

    A sample is a sequence of s^L vectors of v components. Layer l = 1, …, L maps every s
    neighbours, concatenated, to ``width`` components by one affine map, the same for all patches,
    and applies sigma; after L layers one place is left, and a linear map makes the outputs of it.
    It is the network that sees the tree of a `RandomHierarchy` with the same s and L. Initially
    weights ~ N(0, C_W / fan-in) and biases ~ N(0, C_b), critical, as in `FullyConnected`; the
    variance of the last weights is divided by w to the power ``width_exponent`` more: small
    outputs make the hidden layers learn.

    N = w (s v + 1) + (L - 1) w (s w + 1) + k (w + 1) with w = ``width``. As matrix products on
    reshaped patches it is three times faster than by ``torch.nn.Conv1d`` at w = 128.

    Source: Cagnetta et al. 2024, arXiv:2307.02129, section 2.

    Args:
        depth: L.
        symbols: v, the components of a leaf.
        outputs: k.
        branching: s.
        width: of every hidden layer.
        activation: sigma.
        width_exponent: 1 for the maximal update parametrisation, 0 for the neural tangent.
        replicas: R.
        seed: of the initial weights and biases.

    Raises:
        UsageError: an argument is out of range, or the weights do not fit into memory.

    >>> net = HierarchicalConvNet(depth=3, symbols=8, outputs=8, width=16, replicas=4)
    >>> net(torch.zeros(1, 5, 8, 8)).shape, sum(p[0].numel() for p in net.parameters())
    (torch.Size([4, 5, 8]), 1464)
    """

    def __init__(
        self,
        depth: int,
        symbols: int,
        outputs: int,
        branching: int = 2,
        width: int = 128,
        activation: ActivationName = "relu",
        width_exponent: float = 1.0,
        replicas: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        sizes = {"depth": depth, "symbols": symbols, "outputs": outputs, "width": width}
        for name, size in (sizes | {"replicas": replicas}).items():
            require_whole(name, size)
        require_whole("branching", branching, least=2)
        require_name("activation", activation, ACTIVATIONS)
        self._sigma, self.replicas = ACTIVATIONS[activation], replicas
        self._depth, self._symbols, self._branching, self._outputs = (
            depth,
            symbols,
            branching,
            outputs,
        )
        inputs = [branching * symbols] + [branching * width] * (depth - 1) + [width]
        shapes = list(zip([width] * depth + [outputs], inputs, strict=True))
        N = sum(n * (m + 1) for n, m in shapes)
        require_memory(8 * replicas * N, "width", width, f"lower it or replicas = {replicas}")
        C_W, C_b = self._sigma.weight_variance, self._sigma.bias_variance
        self.weights = nn.ParameterList(
            gaussian(torch.empty(replicas, n, m), Stream(seed, f"weights of layer {l}"), C_W)
            for l, (n, m) in enumerate(shapes)
        )
        with torch.no_grad():
            self.weights[-1].mul_(width ** (-width_exponent / 2))
        self.biases = nn.ParameterList(
            gaussian(torch.empty(replicas, n), Stream(seed, f"biases of layer {l}"), C_b)
            for l, (n, _) in enumerate(shapes)
        )

    def outputs(self, parameters: Sequence[Tensor], x: Tensor) -> Tensor:
        """Return the outputs, shape (R, P, k), differentiable to any order."""
        return self.preactivations(parameters, x)[-1].transpose(1, 2)

    def preactivations(self, parameters: Sequence[Tensor], x: Tensor) -> list[Tensor]:
        """Return z of every layer, shape (R, places x width, P) each, the outputs last.

        Args:
            parameters: those of the module in their order.
            x: samples, shape (R or 1, P, s^L, v).
        """
        weights, biases = parameters[: self._depth + 1], parameters[self._depth + 1 :]
        P, h, layers = x.shape[1], x, []
        for W, b in zip(weights, biases, strict=True):
            patches = h.reshape(len(h), -1, W.shape[-1]).expand(len(W), -1, -1)
            z = torch.baddbmm(b.unsqueeze(1), patches, W.transpose(1, 2))
            layers.append(z.reshape(len(W), P, -1).transpose(1, 2))
            h = self._sigma.value(z)
        return layers

    def output_size(self, sample_shape: Sequence[int]) -> int:
        """Return k.

        Raises:
            UsageError: samples are no sequences of s^L vectors of v components.
        """
        shape = (self._branching**self._depth, self._symbols)
        required = f"must be {shape}, s^depth leaves of so many symbols"
        fits = tuple(sample_shape) == shape
        require(fits, "shape of a sample", tuple(sample_shape), required, "adapt depth or symbols")
        return self._outputs

    def values_per_sample(self, sample_shape: Sequence[int]) -> int:
        """Return the number of neurons, those of all places."""
        places = math.prod(sample_shape[:-1]) // self._branching
        width = self.weights[0].shape[1]
        hidden = 0
        while places:
            hidden, places = hidden + places * width, places // self._branching
        return hidden + self._outputs
