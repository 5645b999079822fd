"""Gaussian couplings of order p: drawing, planting, and the second derivatives of their polynomial.

The polynomial is P(x) = sum_t z_t x_{t_1} … x_{t_p} over the unordered p-tuples t (see `_tuples`),
with one coefficient for each: the *packed* form, shape (count(N, p),). The energy of a glass is
H = -P.
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
    ordered tuples, repeated indices included, with independent standard normal g. The w_t orderings
    of an unordered tuple share one monomial, so that the sum of their normals is sqrt(w_t) times
    one normal.

    The normals of the tuples with largest index m are step m of the stream; they depend neither on
    N nor on layout, device and dtype.

    Args:
        packed: shape (count(N, p),), on the CPU; overwritten.
        N: the number of variables.
        p: the order.
        strength: the coefficient a_p of the covariance f(q), in units of J^2.
        stream: of random numbers, one for each sample of the disorder.

    Cost: one normal number for each coupling, and the indices of the (p-1)-tuples, 8 (p - 1)
    count(N, p - 1) bytes.

    Source: Auffinger, Ben Arous, Cerny 2013, arXiv:1003.1129, for the isotropic form.
    """
    scale = math.sqrt(strength) * N ** ((1 - p) / 2)
    for m, block, _, orderings in _blocks(N, p):
        normals = stream.normal_(torch.empty(len(orderings), dtype=torch.float64), step=m)
        packed[block] = normals * orderings.sqrt() * scale
    return packed


def plant_(packed: Tensor, N: int, p: int, amount: float, spins: Tensor) -> Tensor:
    """Add N amount (spins.x/N)^p to the polynomial ``packed``, and return it.

    With amount = a_p / T, couplings drawn by `draw_` and the configuration s* become a sample of
    the model and of its equilibrium at T, exactly as long as the annealed average is exact, that
    is for T above the static transition.

    Args:
        packed: shape (count(N, p),), on the CPU; added to.
        N: the number of variables.
        p: the order.
        amount: the coefficient, a_p / T.
        spins: s*, shape (N,), float64.

    Source: Krzakala, Zdeborova 2009, arXiv:0901.2130.
    """
    scale = amount * float(N) ** (1 - p)
    for m, block, rest, orderings in _blocks(N, p):
        packed[block] += scale * spins[m] * orderings * monomials(rest, spins)
    return packed


def _blocks(N: int, p: int) -> Iterator[tuple[int, slice, Tensor, Tensor]]:
    """Yield for each m the tuples whose largest index it is.

    Returns:
        m; the slice of the packed form that holds them; their other indices, (p - 1, n); and the
        number of orderings of each, p! / prod_i c_i! with c_i the multiplicity of i, (n,).
    """
    rest = tuples(N, p - 1)
    unchanged = permutations(rest).double()
    for m in range(N):
        n, start = count(m + 1, p - 1), count(m, p)
        others = rest[:, :n]
        times_m = (others == m).sum(0) + 1
        yield m, slice(start, start + n), others, math.factorial(p) / (unchanged[:n] * times_m)


def curvature(packed: Tensor, x: Tensor, p: int) -> tuple[Tensor, Tensor]:
    """Return the gradient (R, N) and the matrix of second derivatives (R, N, N) of P at x.

    By the largest index m of each tuple, P = sum_m x_m Q_m(x_0 … x_m), where Q_m has the order
    p - 1 and its coefficients are a block of the packed form: a recursion down to p = 2.

    Args:
        packed: shape (S, count(N, p)) with S = R samples, or S = 1 for all replicas.
        x: shape (R, N).
        p: the order, at least 2.

    Cost: reads each coupling once, in N^(p-2) tensor operations; for devices without a kernel (see
    `_kernels.packed_hessian`).
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
