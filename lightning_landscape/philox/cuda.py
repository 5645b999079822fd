"""The normals of `compiled` on a CUDA device, one kernel a draw. Importing this imports Triton.

The bits are those of `compiled`: the same integers, the same correctly rounded operations in the
same order, and no multiplication and addition contracted but those that are written as one.

Source: see the package.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from lightning_landscape.philox.addresses import Addresses

__all__ = ["fill_addressed", "fill_normal"]

LANES = tl.constexpr(256)  # as in `compiled`: the order of the numbers of `fill_normal`
TILE = tl.constexpr(256)  # counters of one program of `fill_addressed`
LOG_2 = tl.constexpr(math.log(2))
TURN = tl.constexpr(2 * math.pi / 2**32)

Key = int | Tensor
"""A key, or a tensor on the device that holds one as int64, read when the kernel runs."""


@triton.jit
def _log(x: tl.tensor) -> tl.tensor:
    bits = x.to(tl.int32, bitcast=True)
    exponent = (bits - 0x3F3504F3) >> 23  # the mantissa is then in [0.7, 1.4)
    t = (bits - (exponent << 23)).to(tl.float32, bitcast=True) - 1.0
    y = tl.fma(t, 7.0376836292e-2, -1.1514610310e-1)
    y = tl.fma(y, t, 1.1676998740e-1)
    y = tl.fma(y, t, -1.2420140846e-1)
    y = tl.fma(y, t, 1.4249322787e-1)
    y = tl.fma(y, t, -1.6668057665e-1)
    y = tl.fma(y, t, 2.0000714765e-1)
    y = tl.fma(y, t, -2.4999993993e-1)
    y = tl.fma(y, t, 3.3333331174e-1)
    y = tl.fma(y, t, -0.5)
    return tl.fma(exponent.to(tl.float32), LOG_2, tl.fma(t * t, y, t))


@triton.jit
def _signed(x: tl.tensor, bit: tl.tensor) -> tl.tensor:
    """The number x, with the other sign where the second bit of ``bit`` is set."""
    return (x.to(tl.int32, bitcast=True) ^ ((bit & 2) << 30)).to(tl.float32, bitcast=True)


@triton.jit
def _normals(u: tl.tensor, v: tl.tensor) -> tl.tensor:
    """Box-Muller: two words give two normals, radius from u and angle 2 pi v / 2^32."""
    radius = tl.sqrt_rn(-2.0 * _log(tl.fma(u.to(tl.float32), 2.0**-32, 2.0**-33)))
    angle = v.to(tl.int32, bitcast=True)
    quarter = (angle + 0x20000000) >> 30
    t = (angle - (quarter << 30)).to(tl.float32) * TURN  # |t| <= pi / 4
    z = t * t
    s = tl.fma(tl.fma(z, -1.9515295891e-4, 8.3321608736e-3), z, -1.6666654611e-1)
    sine = tl.fma(s * z, t, t)
    c = tl.fma(z, 2.443315711809948e-5, -1.388731625493765e-3)
    cosine = tl.fma(tl.fma(tl.fma(c, z, 4.166664568298827e-2), z, -0.5), z, 1.0)
    odd = (quarter & 1) != 0
    first, second = tl.where(odd, sine, cosine), tl.where(odd, cosine, sine)
    return radius * _signed(first, quarter + 1), radius * _signed(second, quarter)


@triton.jit
def _four(
    c0: tl.tensor, c1: tl.tensor, c3: tl.tensor, key: tl.tensor, is_pointer: tl.constexpr
) -> tl.tensor:
    """The four normals of the counters (c0, c1, 0, c3)."""
    if is_pointer:
        key = tl.load(key)
    key = key.to(tl.int64)
    k0, k1 = key.to(tl.uint32), (key >> 32).to(tl.uint32)
    zero = c0 * 0
    a, b, c, d = tl.philox_impl(c0, zero + c1, zero, zero + c3, k0, k1, 7)
    x0, y0 = _normals(a, b)
    x1, y1 = _normals(c, d)
    return x0, y0, x1, y1


@triton.jit(do_not_specialize=["key"])
def _fill_normal(out: tl.tensor, size: tl.tensor, key: tl.tensor, is_pointer: tl.constexpr) -> None:
    block = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, LANES)
    zero = tl.zeros([LANES], tl.uint32)
    counter = (block * LANES + lane).to(tl.uint32)
    a, b, c, d = _four(counter, zero, zero, key, is_pointer)
    place = block * (4 * LANES) + lane
    tl.store(out + place, a, mask=place < size)
    tl.store(out + place + LANES, b, mask=place + LANES < size)
    tl.store(out + place + 2 * LANES, c, mask=place + 2 * LANES < size)
    tl.store(out + place + 3 * LANES, d, mask=place + 3 * LANES < size)


@triton.jit(do_not_specialize=["key"])
def _fill_addressed(
    out: tl.tensor,
    rows: tl.tensor,
    parts: tl.tensor,
    tiles: tl.tensor,
    key: tl.tensor,
    is_pointer: tl.constexpr,
) -> None:
    tile = tiles + 2 * tl.program_id(0)
    part, base = parts + 6 * tl.load(tile), tl.load(tile + 1).to(tl.int32)
    parameter, first, slices = tl.load(part), tl.load(part + 1), tl.load(part + 2)
    numbers, start, begin = tl.load(part + 3), tl.load(part + 4), tl.load(part + 5)
    counters = ((numbers + 3) // 4).to(tl.int32)
    index = base + tl.arange(0, TILE)
    slice_ = index // counters
    row = tl.load(rows + first + slice_, mask=slice_ < slices, other=0).to(tl.uint32)
    counter = (start + (index - slice_ * counters)).to(tl.uint32)
    a, b, c, d = _four(counter, row, parameter.to(tl.uint32), key, is_pointer)
    # in the order of memory: the four of one counter, then those of the next
    four = tl.interleave(tl.interleave(a, c), tl.interleave(b, d))
    which = tl.arange(0, 4 * TILE)
    index = base + which // 4
    slice_ = index // counters
    number = 4 * (index - slice_ * counters).to(tl.int64) + which % 4
    inside = (slice_ < slices) & (number < numbers)
    tl.store(out + begin + slice_ * numbers + number, four, mask=inside)


def fill_normal(out: Tensor, key: Key) -> None:
    """Fill ``out`` (n,), floating-point, with the first n standard normals of ``key``."""
    blocks = -(-len(out) // (4 * LANES.value))
    if blocks:
        _fill_normal[(blocks,)](out, len(out), *_argument(key), enable_fp_fusion=False)


def fill_addressed(out: Tensor, addresses: Addresses, key: Key) -> None:
    """Fill ``out`` with the normals of ``addresses``, see `Addresses`."""
    rows, parts, tiles = _on(out.device, addresses)
    if len(tiles):
        arguments = (out, rows, parts, tiles, *_argument(key))
        _fill_addressed[(len(tiles),)](*arguments, enable_fp_fusion=False)


def _argument(key: Key) -> tuple[Key, bool]:
    if isinstance(key, Tensor):
        return key, True
    return (key if key < 1 << 63 else key - (1 << 64)), False


@lru_cache(maxsize=16)
def _on(device: torch.device, addresses: Addresses) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows, the parts with where they begin, and (part, first counter) of each tile."""
    parts, tiles, begin = [], [], 0
    for p, (k, first, slices, numbers, start) in enumerate(addresses.parts.tolist()):
        parts.append((k, first, slices, numbers, start, begin))
        begin += slices * numbers
        counters = slices * -(-numbers // 4)
        tiles += [(p, c) for c in range(0, counters, TILE.value)]
    rows = torch.from_numpy(addresses.rows.astype("int64"))
    tables = (rows, torch.tensor(parts).view(-1, 6), torch.tensor(tiles).view(-1, 2))
    return tuple(t.to(device, torch.int64) for t in tables)  # type: ignore[return-value]
