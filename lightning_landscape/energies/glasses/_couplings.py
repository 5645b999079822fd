"""Gaussian couplings of order p: how they are drawn and planted, and the curvature they give.

The polynomial is P(x) = sum_t z_t x_{t_1} … x_{t_p}, summed over the unordered p-tuples t (see
`_tuples`), with one coefficient for each: the *packed* form, shape (count(N, p),). The energy of a
glass is -P.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from lightning_landscape.energies.glasses._tuples import (
    count,
    monomials,
    pair_numbers,
    permutations,
    tuples,
)
from lightning_landscape.rng import Stream

__all__ = ["curvature", "draw_", "plant_"]


def draw_(packed: Tensor, N: int, p: int, strength: float, stream: Stream) -> Tensor:
    """Fill ``packed`` with couplings such that <P(x) P(y)> = N strength (x.y/N)^p, and return it.

    This is the isotropic form P = sqrt(strength) N^((1-p)/2) sum g x_{i_1} … x_{i_p} over *all*
    ordered tuples, repeated indices included, with independent standard normal g. The orderings
    w_t of an unordered tuple share their monomial, so one normal times sqrt(w_t) stands for them.

    The normals of the tuples with the largest index m are step m of the stream, whatever N, the
    layout, the device and the dtype.
    """
    scale = math.sqrt(strength) * N ** ((1 - p) / 2)
    for m, block, _, orderings in _blocks(N, p):
        normals = stream.normal_(torch.empty(len(orderings), dtype=torch.float64), step=m)
        packed[block] = normals * orderings.sqrt() * scale
    return packed


def plant_(packed: Tensor, N: int, p: int, amount: float, spins: Tensor) -> Tensor:
    """Add N amount (spins.x/N)^p to the polynomial ``packed``, and return it.

    Args:
        packed: shape (count(N, p),).
        N: the number of variables.
        p: the order.
        amount: the coefficient; beta a_p plants an equilibrium configuration.
        spins: s*, shape (N,), float64.
    """
    scale = amount * float(N) ** (1 - p)
    for m, block, rest, orderings in _blocks(N, p):
        packed[block] += scale * spins[m] * orderings * monomials(rest, spins)
    return packed


def _blocks(N: int, p: int) -> Iterator[tuple[int, slice, Tensor, Tensor]]:
    """Yield for each largest index m: m, where its tuples lie, their other indices, orderings."""
    rest = tuples(N, p - 1)
    unchanged = permutations(rest).double()
    for m in range(N):
        n, start = count(m + 1, p - 1), count(m, p)
        others = rest[:, :n]
        times_m = (others == m).sum(0) + 1
        yield m, slice(start, start + n), others, math.factorial(p) / (unchanged[:n] * times_m)


def curvature(packed: Tensor, x: Tensor, p: int) -> tuple[Tensor, Tensor]:
    """Return the gradient (R, N) and the matrix of second derivatives (R, N, N) of P at x.

    Of the variable x_m and the tuples it leads, P = sum_m x_m Q_m(x_0 … x_m), where Q_m has the
    order p - 1 and is a block of the packed form.

    Args:
        packed: shape (S, count(N, p)) with S = R samples, or S = 1 for all replicas.
        x: shape (R, N).
        p: the order.
    """
    return _curvature(packed, x, p, pair_numbers(x.shape[1]).to(x.device))


def _curvature(packed: Tensor, x: Tensor, p: int, pairs: Tensor) -> tuple[Tensor, Tensor]:
    R, N = x.shape
    if p == 2:
        H = packed[:, pairs[:N, :N]].expand(R, N, N).clone()
        H.diagonal(dim1=1, dim2=2).mul_(2)
        return (H @ x[:, :, None]).squeeze(2), H
    G, H = x.new_zeros(R, N), x.new_zeros(R, N, N)
    for m in range(N):
        block, y = packed[:, count(m, p) : count(m + 1, p)], x[:, : m + 1]
        g, h = _curvature(block, y, p - 1, pairs)
        G[:, : m + 1] += x[:, m, None] * g
        G[:, m] += (y * g).sum(1) / (p - 1)
        H[:, : m + 1, : m + 1] += x[:, m, None, None] * h
        H[:, m, : m + 1] += g
        H[:, : m + 1, m] += g
    return G, H
