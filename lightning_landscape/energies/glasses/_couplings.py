"""Gaussian couplings of order p: drawing, planting, and the second derivatives of their polynomial.

The polynomial is P(x) = sum_t z_t x_{t_1} … x_{t_p} over the unordered p-tuples t (see `_tuples`),
with one coefficient for each: the *packed* form, shape (count(N, p),). The energy of a glass is
H = -P.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence

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

__all__ = ["Couplings", "curvature", "draw_", "plant_"]


class Couplings:
    """The couplings of some samples of the disorder, before they are drawn.

    Any block of them can be drawn without the others, since the normals of the tuples with largest
    index m are step m of a stream.

    Args:
        N: the number of variables.
        p: the order.
        strength: as for `draw_`.
        streams: one for each sample.
        planted: the amounts and configurations to `plant_`, one for each sample, or none.
        dtype: of the couplings.
    """

    def __init__(
        self,
        N: int,
        p: int,
        strength: float,
        streams: Sequence[Stream],
        planted: Sequence[tuple[float, Tensor]] = (),
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.N, self.p, self.dtype = N, p, dtype
        self._strength, self._streams, self._planted = strength, streams, planted

    def __len__(self) -> int:
        """The number of samples."""
        return len(self._streams)

    def drawn(self) -> Tensor:
        """Return all couplings, shape (S, count(N, p))."""
        packed = torch.empty(len(self), count(self.N, self.p), dtype=self.dtype)
        for s, couplings in enumerate(packed):
            draw_(couplings, self.N, self.p, self._strength, self._streams[s])
            if self._planted:
                plant_(couplings, self.N, self.p, *self._planted[s])
        return packed

    def runs(self, starts: Sequence[int], lengths: Sequence[int]) -> Iterator[Tensor]:
        """Yield packed[:, start : start + length] of some runs, drawing their blocks only.

        Args:
            starts: increasing.
            lengths: each within the block of one largest index.
        """
        ends = [count(m + 1, self.p) for m in range(self.N)]
        wanted = iter(zip(starts, lengths, strict=True))
        start, length = next(wanted, (-1, 0))
        rest = tuples(self.N, self.p - 1)
        unchanged = permutations(rest).double()
        while start >= 0:
            m = bisect_right(ends, start)
            block = self._block(m, rest, unchanged)
            first = count(m, self.p)
            while start >= 0 and start < ends[m]:
                yield block[:, start - first : start - first + length]
                start, length = next(wanted, (-1, 0))

    def _block(self, m: int, rest: Tensor, unchanged: Tensor) -> Tensor:
        """Return the couplings with largest index m, shape (S, n)."""
        others, orderings = _of_largest(m, self.p, rest, unchanged)
        block = torch.empty(len(self), len(orderings), dtype=self.dtype)
        for s, couplings in enumerate(block):
            scale = _scale(self.N, self.p, self._strength)
            couplings.copy_(_normals(self._streams[s], m, orderings) * scale)
            if self._planted:
                amount, spins = self._planted[s]
                couplings += _bias(self.N, self.p, amount, spins, m, others, orderings)
        return block


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
    for m, block, _, orderings in _blocks(N, p):
        packed[block] = _normals(stream, m, orderings) * _scale(N, p, strength)
    return packed


def _scale(N: int, p: int, strength: float) -> float:
    return math.sqrt(strength) * N ** ((1 - p) / 2)


def _normals(stream: Stream, m: int, orderings: Tensor) -> Tensor:
    """Return normals with the number of orderings as their variance, (n,), float64."""
    normals = stream.normal_(torch.empty(len(orderings), dtype=torch.float64), step=m)
    return normals * orderings.sqrt()


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
    for m, block, rest, orderings in _blocks(N, p):
        packed[block] += _bias(N, p, amount, spins, m, rest, orderings)
    return packed


def _bias(
    N: int, p: int, amount: float, spins: Tensor, m: int, rest: Tensor, orderings: Tensor
) -> Tensor:
    """Return what planting adds to the couplings with largest index m, (n,), float64."""
    return amount * float(N) ** (1 - p) * spins[m] * orderings * monomials(rest, spins)


def _blocks(N: int, p: int) -> Iterator[tuple[int, slice, Tensor, Tensor]]:
    """Yield for each m the tuples whose largest index it is.

    Returns:
        m; the slice of the packed form that holds them; their other indices, (p - 1, n); and the
        number of orderings of each, p! / prod_i c_i! with c_i the multiplicity of i, (n,).
    """
    rest = tuples(N, p - 1)
    unchanged = permutations(rest).double()
    for m in range(N):
        others, orderings = _of_largest(m, p, rest, unchanged)
        start = count(m, p)
        yield m, slice(start, start + len(orderings)), others, orderings


def _of_largest(m: int, p: int, rest: Tensor, unchanged: Tensor) -> tuple[Tensor, Tensor]:
    """Return the other indices of the tuples with largest index m, and their orderings."""
    n = count(m + 1, p - 1)
    others = rest[:, :n]
    times_m = (others == m).sum(0) + 1
    return others, math.factorial(p) / (unchanged[:n] * times_m)


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
