"""Relations that hold in every steady state, and a test of whether a series satisfies them.

Both are those of Yaida, "Fluctuation-dissipation relations for SGD", arXiv:1810.00004.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.errors import require, require_kind

__all__ = ["Balance", "balance", "yaida_fdr1", "yaida_fdr2"]

_LEAST_BLOCKS = 16


def _require_pair(argument: str, one: Tensor, other: Tensor) -> None:
    for tensor in (one, other):
        require_kind(argument, tensor, Tensor)
    same = one.shape == other.shape and one.dim() == 2
    shapes = f"{tuple(one.shape)} and {tuple(other.shape)}"
    require(same, f"{argument}.shape", shapes, "must be (R, N), the same for both")


@checked
def yaida_fdr1(x: Tensor, y: Tensor, lr: float) -> tuple[Tensor, Tensor]:
    r"""Return both sides of the first relation, FDR1, for one step from x to y = x + Delta.

        -<x . Delta> / lr = <|Delta|^2> / (2 lr),

    because <|x|^2> does not change. This holds exactly for every dynamics with a steady state, at
    any step size, with any noise. For SGD, Delta = -lr g_B, it is Yaida's

        <x . g_B> = (lr / 2) <|g_B|^2>;

    for `Langevin`, Delta = -lr g + sqrt(2 lr T) xi, averaged over xi, the virial theorem with the
    correction of the step,

        <x . g> = T N + (lr / 2) <|g|^2>,

    where g is g_B with mini-batches, whose noise so adds to T N. Momentum and Adam obey the form
    in Delta. Without a force x diffuses and the left side vanishes: there is no steady state.

    The origin of x is free. Far from the origin x . Delta is mostly noise, so take the minimum, or
    a configuration so old that the present one is decorrelated from it.

    Args:
        x: configurations, shape (R, N).
        y: configurations one step later, shape (R, N).
        lr: a scale, the step size.

    Returns:
        Left and right side, each (R,), float64.

    >>> x = torch.tensor([[1.0, 2.0]])
    >>> [side.item() for side in yaida_fdr1(x, x + torch.tensor([[0.0, -0.5]]), lr=0.5)]
    [2.0, 0.25]
    """
    _require_pair("x", x, y)
    step = y.double() - x.double()
    return -(x.double() * step).sum(-1) / lr, step.square().sum(-1) / (2 * lr)


@checked
def yaida_fdr2(step: Tensor, before: Tensor, after: Tensor, lr: float) -> tuple[Tensor, Tensor]:
    r"""Return both sides of the second relation, FDR2, for one step Delta.

        -<Delta . grad E(x)> / lr = <Delta . H Delta> / (2 lr) + O(Delta^3),

    because <E> does not change; H Delta = grad E(x + Delta) - grad E(x) to this order, and exactly
    where E is quadratic. For SGD, with g = grad E and C~ = <g_B g_B^T>, it is Yaida's

        <|g|^2> = (lr / 2) <tr(H C~)>;

    for `Langevin` <|g|^2> = T <tr H> + (lr / 2) <g . H g>, which for lr -> 0 is
    the relation of the configurational temperature (Rugh 1997).
    Where FDR1 holds and FDR2 does not, the landscape is not quadratic over the length of a step.

    Args:
        step: Delta, shape (R, N).
        before: grad E of all the data at x, shape (R, N).
        after: the same at x + Delta.
        lr: as for `yaida_fdr1`, and so what is returned.
    """
    _require_pair("step", step, before)
    _require_pair("before", before, after)
    step, before, after = step.double(), before.double(), after.double()
    curvature = (step * (after - before)).sum(-1)
    return -(step * before).sum(-1) / lr, curvature / (2 * lr)


class Balance(NamedTuple):
    """Whether the two sides of a relation agree.

    Attributes:
        ratio: <left> / <right>; 1 in a steady state.
        error: its standard error.
        deviation: (<left> - <right>) over its standard error.
    """

    ratio: float
    error: float
    deviation: float

    def is_stationary(self, sigmas: float = 3.0) -> bool:
        """Whether the two sides agree within so many standard errors."""
        return abs(self.deviation) < sigmas


@checked
def balance(left: Tensor, right: Tensor) -> Balance:
    """Compare two sides measured at n times in R replicas.

    The error is that of the mean of left - right, from the scatter of the means of blocks of 1, 2,
    4, … successive times, in each replica apart: the largest of them, as long as there are 16
    blocks in all. It grows with the length of the blocks until they are longer than correlations
    (Flyvbjerg and Petersen, J. Chem. Phys. 91, 461 (1989)); the largest is too small by no more
    than so few blocks can resolve.

    Args:
        left: shape (n, R).
        right: shape (n, R).

    Raises:
        UsageError: fewer than 16 numbers on a side.

    >>> left = 1 + torch.randn(1000, 4, generator=torch.Generator().manual_seed(0))
    >>> balance(left, torch.ones(1000, 4)).is_stationary()
    True
    """
    residual = left.double() - right.double()
    required = f"must be at least {_LEAST_BLOCKS}, for an error bar"
    require(residual.numel() >= _LEAST_BLOCKS, "measurements", residual.numel(), required)
    blocks, errors = residual, []
    while blocks.numel() >= _LEAST_BLOCKS:
        errors.append(blocks.std() / blocks.numel() ** 0.5)
        if len(blocks) < 2:
            break
        even = len(blocks) // 2 * 2
        blocks = (blocks[0:even:2] + blocks[1:even:2]) / 2
    error, size = torch.stack(errors).max(), right.double().mean()
    return Balance(
        (left.double().mean() / size).item(),
        (error / size.abs()).item(),
        (residual.mean() / error).item(),
    )
