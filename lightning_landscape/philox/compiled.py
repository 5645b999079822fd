"""Normal numbers from a counter on the CPU: compiled and vectorised.

The generator under ``Tensor.normal_`` is serial: each number waits for the one before it, and on a
CPU that makes the noise several times more expensive than the rest of a Langevin step. Here each
number is a function of a key and a counter alone, so the processor computes eight or sixteen at a
time: about 0.7 ns a number against 2.5, and no generator to seed. Only exactly rounded operations
are used, so that every CPU draws the same bits, and `tensors` draws them on other devices.

Two orders of the numbers are used. `fill_normal` fills one buffer, and a longer buffer begins with
the numbers of a shorter one. `fill_addressed` gives every replica of every parameter counters of
its own, see `addresses`.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

__all__ = ["fill_addressed", "fill_normal", "normals_of_words", "philox"]

Words: TypeAlias = NDArray[np.uint32]
Floats: TypeAlias = NDArray[np.float32]

# numba widens sums of 32-bit numbers to 64 bits; the casts keep a vector twice as long.
i32, u32, u64, f32 = np.int32, np.uint32, np.uint64, np.float32

LANES = 256  # counters of `fill_normal` worked on at once: their words stay in the nearest cache
BATCH = 512  # the same for `fill_addressed`, where a longer one costs less and changes no number
MULTIPLIERS = (u64(0xD2511F53), u64(0xCD9E8D57))
WEYL = (u32(0x9E3779B9), u32(0xBB67AE85))
HALF = u64(32)
ROUNDS = 7


@njit(inline="always")
def _rounds(c0: Any, c1: Any, c2: Any, c3: Any, key: int) -> Any:
    """The four output words of a counter of four words."""
    k0, k1 = u32(key), u32(u64(key) >> HALF)
    for _ in range(ROUNDS):
        product0, product1 = u64(c0) * MULTIPLIERS[0], u64(c2) * MULTIPLIERS[1]
        c0, c2 = u32(u32(product1 >> HALF) ^ c1 ^ k0), u32(u32(product0 >> HALF) ^ c3 ^ k1)
        c1, c3 = u32(product1), u32(product0)
        k0, k1 = u32(k0 + WEYL[0]), u32(k1 + WEYL[1])
    return c0, c1, c2, c3


@njit(inline="always")
def philox(words: Words, first: int, key: int) -> None:
    """Fill ``words`` (4, n) with the outputs of the counters (first + i, 0, 0, 0), i < n."""
    for i in range(words.shape[1]):
        w = _rounds(u32(first + i), u32(0), u32(0), u32(0), key)
        words[0, i], words[1, i], words[2, i], words[3, i] = w


@njit(inline="always")
def philox_addressed(words: Words, blocks: Words, rows: Words, parameters: Words, key: int) -> None:
    """Fill ``words`` (4, n) with the outputs of (blocks[i], rows[i], 0, parameters[i]), i < n."""
    for i in range(blocks.size):
        w = _rounds(blocks[i], rows[i], u32(0), parameters[i], key)
        words[0, i], words[1, i], words[2, i], words[3, i] = w


def _fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Multiply and add with one rounding: faster than two, and the same on every processor."""
    number = types.float32

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return number(number, number, number), emit


fma: Any = intrinsic(_fma)


@njit(inline="always")
def _log(x: Any) -> Any:
    """The natural logarithm of a positive float32."""
    bits = f32(x).view(i32)
    exponent = i32(i32(bits - i32(0x3F3504F3)) >> i32(23))  # the mantissa is then in [0.7, 1.4)
    t = i32(bits - i32(exponent << i32(23))).view(f32) - f32(1)
    y = fma(f32(7.0376836292e-2), t, f32(-1.1514610310e-1))
    y = fma(y, t, f32(1.1676998740e-1))
    y = fma(y, t, f32(-1.2420140846e-1))
    y = fma(y, t, f32(1.4249322787e-1))
    y = fma(y, t, f32(-1.6668057665e-1))
    y = fma(y, t, f32(2.0000714765e-1))
    y = fma(y, t, f32(-2.4999993993e-1))
    y = fma(y, t, f32(3.3333331174e-1))
    y = fma(y, t, f32(-0.5))
    return fma(f32(exponent), f32(math.log(2)), fma(t * t, y, t))


@njit(inline="always")
def normals_of_words(u: Words, v: Words, x: Floats, y: Floats) -> None:
    """Box-Muller: two words give two normals, radius from ``u`` and angle 2 pi v / 2^32."""
    for i in range(u.size):
        uniform = fma(f32(u[i]), f32(2.0**-32), f32(2.0**-33))
        radius = np.sqrt(f32(-2) * _log(uniform))
        angle = i32(v[i])
        quarter = i32(i32(angle + i32(0x20000000)) >> i32(30))
        t = f32(i32(angle - i32(quarter << i32(30)))) * f32(2 * math.pi / 2**32)  # |t| <= pi / 4
        z = t * t
        s = fma(fma(f32(-1.9515295891e-4), z, f32(8.3321608736e-3)), z, f32(-1.6666654611e-1))
        sine = fma(s * z, t, t)
        c = fma(f32(2.443315711809948e-5), z, f32(-1.388731625493765e-3))
        cosine = fma(fma(fma(c, z, f32(4.166664568298827e-2)), z, f32(-0.5)), z, f32(1))
        odd = i32(quarter & i32(1)) != i32(0)
        s, c = (cosine, sine) if odd else (sine, cosine)
        x[i] = radius * (-c if i32(i32(quarter + i32(1)) & i32(2)) != i32(0) else c)
        y[i] = radius * (-s if i32(quarter & i32(2)) != i32(0) else s)


