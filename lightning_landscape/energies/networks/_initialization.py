"""Initial weights: for each replica and layer a function of (seed, layer, replica)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from lightning_landscape.rng import Stream

__all__ = ["INITIALIZATIONS", "InitializationName", "gaussian", "orthogonal"]

InitializationName = Literal["gaussian", "critical", "orthogonal"]

Draw = Callable[[Tensor, Stream, float], Tensor]
"""(out, stream, C) -> out: fills a stack of R arrays, the array of replica r at step r."""


def gaussian(out: Tensor, stream: Stream, C: float) -> Tensor:
    """Fill ``out``, shape (R, n, …), with N(0, C / m), m the entries of a row, and return it.

    A row is what belongs to one output: m is the fan-in of a matrix (n, m) and of a kernel
    (n, channels, height, width). A vector has rows of one entry.
    """
    for r, replica in enumerate(out):
        stream.normal_(replica, step=r)
    fan_in = math.prod(out.shape[2:])
    return out.mul_(math.sqrt(C / fan_in))


def orthogonal(out: Tensor, stream: Stream, C: float) -> Tensor:
    """Fill ``out``, shape (R, n, m), with sqrt(C) times Haar (semi-)orthogonal matrices.

    Its columns, or its rows where there are fewer, are orthogonal and of length sqrt(C): Q of the
    QR decomposition of normals, with the signs that make the diagonal of R positive, without
    which Q is not Haar distributed. Computed in float64 in any precision.

    Source: Mezzadri 2007, arXiv:math-ph/0609050, section 5.
    """
    n, m = out.shape[1:]
    normals = torch.empty(max(n, m), min(n, m), dtype=torch.float64)
    for r, replica in enumerate(out):
        Q, R = torch.linalg.qr(stream.normal_(normals, step=r))
        Q *= R.diagonal().sign()
        replica.copy_(Q if n >= m else Q.T)
    return out.mul_(math.sqrt(C))


INITIALIZATIONS: dict[str, Draw] = {
    "gaussian": gaussian,
    "critical": gaussian,
    "orthogonal": orthogonal,
}
