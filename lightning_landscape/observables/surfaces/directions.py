"""Directions of cuts: random ones in the scale of the weights, and those of a trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.errors import require, require_whole
from lightning_landscape.rng import Stream

__all__ = ["Normalization", "PrincipalDirections", "normalized", "principal_directions",
           "random_directions"]  # fmt: skip

Normalization = Literal["filter", "layer", "none"]


@checked
def random_directions(
    parameters: Sequence[Tensor],
    number: int = 2,
    normalization: Normalization = "filter",
    seed: int = 0,
) -> Tensor:
    """Return random directions in the scale of the parameters, shape (number, N).

    Standard normal numbers, then `normalized`. Direction k is a function of (seed, k): a third one
    leaves the first two as they are. In high dimensions they are almost orthogonal.

    Args:
        parameters: of one replica, without its axis, as a module holds them.
        number: how many.
        normalization: see `normalized`.
        seed: of the numbers.

    Raises:
        UsageError: an argument out of range, or a direction that the normalization makes zero.

    Source: Li, Xu, Taylor, Studer, Goldstein 2018, arXiv:1712.09913, section 4.

    >>> random_directions([torch.ones(4, 3), torch.ones(4)]).shape
    torch.Size([2, 16])
    """
    require_whole("number", number)
    stream, rows = Stream(seed, "surface"), []
    for k in range(number):
        flat = torch.empty(sum(p.numel() for p in parameters), dtype=torch.float64)
        stream.normal_(flat, step=k)
        sizes = [p.numel() for p in parameters]
        parts = [d.view(p.shape).to(p) for d, p in zip(flat.split(sizes), parameters, strict=True)]
        scaled = normalized(parts, parameters, normalization)
        rows.append(torch.cat([part.flatten() for part in scaled]))
    return torch.stack(rows)


@checked
def normalized(
    direction: Sequence[Tensor], parameters: Sequence[Tensor], normalization: Normalization
) -> list[Tensor]:
    r"""Return a direction d in the scale of the parameters theta.

    filter:  d_{i,j} <- d_{i,j} |theta_{i,j}| / |d_{i,j}|  for filter j of layer i
    layer:   the same with the whole layer in the place of a filter
    none:    d

    A filter is the weights into one output unit or channel, the first axis of a matrix or kernel.
    Biases and the scales and shifts of normalization layers, all parameters of fewer than two axes,
    do not move under ``filter`` and ``layer``. So cuts of two networks can be compared that are
    one function with other scales of their weights.

    Args:
        direction: d, a tensor for each parameter.
        parameters: theta.
        normalization: which.

    Raises:
        UsageError: an unknown normalization, or no parameter has two axes or a weight that is
            not 0.

    Source: Li et al. 2018, arXiv:1712.09913, eq. (1); there too biases stay.

    >>> d = normalized([torch.tensor([[3.0, 4.0]])], [torch.tensor([[0.0, 2.0]])], "filter")
    >>> d[0]
    tensor([[1.2000, 1.6000]])
    """
    known = get_args(Normalization)
    require(normalization in known, "normalization", normalization, f"must be one of {known}")
    if normalization == "none":
        return list(direction)
    scaled = []
    for d, p in zip(direction, parameters, strict=True):
        if p.dim() < 2:
            scaled.append(torch.zeros_like(d))
            continue
        axes = tuple(range(1 if normalization == "filter" else 0, p.dim()))
        length = torch.linalg.vector_norm(d, dim=axes, keepdim=True)
        wanted = torch.linalg.vector_norm(p.detach(), dim=axes, keepdim=True)
        scaled.append(d * (wanted / length).nan_to_num(0.0, 0.0, 0.0))
    moves = any(bool(d.any()) for d in scaled)
    needed = "needs a parameter of two axes that is not 0"
    remedy = 'use normalization="none"'
    require(moves, "normalization", normalization, needed, remedy)
    return scaled


class PrincipalDirections(NamedTuple):
    """The directions along which a trajectory extends most.

    Attributes:
        directions: unit vectors, the first explains most, shape (D, N).
        explained: the shares of the sum of squares that each explains, shape (D,), float64.
    """

    directions: Tensor
    explained: Tensor


@checked
def principal_directions(trajectory: Tensor, number: int = 2) -> PrincipalDirections:
    r"""Return the principal directions of x_t - x_T, T the last time.

    Those of largest \sum_t [(x_t - x_T) . d]^2. A random walk in many dimensions has 61 % of its
    sum of squares about the mean along the first and 15 % along the second, so that a large share
    says little by itself (Antognini, Sohl-Dickstein 2018, arXiv:1806.08805).

    Cost: T^2 N for T points.

    Args:
        trajectory: x_t, shape (T, N), of one replica.
        number: D, how many.

    Raises:
        UsageError: the trajectory does not extend in so many directions.

    Source: Li et al. 2018, arXiv:1712.09913, section 7.1.

    >>> principal_directions(torch.tensor([[0.0, 2.0], [0.0, 1.0], [0.0, 0.0]]), 1).explained
    tensor([1.], dtype=torch.float64)
    """
    require_whole("number", number)
    require(trajectory.dim() == 2, "trajectory.shape", tuple(trajectory.shape), "must be (T, N)")
    offsets = trajectory.double() - trajectory[-1].double()
    squares, left = torch.linalg.eigh(offsets @ offsets.T)
    squares, left = squares.flip(0), left.flip(1)
    rank = int((squares > 1e-12 * squares[0].clamp_min(torch.finfo(torch.float64).tiny)).sum())
    admissible = f"must be at most {rank}, the dimensions in which the {len(offsets)} points differ"
    remedy = "record more points of the trajectory"
    require(number <= rank, "number", number, admissible, remedy)
    directions = torch.nn.functional.normalize(left[:, :number].T @ offsets, dim=1)
    return PrincipalDirections(directions.to(trajectory), squares[:number] / squares.sum())
