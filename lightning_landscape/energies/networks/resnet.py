"""ResNet-18 for small images."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_landscape.energies.networks._names import require_name
from lightning_landscape.energies.networks.replicated import Replicated
from lightning_landscape.errors import require

__all__ = ["NormalizationName", "ResNet18"]

NormalizationName = Literal["batch", "group"]


class ResNet18(Replicated):
    """R residual networks of 18 layers, in the variant for images of 32 x 32 pixels.

    A 3 x 3 convolution without pooling; four stages of two blocks with ``width`` times 1, 2, 4 and
    8 channels, each stage after the first with stride 2; the average over all pixels; and a linear
    map. A block is

        relu(skip(x) + norm(conv(relu(norm(conv(x)))))),

    with skip(x) = x, or a 1 x 1 convolution and a norm where the shape changes. It maps samples
    (R or 1, B, channels, h, w) to outputs (R, B, outputs). Convolutions have no biases, because a
    norm follows each. Initially their weights ~ N(0, 2 / fan-in), those of the linear map
    ~ N(0, 1 / fan-in); norms have scale 1 and shift 0.

    ``batch`` normalizes each channel over the samples of a group (see `Replicated`), without
    running averages: training, evaluation and held-out data use the statistics of the samples that
    are evaluated, and each rank of a distributed run those of its part of a batch. ``group``
    normalizes each sample separately, over 16 channels at a time (all of them where 16 does not
    divide their number). Both have the same parameters.

    N = 11 173 962 for 3 channels, width 64 and 10 outputs. A replica keeps about 2 million
    activations for each sample of 32 x 32 pixels: a gradient over a group of 128 samples needs 1 GB
    and, on one CPU core, 5 s.

    Source: He, Zhang, Ren, Sun 2016, arXiv:1512.03385, sections 3.3 and 4.2; Wu, He 2018,
    arXiv:1803.08494, table 3 (16 channels in a group).

    Args:
        outputs: the number of outputs.
        channels: those of a sample: 3 for CIFAR-10, 1 for MNIST and the digits.
        width: channels of the first stage.
        normalization: ``batch`` or ``group``.
        samples_together: how many samples are normalised together; unused by ``group``.
        replicas: R.
        seed: of the initial weights.
        dtype: ``float32`` or ``float64``.

    Raises:
        UsageError: an argument is out of range, or the weights do not fit into memory.

    >>> net = ResNet18(width=8, channels=1, normalization="group", replicas=2)
    >>> net(torch.zeros(1, 5, 1, 8, 8)).shape
    torch.Size([2, 5, 10])
    """

    def __init__(
        self,
        outputs: int = 10,
        channels: int = 3,
        width: int = 64,
        normalization: NormalizationName = "batch",
        samples_together: int = 128,
        replicas: int = 1,
        seed: int = 0,
        dtype: str = "float32",
    ) -> None:
        sizes = {"outputs": outputs, "channels": channels, "width": width}
        for name, size in sizes.items():
            require(size >= 1, name, size, "must be at least 1")
        require_name("normalization", normalization, ("batch", "group"))
        require_name("dtype", dtype, ("float32", "float64"))
        number = getattr(torch, dtype)
        super().__init__(
            lambda: _ResNet(outputs, channels, width, normalization).to(number),
            replicas,
            seed,
            samples_together if normalization == "batch" else None,
        )


class _ResNet(nn.Module):
    """One network with its initial weights."""

    def __init__(self, outputs: int, channels: int, width: int, kind: NormalizationName) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(channels, width, 3), _norm(width, kind), nn.ReLU())
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        blocks: list[nn.Module] = []
        for stage in range(4):
            m, n = widths[stage], widths[stage + 1]
            blocks += [_Block(m, n, kind, stride=2 if stage else 1), _Block(n, n, kind)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(widths[-1], outputs)
        nn.init.normal_(self.head.weight, std=widths[-1] ** -0.5)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class _Block(nn.Module):
    """A residual block from m to n channels."""

    def __init__(self, m: int, n: int, kind: NormalizationName, stride: int = 1) -> None:
        super().__init__()
        first = [_conv(m, n, 3, stride), _norm(n, kind), nn.ReLU()]
        self.branch = nn.Sequential(*first, _conv(n, n, 3), _norm(n, kind))
        kept = stride == 1 and m == n
        self.skip = nn.Identity() if kept else nn.Sequential(_conv(m, n, 1, stride), _norm(n, kind))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.skip(x) + self.branch(x))


def _conv(m: int, n: int, size: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(m, n, size, stride, padding=size // 2, bias=False)
    nn.init.normal_(conv.weight, std=math.sqrt(2 / (m * size**2)))
    return conv


def _norm(channels: int, kind: NormalizationName) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels, track_running_stats=False)
    return nn.GroupNorm(channels // 16 if channels % 16 == 0 else 1, channels)
