"""Random numbers as functions of (seed, stream, step).

Nothing random is ever saved: a run that resumes at step k draws again exactly what an
uninterrupted run drew at step k, and every process of a distributed run draws the same numbers.

A `Stream` is addressed, not consumed. Its normals come from a counter (`philox`): each number is a
function of (seed, stream, step) and of where it goes, the same bits on every processor and on a
GPU, and on a CPU for a third of the price of ``Tensor.normal_``. For permutations and integers the
generator of the CPU is seeded anew at each step. It uses only 32 bits of its seed, so the step
goes through a keyed permutation of 32-bit numbers: two steps of one stream never share a seed, and
the steps that two streams happen to share are isolated, not runs of steps.
"""

from __future__ import annotations

import hashlib
from functools import cache
from numbers import Integral
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_landscape.errors import require

if TYPE_CHECKING:
    from lightning_landscape.philox.addresses import Addresses

__all__ = ["Stream"]

_MASK = 0xFFFFFFFF


@cache
def _keys(seed: int, name: str) -> tuple[int, int, int, int]:
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()
    k = int.from_bytes(digest, "little")
    return k & _MASK, k >> 32 & _MASK, k >> 64 & _MASK, k >> 96


def _permute(x: int, k0: int, k1: int, k2: int) -> int:
    """A permutation of the 32-bit integers: every line can be inverted."""
    x = ((x ^ k0) * 0x9E3779B1) & _MASK
    x ^= x >> 15
    x = ((x + k1) * 0x85EBCA77) & _MASK
    x ^= x >> 13
    x = ((x ^ k2) * 0xC2B2AE3D) & _MASK
    return x ^ x >> 16


_FEW = 1 << 19  # normals that torch draws in 0.3 s; the compiler takes 1 s to load
_drawn = 0


class Stream:
    """The random numbers of one purpose: `Stream(seed, name)` at step k is always the same.

    Streams with different seeds or names are independent. A stream holds no state that matters;
    copying, pickling or forgetting it changes nothing.

    Args:
        seed: any integer.
        name: what the numbers are for, for example ``"noise"`` or ``"couplings"``.

    Raises:
        UsageError: the seed is no integer.

    >>> Stream(0, "noise").normal_(torch.empty(2, 3), step=7).equal(
    ...     Stream(0, "noise").normal_(torch.empty(2, 3), step=7))
    True
    """

    def __init__(self, seed: int, name: str) -> None:
        require(isinstance(seed, Integral), "seed", repr(seed), "must be an integer")
        self.seed, self.name = int(seed), name
        self._generators: dict[torch.device, torch.Generator] = {}

    def __getstate__(self) -> dict[str, object]:
        return {"seed": self.seed, "name": self.name, "_generators": {}}

    def key(self, step: int) -> int:
        """Return the 64-bit seed of ``step``, distinct for distinct steps in its low 32 bits."""
        k0, k1, k2, k3 = _keys(self.seed, self.name)
        high = k3 ^ (step >> 32)
        return high << 32 | _permute(step & _MASK, k0, k1, k2)

    def keys(self, steps: range, device: torch.device) -> Tensor:
        """Return the keys of ``steps`` on the device, (len(steps),), int64, for `normal_at_`."""
        words = [self.key(step) for step in steps]
        signed = [key if key < 1 << 63 else key - (1 << 64) for key in words]
        return torch.tensor(signed, dtype=torch.int64).to(device)

    def generator(self, step: int, device: torch.device | str = "cpu") -> torch.Generator:
        """Return the device's generator, seeded for ``step``; valid until the next call."""
        device = torch.device(device)
        if device not in self._generators:
            self._generators[device] = torch.Generator(device)
        return self._generators[device].manual_seed(self.key(step))

    def normal_(self, out: Tensor, step: int) -> Tensor:
        """Fill ``out`` (any shape) with standard normals and return it.

        A shorter tensor gets the first numbers of a longer one, and every precision and device the
        same numbers, drawn in float32: a resolution of 2^-24 is far below anything that noise or
        couplings can resolve.
        """
        return _fill(out, self.key(step), None)

    def normal_at_(self, out: Tensor, step: int | Tensor, addresses: Addresses) -> Tensor:
        """Fill ``out``, shape (addresses.size,), with the normals of ``addresses``; return it.

        Args:
            out: floating-point.
            step: or its key, shape (1,), on the device of ``out``, see `keys`: a GPU reads it when
                it draws, so that a draw that is recorded can be replayed.
            addresses: which numbers.
        """
        return _fill(out, step if isinstance(step, Tensor) else self.key(step), addresses)

    def permutation(self, n: int, step: int) -> Tensor:
        """Return a random permutation of 0 … n-1, shape (n,), int64, on the CPU."""
        return torch.randperm(n, generator=self.generator(step))

    def integers(self, high: int, shape: tuple[int, ...], step: int) -> Tensor:
        """Return independent uniform integers in [0, high), int64, on the CPU."""
        return torch.randint(high, shape, generator=self.generator(step))


def _fill(out: Tensor, key: int | Tensor, addresses: Addresses | None) -> Tensor:
    if isinstance(key, Tensor) and not out.is_cuda:
        key = int(key) % (1 << 64)
    fits = out.is_contiguous() and (out.dtype == torch.float32 or out.is_cuda)
    drawn = out if fits else torch.empty(out.shape, dtype=torch.float32, device=out.device)
    _draw(drawn.detach().view(-1), key, addresses)
    return out if fits else out.copy_(drawn)


def _draw(flat: Tensor, key: Any, addresses: Addresses | None) -> None:
    """Fill ``flat``: compiled on a CPU and on a GPU, for other devices on the CPU."""
    if flat.is_cpu and addresses is None and _is_among_first(flat.numel()):
        from lightning_landscape.philox import tensors

        tensors.fill_normal(flat, key)
    elif flat.is_cpu:
        if addresses is None:
            _compiled().fill_normal(flat.numpy(), key)
        else:
            _compiled().fill_addressed(flat.numpy(), addresses.rows, addresses.parts, key)
    elif flat.is_cuda:
        if addresses is None:
            _on_cuda().fill_normal(flat, key)
        else:
            _on_cuda().fill_addressed(flat, addresses, key)
    else:
        on_cpu = torch.empty(flat.shape, dtype=torch.float32)
        _draw(on_cpu, key, addresses)
        flat.copy_(on_cpu)


def _is_among_first(size: int) -> bool:
    """Return whether a process has drawn so little that loading the compiler would take longer.

    Both give the same bits.
    """
    global _drawn
    _drawn += max(size, _FEW // 64)  # a call takes 5 ms at least
    return _drawn <= _FEW


@cache
def _compiled() -> ModuleType:
    from lightning_landscape.philox import compiled  # it loads a compiler: not before it is used

    return compiled


@cache
def _on_cuda() -> ModuleType:
    try:
        from lightning_landscape.philox import cuda

        return cuda
    except ImportError:  # no Triton, as on Windows
        from lightning_landscape.philox import tensors

        return tensors
