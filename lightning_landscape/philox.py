"""Normal numbers from a counter, on the CPU: Philox4x32-7 and Box-Muller, compiled, vectorised.

The generator under ``Tensor.normal_`` is serial: each number waits for the one before it, and on a
CPU that makes the noise several times dearer than the rest of a Langevin step. Here number i of a
key is a function of (key, i) alone, so the processor computes eight or sixteen at a time: about
0.7 ns a number against 2.5, and no generator to seed. Only exactly rounded operations are used, so
that every CPU draws the same bits, and a longer buffer begins with the numbers of a shorter one.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011
(Philox; seven rounds are the fewest that pass every test of BigCrush); Box and Muller, Ann. Math.
Stat. 29, 610 (1958). The coefficients of logarithm, sine and cosine are those of Moshier's Cephes.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

__all__ = ["fill_normal", "normals_of_words", "philox"]

Words: TypeAlias = NDArray[np.uint32]
Floats: TypeAlias = NDArray[np.float32]

# numba widens sums of 32-bit numbers to 64 bits; the casts keep a vector twice as long.
i32, u32, u64, f32 = np.int32, np.uint32, np.uint64, np.float32

LANES = 256  # counters worked on at once: their words stay in the first-level cache
MULTIPLIERS = (u64(0xD2511F53), u64(0xCD9E8D57))
WEYL = (u32(0x9E3779B9), u32(0xBB67AE85))
HALF = u64(32)
ROUNDS = 7


@njit(inline="always")
def philox(words: Words, first: int, key: int) -> None:
    """Fill ``words`` (4, n) with the four output words of the counters first … first + n - 1."""
    for i in range(words.shape[1]):
        c0, c1, c2, c3 = u32(first + i), u32(0), u32(0), u32(0)
        k0, k1 = u32(key), u32(u64(key) >> HALF)
        for _ in range(ROUNDS):
            product0, product1 = u64(c0) * MULTIPLIERS[0], u64(c2) * MULTIPLIERS[1]
            c0, c2 = u32(u32(product1 >> HALF) ^ c1 ^ k0), u32(u32(product0 >> HALF) ^ c3 ^ k1)
            c1, c3 = u32(product1), u32(product0)
            k0, k1 = u32(k0 + WEYL[0]), u32(k1 + WEYL[1])
        words[0, i], words[1, i], words[2, i], words[3, i] = c0, c1, c2, c3


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
