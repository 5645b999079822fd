"""A small convolutional network with a smooth energy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_landscape.activations import ACTIVATIONS, Activation, ActivationName
from lightning_landscape.energies.networks._names import require_name
from lightning_landscape.energies.networks.replicated import Replicated
from lightning_landscape.errors import require

__all__ = ["SmallConvNet"]


class SmallConvNet(Replicated):
    """R small convolutional networks: L layers of convolution, activation and average pooling.

    z_l = pool(sigma(W_l * z_{l-1} + b_l)),   f = W z_L + b

    with 3 x 3 kernels, zero padding that keeps the size of the image, and averages over squares of
    2 x 2 pixels, which halve it (rounded down). Averages, unlike maxima, leave the energy as smooth
    as sigma. Initially weights ~ N(0, C_W / fan-in) and biases ~ N(0, C_b), with the critical C_W
    and C_b of the activation, as in `FullyConnected`.

    It maps samples (R or 1, B, c_0, h, w) to outputs (R, B, k). With c_l channels, k outputs and
    h' x w' pixels left, the number of parameters is

        N = sum_l (9 c_{l-1} + 1) c_l + (h' w' c_L + 1) k,

    20 490 for [16, 32] on images of MNIST, 60 362 for [32, 64] on those of CIFAR-10. The forward
    pass costs 9 c_{l-1} c_l multiply-adds for each pixel of layer l and sample, the gradient three
    times as much.

    Args:
        sample_shape: channels, height and width of a sample: [1, 28, 28] for MNIST.
        channels: c_1 … c_L, one for each layer.
        outputs: k.
        activation: sigma.
        replicas: R.
        seed: of the initial weights and biases.
        dtype: ``float32`` or ``float64``.

    Raises:
        UsageError: an argument is out of range, the image is too small for L halvings, or the
            weights do not fit into memory.

    Source: critical initialization: Roberts, Yaida, Hanin 2022, arXiv:2106.10165, chapter 5.

    >>> net = SmallConvNet([1, 8, 8], channels=[8, 16], replicas=4)
    >>> net(torch.zeros(1, 5, 1, 8, 8)).shape, sum(p[0].numel() for p in net.parameters())
    (torch.Size([4, 5, 10]), 1898)
    """

    def __init__(
        self,
        sample_shape: list[int],
        channels: list[int],
        outputs: int = 10,
        activation: ActivationName = "relu",
        replicas: int = 1,
        seed: int = 0,
        dtype: str = "float32",
    ) -> None:
        require_name("activation", activation, ACTIVATIONS)
        require_name("dtype", dtype, ("float32", "float64"))
        _check(sample_shape, channels, outputs)
        sigma, number = ACTIVATIONS[activation], getattr(torch, dtype)
        super().__init__(
            lambda: _layers(sample_shape, channels, outputs, sigma).to(number), replicas, seed
        )

    def _outputs(self, parameters: tuple[Tensor, ...], x: Tensor) -> Tensor:
        """Return the outputs; one replica on a processor has the channels of a pixel together.

        Convolutions and averages are a quarter faster in this order.
        """
        if len(parameters[0]) == 1 and x.is_cpu:
            x = x.movedim(2, -1).clone(memory_format=torch.contiguous_format).movedim(-1, 2)
        return super()._outputs(parameters, x)


class _Sigma(nn.Module):
    """The activation as a layer."""

    def __init__(self, sigma: Activation) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, z: Tensor) -> Tensor:
        return self.sigma.value(z)


def _layers(
    sample_shape: Sequence[int], channels: Sequence[int], outputs: int, sigma: Activation
) -> nn.Sequential:
    """Return one network with its initial weights."""
    c, height, width = sample_shape
    layers: list[nn.Module] = []
    for n in channels:
        layers += [nn.Conv2d(c, n, 3, padding=1), _Sigma(sigma), nn.AvgPool2d(2)]
        c, height, width = n, height // 2, width // 2
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(c * height * width, outputs))
    for name, p in net.named_parameters():
        if name.endswith("weight"):
            nn.init.normal_(p, std=math.sqrt(sigma.weight_variance / p[0].numel()))
        else:
            nn.init.normal_(p, std=math.sqrt(sigma.bias_variance))
    return net


def _check(sample_shape: list[int], channels: list[int], outputs: int) -> None:
    image = len(sample_shape) == 3 and min(sample_shape) >= 1
    required = "must be channels, height and width"
    require(image, "sample_shape", sample_shape, required, "[1, 28, 28] for MNIST")
    layers = len(channels) >= 1 and min(channels) >= 1
    require(layers, "channels", channels, "must be one number for each layer, at least 1")
    fits = min(sample_shape[1:]) >= 2 ** len(channels)
    required = f"halves an image of {sample_shape[1:]} too often"
    require(fits, "channels", channels, required, "name fewer layers")
    require(outputs >= 1, "outputs", outputs, "must be at least 1")