@njit("void(float32[::1], uint64)", cache=True)
def fill_normal(out: Floats, key: int) -> None:
    """Fill ``out`` (n,) with the first n standard normals of ``key``, 0 <= key < 2^64."""
    words = np.empty((4, LANES), u32)
    block = np.empty(4 * LANES, f32)
    for start in range(0, out.size, 4 * LANES):
        philox(words, start // 4, key)
        whole = start + 4 * LANES <= out.size
        to = out[start : start + 4 * LANES] if whole else block
        normals_of_words(words[0], words[1], to[:LANES], to[LANES : 2 * LANES])
        normals_of_words(words[2], words[3], to[2 * LANES : 3 * LANES], to[3 * LANES :])
        if not whole:
            out[start:] = block[: out.size - start]


@njit
def _normals(
    blocks: Words, rows: Words, parameters: Words, key: int, words: Words, normals: Floats
) -> None:
    """Fill ``normals`` with the four numbers of each counter, as many as there are ``blocks``."""
    n = blocks.size
    philox_addressed(words, blocks, rows, parameters, key)
    normals_of_words(words[0, :n], words[1, :n], normals[0], normals[1])
    normals_of_words(words[2, :n], words[3, :n], normals[2], normals[3])


@njit(inline="always")
def _count(to: Words, first: int, step: int) -> None:
    """Fill ``to`` with first, first + step and so on."""
    for i in range(to.size):
        to[i] = u32(u32(first) + u32(step * i))


@njit(inline="always")
def _copy(x: Words, to: Words) -> None:
    for i in range(to.size):
        to[i] = x[i]


@njit
def _write(normals: Floats, pieces: Any, out: Floats) -> int:
    """Write pieces (first lane, numbers, numbers a lane) to ``out``; return how many numbers."""
    done = 0
    for p in range(pieces.shape[0]):
        lane, size, each = pieces[p]
        to = out[done : done + size]
        if each == 4:
            whole = size // 4
            a, b, c, d = normals[0, lane:], normals[1, lane:], normals[2, lane:], normals[3, lane:]
            for i in range(whole):
                to[4 * i], to[4 * i + 1], to[4 * i + 2], to[4 * i + 3] = a[i], b[i], c[i], d[i]
            for j in range(size - 4 * whole):
                to[4 * whole + j] = normals[j, lane + whole]
        else:
            for i in range(size // each):
                for j in range(each):
                    to[each * i + j] = normals[j, lane + i]
        done += size
    return done


@njit("void(float32[::1], uint32[::1], int64[:, ::1], uint64)", cache=True)
def fill_addressed(out: Floats, rows: Words, parts: Any, key: int) -> None:
    """Fill ``out`` with the normals of ``rows`` and ``parts``, see `addresses.Addresses`.

    The counters of all slices are one list, worked off `BATCH` at a time; a piece is a run of them
    that belongs to one slice, or to several slices of one counter each.
    """
    blocks, owners, parameters = np.empty(BATCH, u32), np.empty(BATCH, u32), np.empty(BATCH, u32)
    words, normals = np.empty((4, BATCH), u32), np.empty((4, BATCH), f32)
    pieces = np.empty((BATCH, 3), np.int64)
    done = used = count = 0  # numbers written, lanes and pieces in use
    for p in range(parts.shape[0]):
        k, first, slices, numbers, start = parts[p]
        counters = (numbers + 3) // 4
        r = c = 0
        _count(parameters[used:], k, 0)
        while r < slices:
            if used == BATCH:
                _normals(blocks, owners, parameters, key, words, normals)
                done += _write(normals, pieces[:count], out[done:])
                used = count = 0
                _count(parameters, k, 0)
            if counters == 1:
                lanes = min(slices - r, BATCH - used)
                size, each = lanes * numbers, numbers
                _copy(rows[first + r :], owners[used : used + lanes])
                _count(blocks[used : used + lanes], start, 0)
                r += lanes
            else:
                lanes = min(counters - c, BATCH - used)
                size, each = min(4 * lanes, numbers - 4 * c), 4
                _count(owners[used : used + lanes], rows[first + r], 0)
                _count(blocks[used : used + lanes], start + c, 1)
                c += lanes
                if c == counters:
                    r, c = r + 1, 0
            pieces[count, 0], pieces[count, 1], pieces[count, 2] = used, size, each
            used, count = used + lanes, count + 1
    _normals(blocks[:used], owners, parameters, key, words, normals)
    _write(normals, pieces[:count], out[done:])
