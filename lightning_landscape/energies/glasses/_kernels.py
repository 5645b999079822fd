"""Numba kernels of the glasses, for the CPU. Importing this module imports numba.

Each computes the gradient of a homogeneous polynomial, for real or for complex x: with the latter
and one imaginary step it gives the second derivatives too (see `_polynomial.along`).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["add_products", "add_windows", "packed_gradient"]

# Sums may be reordered, or they do not vectorise; but a nan has to remain a nan.
_FAST = {"reassoc", "contract", "nsz"}
_L1_BLOCK = 1024


@njit(fastmath=_FAST, nogil=True, cache=True)
def packed_gradient(
    packed: NDArray, rest: tuple[NDArray, ...], x: NDArray, first: int, out: NDArray
) -> None:
    """Write the gradient of sum_t z_t x_{t_1} … x_{t_p} at each row of x.

    The smallest index i of a tuple runs fastest, so for fixed other indices u the couplings are
    one contiguous run z: out_i += z_i prod x_u vectorises over i, and so does the sum z.x that the
    derivatives with respect to the x_u need. Every coupling is read once.

    Args:
        packed: z, shape (S, n); row b of x belongs to sample (first + b) mod S.
        rest: the p - 1 other indices u of each run, sorted, one array for each.
        x: shape (B, N).
        first: the number of the first row.
        out: shape (B, N).
    """
    for b in range(x.shape[0]):
        couplings, y, gradient = packed[(first + b) % packed.shape[0]], x[b], out[b]
        gradient[:] = 0
        start = 0
        for u in range(len(rest[0])):
            size = rest[0][u] + 1
            z = couplings[start : start + size]
            start += size
            product = y[rest[0][u]]
            for k in range(1, len(rest)):
                product *= y[rest[k][u]]
            for i in range(size):
                gradient[i] += z[i] * product
            total = x.dtype.type(0)
            for i in range(size):
                total += z[i] * y[i]
            for k in range(len(rest)):
                term = total
                for j in range(len(rest)):
                    if j != k:
                        term *= y[rest[j][u]]
                gradient[rest[k][u]] += term


@njit(fastmath=_FAST, nogil=True, cache=True)
def add_products(y: NDArray, outer: tuple[NDArray, ...], x: NDArray, out: NDArray) -> None:
    """Add to the gradient what the products y_u = S_u x contribute; see `_products`.

    Args:
        y: shape (B, n, K).
        outer: the indices of u, an array of n for each.
        x: shape (B, N).
        out: shape (B, N).
    """
    for b in range(y.shape[0]):
        site, gradient = x[b], out[b]
        for u in range(y.shape[1]):
            row = y[b, u]
            product = site[outer[0][u]]
            for a in range(1, len(outer)):
                product *= site[outer[a][u]]
            for i in range(row.size):
                gradient[i] += product * row[i]
            total = x.dtype.type(0)
            for i in range(row.size):
                total += site[i] * row[i]
            for a in range(len(outer)):
                half = total / x.dtype.type(2)
                for c in range(len(outer)):
                    if c != a:
                        half *= site[outer[c][u]]
                gradient[outer[a][u]] += half


@njit(fastmath=_FAST, nogil=True, cache=True)
def packed_hessian(
    packed: NDArray, rest: tuple[NDArray, ...], x: NDArray, first: int, out: NDArray
) -> None:
    """Write the second derivatives of sum_t z_t x_{t_1} … x_{t_p} at each row of x.

    Every pair of factors of a monomial gives one term: those with the smallest index i are runs
    that vectorise, as in `packed_gradient`; the others need the sum z.x of the run. Only the lower
    triangle is summed, and every coupling is read once.

    Args:
        packed: z, shape (S, n); row b of x belongs to sample (first + b) mod S.
        rest: as in `packed_gradient`.
        x: shape (B, N).
        first: the number of the first row.
        out: shape (B, N, N).
    """
    for b in range(x.shape[0]):
        couplings, y, H = packed[(first + b) % packed.shape[0]], x[b], out[b]
        H[:] = 0
        start = 0
        for u in range(len(rest[0])):
            size = rest[0][u] + 1
            z = couplings[start : start + size]
            start += size
            total = x.dtype.type(0)
            for i in range(size):
                total += z[i] * y[i]
            for k in range(len(rest)):
                row, product = H[rest[k][u]], x.dtype.type(1)
                for j in range(len(rest)):
                    if j != k:
                        product *= y[rest[j][u]]
                for i in range(size):
                    row[i] += z[i] * product
                for m in range(k):
                    term = total
                    for j in range(len(rest)):
                        if j != k and j != m:
                            term *= y[rest[j][u]]
                    row[rest[m][u]] += term
        for i in range(len(y)):
            H[i, i] *= 2
            for j in range(i):
                H[j, i] = H[i, j]


@njit(fastmath=_FAST, nogil=True, cache=True)
def add_windows(
    couplings: NDArray, orders: NDArray, offsets: tuple[int, ...], x: NDArray, out: NDArray
) -> None:
    """Write the gradient of sum_ln J_ln prod_k x_{order_l(n + offset_k)}, n cyclic, into out.

    Once x is put into the order of a layer, each factor of the product is a shifted copy of one
    array; only getting there and back is indexed, once for a tuple and not once for each index.

    Args:
        couplings: J, shape (L, N).
        orders: a permutation of 0 … N-1 for each layer, shape (L, N), int32.
        offsets: p increasing integers, the first 0.
        x: replicas last, shape (N, R).
        out: shape (N, R).
    """
    L, N = couplings.shape
    R = x.shape[1]
    size, margin = N * R, offsets[-1] * R
    y = np.empty(size + 2 * margin, x.dtype)  # margin | N sites in order | margin
    J = np.empty(size + margin, x.dtype)
    gradient = np.empty(size, x.dtype)
    product = np.empty(_L1_BLOCK, x.dtype)
    out[:] = 0
    for layer in range(L):
        _repeat(couplings[layer], R, J[margin:])
        J[:margin] = J[size:]
        _take(x, orders[layer], y[margin:])
        y[:margin] = y[size : size + margin]
        y[size + margin :] = y[margin : 2 * margin]
        _slide(J, y, offsets, R, product, gradient)
        _give(gradient, orders[layer], out)


@njit(fastmath=_FAST, nogil=True)
def _slide(
    J: NDArray, y: NDArray, offsets: tuple[int, ...], R: int, product: NDArray, out: NDArray
) -> None:
    """Write out_i = sum_k J_{i - k} prod_{j != k} y_{i - k + j}, in blocks that stay in L1."""
    margin = offsets[-1] * R
    for start in range(0, out.size, product.size):
        size = min(product.size, out.size - start)
        block = out[start : start + size]
        block[:] = 0
        for k in range(len(offsets)):
            here = start + margin - offsets[k] * R
            factor = J[here : here + size]
            left = len(offsets) - 1
            for j in range(len(offsets)):
                if j != k:
                    other = y[here + offsets[j] * R : here + offsets[j] * R + size]
                    left -= 1
                    if left:
                        for i in range(size):
                            product[i] = factor[i] * other[i]
                        factor = product[:size]
                    else:
                        for i in range(size):
                            block[i] += factor[i] * other[i]


# One column is worth its own loop in each: a loop of length 1 inside costs three times as much.


@njit(nogil=True)
def _repeat(values: NDArray, R: int, out: NDArray) -> None:
    if R == 1:
        for n in range(values.size):
            out[n] = values[n]
    else:
        for n in range(values.size):
            out[n * R : n * R + R] = values[n]


@njit(nogil=True)
def _take(x: NDArray, order: NDArray, out: NDArray) -> None:
    R = x.shape[1]
    if R == 1:
        for n in range(order.size):
            out[n] = x[order[n], 0]
    else:
        for n in range(order.size):
            row, site = x[order[n]], out[n * R : n * R + R]
            for r in range(R):
                site[r] = row[r]


@njit(nogil=True)
def _give(values: NDArray, order: NDArray, out: NDArray) -> None:
    R = out.shape[1]
    if R == 1:
        for n in range(order.size):
            out[order[n], 0] += values[n]
    else:
        for n in range(order.size):
            row, site = out[order[n]], values[n * R : n * R + R]
            for r in range(R):
                row[r] += site[r]
