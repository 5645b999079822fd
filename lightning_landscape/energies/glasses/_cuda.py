"""The gradient of order p on a CUDA device, in one kernel. Importing this imports Triton.

`_products` says what is computed. There the products y_u = S_u x are written to memory and read
again; here a program makes a tile of them and sums it both ways while it is in registers, so that
the matrices are read once and nothing else counts. Partial sums go to places of their own and are
added in a fixed order: the same input gives the same bits.

A product of numbers of 24 bits is made of three of 11, by the units for matrices: the leading bits
of both, and those of each with the rest of the other. What is left out is 2^-21 of it, so that the
gradient has the precision of float32, at up to three times the speed of float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import triton
import triton.language as tl
from torch import Tensor

from lightning_landscape.energies.glasses._products import add_factors

__all__ = ["Plan"]

# programs for each multiprocessor, so that those that end last wait for little
_PROGRAMS = 24
# rows of x, and components i and j of a matrix, in a tile
_MOST_ROWS, _I, _J, _J_OF_ONE_ROW = 64, 64, 32, 64


@triton.jit
def _multiply_and_sum(
    x: tl.tensor,
    leading: tl.tensor,
    rest: tl.tensor,
    matrices: tl.tensor,
    outer: tl.tensor,
    of_tuple: tl.tensor,
    of_program: tl.tensor,
    sums: tl.tensor,
    products: tl.tensor,
    B: tl.tensor,
    S: tl.tensor,
    total: tl.tensor,
    n: tl.tensor,
    N: tl.constexpr,
    order: tl.constexpr,
    is_aligned: tl.constexpr,
    ROWS: tl.constexpr,
    I: tl.constexpr,
    J: tl.constexpr,
) -> None:
    """Of rows b, some tuples u and a tile of i: sum_u (prod_a x_{u_a}) y_ui, and sum_i x_i y_ui.

    Args:
        x: (B, N).
        leading: the leading 11 bits of x, (B, N).
        rest: x - leading.
        matrices: (S, total).
        outer: the tuples u, (order, n).
        of_tuple: of each the size K_u, where its matrix begins, and the length of a row of it;
            multiples of 4 if ``is_aligned``, where the rows of a matrix end in zeros.
        of_program: the first tuple, the one after the last, the tile of i, and their chunk.
        sums: (chunks, B, N).
        products: (tiles, n, B).
        B: the number of rows; row b belongs to sample b mod S.
        S: the number of samples.
        total: the length of a row of ``matrices``.
        n: the number of tuples.
        N: the number of variables.
        order: p - 2.
        is_aligned: see ``of_tuple``.
        ROWS: of x in a program.
        I: rows of a matrix in a tile.
        J: columns.
    """
    sample = tl.program_id(2)
    program = of_program + 4 * tl.program_id(1)
    first, last = tl.load(program), tl.load(program + 1)
    tile, chunk = tl.load(program + 2), tl.load(program + 3)
    b = sample + S * (tl.program_id(0) * ROWS + tl.arange(0, ROWS))
    here = b < B
    i, j = tile * I + tl.arange(0, I), tl.arange(0, J)
    sum_u = tl.zeros([I, ROWS], tl.float32)
    for u in range(first, last):
        K = tl.load(of_tuple + 3 * u).to(tl.int32)
        begin, stride = tl.load(of_tuple + 3 * u + 1), tl.load(of_tuple + 3 * u + 2)
        if is_aligned:  # so that four numbers are read at once
            K, begin = tl.multiple_of(K, 4), tl.multiple_of(begin, 4)
            stride = tl.multiple_of(stride, 4)
        matrix = matrices + sample.to(tl.int64) * total + begin + i[:, None] * stride + j[None, :]
        y = tl.zeros([I, J if ROWS == 1 else ROWS], tl.float32)
        for k in range(0, K, J):
            block = tl.load(matrix + k, (i[:, None] < K) & ((k + j)[None, :] < K), 0.0)
            if ROWS == 1:
                y += block * tl.load(x + sample * N + k + j, k + j < K, 0.0)[None, :]
            else:
                place = b[None, :] * N + (k + j)[:, None]
                inside = here[None, :] & ((k + j)[:, None] < K)
                large, small = (
                    tl.load(leading + place, inside, 0.0),
                    tl.load(rest + place, inside, 0.0),
                )
                high = (block.to(tl.int32, bitcast=True) & -8192).to(tl.float32, bitcast=True)
                part = tl.dot(block - high, large, input_precision="tf32")
                part = tl.dot(high, small, part, input_precision="tf32")
                # the sum over k is not that of the units for matrices, which cut off digits
                y += tl.dot(high, large, part, input_precision="tf32")
        if ROWS == 1:
            y = tl.sum(y, 1)[:, None]
        xi = tl.load(x + b[None, :] * N + i[:, None], here[None, :] & (i[:, None] < K), 0.0)
        tl.store(products + (tile * n + u).to(tl.int64) * B + b, tl.sum(xi * y, 0), here)
        for a in tl.static_range(order):
            y *= tl.load(x + b * N + tl.load(outer + a * n + u), here, 0.0)[None, :]
        sum_u += y
    to = sums + (chunk * B + b).to(tl.int64)[None, :] * N + i[:, None]
    tl.store(to, sum_u, here[None, :] & (i[:, None] < N))


class Plan:
    """How the tuples are shared out among the programs; see `Products` for what is computed.

    Args:
        outer: the tuples u by increasing K_u, shape (p-2, n), on the device.
        sizes: the K_u.
        begins: where the matrix of each begins in a row of the matrices.
        strides: the length of a row of its matrix.
        N: the number of variables.
    """

    def __init__(
        self,
        outer: Tensor,
        sizes: Sequence[int],
        begins: Sequence[int],
        strides: Sequence[int],
        N: int,
    ) -> None:
        self._outer, self._sizes, self._N = outer.contiguous(), sizes, N
        self._is_aligned = all(number % 4 == 0 for number in (*begins, *strides))
        read = [-(-K // 4) * 4 for K in sizes] if self._is_aligned else sizes
        table = torch.tensor([read, begins, strides], dtype=torch.int64)
        self._of_tuple = table.T.contiguous().to(outer.device)
        self._programs: dict[int, tuple[Tensor, int]] = {}
        multiprocessors = torch.cuda.get_device_properties(outer.device).multi_processor_count
        self._wanted = _PROGRAMS * multiprocessors

    def gradient(self, x: Tensor, matrices: Tensor) -> Tensor:
        """Return the gradient at each row of x, float32, shape (B, N)."""
        (B, N), (order, n), S = x.shape, self._outer.shape, len(matrices)
        rows = B // S
        together = 1 if rows == 1 else min(_MOST_ROWS, max(16, triton.next_power_of_2(rows)))
        J = _J if together > 1 else _J_OF_ONE_ROW
        blocks, tiles = triton.cdiv(rows, together), triton.cdiv(N, _I)
        programs, chunks = self._shared_out(blocks * S)
        both = x.new_zeros(chunks * B * N + tiles * n * B)
        sums, products = both.split([chunks * B * N, tiles * n * B])
        leading = (x.view(torch.int32) & -8192).view(torch.float32)
        tensors = (x, leading, x - leading, matrices, self._outer, self._of_tuple, programs)
        sizes = (B, S, matrices.shape[1], n, N, order, self._is_aligned, together, _I, J)
        grid = (blocks, len(programs), S)
        _multiply_and_sum[grid](*tensors, sums, products, *sizes, num_warps=4, num_stages=3)
        half = products.view(tiles, n, B).sum(0).T / 2
        return add_factors(sums.view(chunks, B, N).sum(0), half, self._outer, x)

    def _shared_out(self, copies: int) -> tuple[Tensor, int]:
        """Return (first tuple, last, tile, chunk) of each program, and the number of chunks."""
        if copies not in self._programs:
            most = max(1, 2 * self._wanted // (triton.cdiv(self._N, _I) * copies))
            share, done = -(-sum(self._sizes) // most), 0
            ends = [0]
            for u, K in enumerate(self._sizes):  # chunks of about the same work
                done += K
                if done >= share or u == len(self._sizes) - 1:
                    ends.append(u + 1)
                    done = 0
            programs = [
                (first, last, tile, chunk)
                for chunk, (first, last) in enumerate(pairwise(ends))
                for tile in range(triton.cdiv(self._sizes[last - 1], _I))
            ]
            programs.reverse()  # the longest first
            table = torch.tensor(programs, dtype=torch.int32).to(self._outer.device)
            self._programs[copies] = table, len(ends) - 1
        return self._programs[copies]
