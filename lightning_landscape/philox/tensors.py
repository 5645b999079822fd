"""The normals of `compiled` by torch operators: the same bits on any device with float64.

Words are kept in int64, where their products wrap as they should. A float32 number is kept as the
float64 of the same value: the product of two is then exact, and one conversion rounds it as float32
arithmetic would. A fused multiply-add is the exact product and a sum rounded to odd, which makes
the second rounding, to float32, that of the exact result. The square root of a float32 number
survives two roundings; torch's own in float32 is not correctly rounded on every processor.

Some 500 operators a call: on a GPU a few milliseconds, whatever the size, up to about 10^6 numbers.
It is the reference, and serves on a GPU without Triton; else `cuda` draws there.

Source: Boldo and Melquiond, IEEE Trans. Comput. 57, 462 (2008), for rounding to odd.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_landscape.philox.addresses import Addresses

__all__ = ["fill_addressed", "fill_normal", "normals_of_words", "philox"]

WORD = 0xFFFFFFFF
ROUNDS = 7
CHUNK = 1 << 20  # counters worked on at once, which bounds the memory
LANES = 256  # as in `compiled`: the order of the numbers of `fill_normal` depends on it


def philox(counter: tuple[Any, Any, Any, Any], key: Any) -> list[Tensor]:
    """Return the four output words of counters of four words, tensors or numbers, in int64."""
    c0, c1, c2, c3 = counter
    k0, k1 = key & WORD, key >> 32 & WORD
    for _ in range(ROUNDS):
        product0, product1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c2 = (product1 >> 32 & WORD) ^ c1 ^ k0, (product0 >> 32 & WORD) ^ c3 ^ k1
        c1, c3 = product1 & WORD, product0 & WORD
        k0, k1 = k0 + 0x9E3779B9 & WORD, k1 + 0xBB67AE85 & WORD
    return [c0, c1, c2, c3]


def _number(x: float) -> float:
    """The float32 nearest to x."""
    return float(np.float32(x))


def _rounded(x: Tensor) -> Tensor:
    return x.float().double()


def _fma(a: Any, b: Any, c: Any) -> Tensor:
    """Return a b + c rounded once to float32."""
    product = a * b
    total = product + c
    back = total - product
    error = (product - (total - back)) + (c - back)
    bits = total.view(torch.int64)
    step = torch.where((error > 0) == (total > 0), 1, -1)
    even = (error != 0) & (bits & 1 == 0)
    return _rounded((bits + even * step).view(torch.float64))


def _polynomial(x: Tensor, *coefficients: float) -> Tensor:
    """Horner's scheme, the highest power first."""
    y: Any = _number(coefficients[0])
    for c in coefficients[1:]:
        y = _fma(y, x, _number(c))
    return y


def _log(x: Tensor) -> Tensor:
    """The natural logarithm of a positive float32."""
    bits = x.float().view(torch.int32)
    exponent = bits - 0x3F3504F3 >> 23  # the mantissa is then in [0.7, 1.4)
    t = (bits - (exponent << 23)).view(torch.float32).double() - 1
    y = _polynomial(
        t, 7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
        -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1, -0.5,
    )  # fmt: skip
    return _fma(exponent.double(), _number(math.log(2)), _fma(_rounded(t * t), y, t))


def normals_of_words(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Box-Muller: two words give two normals, radius from ``u`` and angle 2 pi v / 2^32."""
    uniform = _fma(_rounded(u.double()), 2.0**-32, 2.0**-33)
    radius = _rounded(torch.sqrt(-2 * _log(uniform)))
    angle = v.to(torch.int32)
    quarter = angle + 0x20000000 >> 30
    rest = angle - (quarter << 30)
    t = _rounded(_rounded(rest.double()) * _number(2 * math.pi / 2**32))  # |t| <= pi / 4
    z = _rounded(t * t)
    s = _polynomial(z, -1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
    sine = _fma(_rounded(s * z), t, t)
    cosine = _polynomial(
        z, 2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2, -0.5, 1
    )
    odd = quarter & 1 != 0
    s, c = torch.where(odd, cosine, sine), torch.where(odd, sine, cosine)
    x = radius * torch.where(quarter + 1 & 2 != 0, -c, c)
    y = radius * torch.where(quarter & 2 != 0, -s, s)
    return x.float(), y.float()


def _normals(counter: tuple[Any, Any, Any, Any], key: Any) -> Tensor:
    """Return the four normals of each of n counters, shape (4, n)."""
    a, b, c, d = philox(counter, key)
    x, y = normals_of_words(torch.stack([a, c]), torch.stack([b, d]))
    return torch.stack([x, y], dim=1).flatten(0, 1)


def fill_normal(out: Tensor, key: int | Tensor) -> None:
    """Fill ``out`` (n,) with the first n standard normals of ``key``, a tensor (1,) or a number."""
    for begin in range(0, len(out), 4 * CHUNK):
        chunk = out[begin : begin + 4 * CHUNK]
        blocks = -(-len(chunk) // (4 * LANES))
        counters = begin // 4 + torch.arange(blocks * LANES, device=out.device)
        normals = _normals((counters, 0, 0, 0), key).view(4, blocks, LANES)
        chunk.copy_(normals.transpose(0, 1).flatten()[: len(chunk)])


def fill_addressed(out: Tensor, addresses: Addresses, key: int | Tensor) -> None:
    """Fill ``out`` with the normals of ``addresses``, see `Addresses`."""
    done, rows = 0, _rows_on(out.device, addresses)
    for k, first, slices, numbers, start in addresses.parts.tolist():
        counters = -(-numbers // 4)
        normals = out.new_empty(slices * counters, 4)
        for begin in range(0, len(normals), CHUNK):
            end = min(begin + CHUNK, len(normals))
            index = torch.arange(begin, end, device=out.device)
            owner = rows[first + index // counters]
            normals[begin:end] = _normals((start + index % counters, owner, 0, k), key).T
        size = slices * numbers
        out[done : done + size] = normals.view(slices, -1)[:, :numbers].flatten()
        done += size


@lru_cache(maxsize=16)
def _rows_on(device: torch.device, addresses: Addresses) -> Tensor:
    return torch.from_numpy(addresses.rows.astype(np.int64)).to(device)
