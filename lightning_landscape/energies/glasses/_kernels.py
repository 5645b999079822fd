"""Numba kernels of the glasses, for the CPU. Importing this module imports numba.

`packed_gradient`, `add_products` and `add_windows` compute gradients of homogeneous polynomials at
real or complex points; a complex argument gives second derivatives by one imaginary step (see
`_polynomial.along`). `packed_hessian` computes all second derivatives at real points. The caller
checks shapes; arrays are C-contiguous and all of one dtype, except indices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["add_products", "add_windows", "packed_gradient", "packed_hessian"]

# Reordered sums vectorise; nan is propagated, so neither nnan nor ninf.
_FAST = {"reassoc", "contract", "nsz"}
_L1_BLOCK = 1024


@njit(fastmath=_FAST, nogil=True, cache=True)
def packed_gradient(
    packed: NDArray, rest: tuple[NDArray, ...], x: NDArray, first: int, out: NDArray
) -> None:
    """Write the gradient of sum_t z_t x_{t_1} … x_{t_p} at each row of x.

    The smallest index i of a tuple runs fastest, so for fixed other indices u the couplings are
    one contiguous run of z. The monomials of a run are prod(x_u) (z.x): both its derivatives
    vectorise over i, see `_add_run`. Cost: 2 multiply-adds for each coupling, which is read once.

    Args:
        packed: z, shape (S, count(N, p)); row b of x sees sample (first + b) mod S.
        rest: the other indices u of each run, sorted; p - 1 arrays of length count(N, p - 1).
        x: shape (B, N).
        first: the number of the first row.
        out: shape (B, N), overwritten.
    """
    one = x.dtype.type(1)
    for b in range(x.shape[0]):
        couplings, gradient = packed[(first + b) % packed.shape[0]], out[b]
        gradient[:] = 0
        start = 0
        for u in range(len(rest[0])):
            size = rest[0][u] + 1
            _add_run(couplings[start : start + size], x[b], rest, u, one, gradient)
            start += size


@njit(fastmath=_FAST, nogil=True, cache=True)
def add_products(y: NDArray, outer: tuple[NDArray, ...], x: NDArray, out: NDArray) -> None:
    """Add the gradient of sum_u prod(x_u) x.y_u / 2, where y_u = S_u x; see `_products`.

    As y_u is linear in x, the derivative by the x in x.y_u is y_u, without the factor 1/2. Cost: 2
    multiply-adds for each element of y, which is read once.

    Args:
        y: shape (B, n, K).
        outer: the indices u, p - 2 arrays of length n.
        x: shape (B, N), N >= K.
        out: shape (B, N), added to.
    """
    half = x.dtype.type(0.5)
    for b in range(y.shape[0]):
        for u in range(y.shape[1]):
            _add_run(y[b, u], x[b], outer, u, half, out[b])


@njit(fastmath=_FAST, nogil=True, inline="always")  # a call would double the time
def _add_run(
    z: NDArray, x: NDArray, rest: tuple[NDArray, ...], u: int, weight: Any, gradient: NDArray
) -> None:
    """Add to the gradient the derivatives of prod_k x_{rest_k} (z.x), those of prod_k times weight.

    Args:
        z: shape (K,); it multiplies x_0 … x_{K-1}.
        x: shape (N,).
        rest: indices; those of this run are rest[k][u].
        u: the number of the run.
        weight: of the derivatives by the x_{rest_k}.
        gradient: shape (N,), added to.
    """
    product = x[rest[0][u]]
    for k in range(1, len(rest)):
        product *= x[rest[k][u]]
    for i in range(z.size):
        gradient[i] += z[i] * product
    total = x.dtype.type(0)
    for i in range(z.size):
        total += z[i] * x[i]
    for k in range(len(rest)):
        term = weight * total
        for j in range(len(rest)):
            if j != k:
                term *= x[rest[j][u]]
        gradient[rest[k][u]] += term


@njit(fastmath=_FAST, nogil=True, cache=True)
def packed_hessian(
    packed: NDArray, rest: tuple[NDArray, ...], x: NDArray, first: int, out: NDArray
) -> None:
    """Write the second derivatives of sum_t z_t x_{t_1} … x_{t_p} at each row of x.

    Each pair of factors of a monomial gives one term. Pairs with the smallest index i form runs
    that vectorise, as in `packed_gradient`; the others need the sum z.x of the run. Only the lower
    triangle is summed and then mirrored. Cost: p multiply-adds for each coupling, which is read
    once.

    Args:
        packed: z, shape (S, count(N, p)); row b of x sees sample (first + b) mod S.
        rest: as in `packed_gradient`.
        x: shape (B, N), real.
        first: the number of the first row.
        out: shape (B, N, N), overwritten.
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
    """Write the gradient of sum_{l,n} J_ln prod_k x_{order_l(n + offset_k)}, with n cyclic.

    Within a layer x is gathered once in the order of the layer; then each factor of the product is
    a shifted copy of one array, and all arithmetic runs over contiguous memory. Cost for each tuple
    and replica: one gather, one scatter and p (p - 1) multiplications.

    Args:
        couplings: J, shape (L, N).
        orders: a permutation of 0 … N-1 for each layer, shape (L, N), int32.
        offsets: p increasing integers, the first 0.
        x: replicas last, shape (N, R).
        out: shape (N, R), overwritten.
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
    """Write out_i = sum_k J_{i - o_k} prod_{j != k} y_{i - o_k + o_j}, o the offsets of a window.

    J and y begin with a margin of the last offset, y ends with one too; ``product`` is scratch
    space of the size of a block, which stays in the L1 cache.
    """
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


# R = 1 has a loop of its own in each: an inner loop of length 1 costs three times as much.


@njit(nogil=True)
def _repeat(values: NDArray, R: int, out: NDArray) -> None:
    """Write each value R times in a row."""
    if R == 1:
        for n in range(values.size):
            out[n] = values[n]
    else:
        for n in range(values.size):
            out[n * R : n * R + R] = values[n]


@njit(nogil=True)
def _take(x: NDArray, order: NDArray, out: NDArray) -> None:
    """Write the rows of x (N, R) in this order into the flat ``out``."""
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
    """Add the flat ``values``, whose rows are in this order, to the rows of out (N, R)."""
    R = out.shape[1]
    if R == 1:
        for n in range(order.size):
            out[order[n], 0] += values[n]
    else:
        for n in range(order.size):
            row, site = out[order[n]], values[n * R : n * R + R]
            for r in range(R):
                row[r] += site[r]
