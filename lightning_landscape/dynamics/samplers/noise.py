"""The noise of a dynamics: standard normals for all parameters, as a function of the step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.errors import require
from lightning_landscape.philox.addresses import Addresses
from lightning_landscape.rng import Stream

__all__ = ["Noise", "SuccessiveSums", "check_replicas", "exponentials", "require_resolution"]


class Noise:
    """Standard normals shaped like ``parameters``, drawn into one flat float32 buffer.

    The number of element i of replica r of parameter k is a function of (seed, step, k, r, i),
    see `Addresses`: the same on every device, for every number of replicas and in whatever parts
    a system is held. The replica is the first index of a parameter with two axes or more; a
    parameter of a foreign module, which has no replicas, is addressed by its first index too.

    The resolution of float32 is far below anything that Langevin noise can resolve, so parameters
    of every precision share the one buffer. A complex number is two real coordinates, its real and
    its imaginary part, and gets a normal of variance 1 for each.

    Args:
        parameters: tensors of one device, the keys of what is returned.
        seed: any integer.
        replicas: which replicas of the whole system these are; None means 0, 1, …
        first: the index, along each axis, at which each parameter begins in the whole one that it
            was cut from, see `Addresses`; None means 0 for all.

    Raises:
        UsageError: ``replicas`` does not fit the parameters.

    >>> x = torch.zeros(64, 3)
    >>> some = x[[5, 9]]
    >>> Noise([some], seed=0, replicas=[5, 9])(7)[some].equal(Noise([x], seed=0)(7)[x][[5, 9]])
    True
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        seed: int,
        replicas: Sequence[int] | None = None,
        first: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self.device = parameters[0].device
        if replicas is not None:
            check_replicas(replicas, parameters)
        self._stream = Stream(seed, "langevin")
        self._addresses = Addresses([_real(p) for p in parameters], replicas, first)
        self._flat, self._parts = self._buffer(parameters)

    def __call__(self, step: int | Tensor) -> dict[Tensor, Tensor]:
        """Return the normals of ``step`` for each parameter; they are valid until the next call.

        The step may be given by its key on the device, see `Stream.normal_at_`.
        """
        self._stream.normal_at_(self._flat, step, self._addresses)
        return _complex(self._parts)

    def ready(self, steps: range) -> Tensor:
        """Return the keys by which ``steps`` are drawn in their order, on the device, int64."""
        return self._stream.keys(steps, self.device)

    @property
    def place(self) -> int:
        """The address of the numbers in memory."""
        return self._flat.data_ptr()

    def _buffer(self, parameters: Sequence[Tensor]) -> tuple[Tensor, dict[Tensor, Tensor]]:
        flat = torch.empty(self._addresses.size, dtype=torch.float32, device=self.device)
        return flat, dict(zip(parameters, self._addresses.split(flat), strict=True))


class SuccessiveSums(Noise):
    """The sums xi_n + xi_{n+1} of the normals of two successive steps.

    One draw a step: the later normals of one sum are kept as the earlier ones of the next. They
    are a cache, not a state: after a jump in the step they are drawn again.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        seed: int,
        replicas: Sequence[int] | None = None,
        first: Sequence[Sequence[int]] | None = None,
    ) -> None:
        super().__init__(parameters, seed, replicas, first)
        self._later, self._later_parts = self._buffer(parameters)
        self._held: int | None = None

    def __call__(self, step: int | Tensor) -> dict[Tensor, Tensor]:
        """Return xi_step + xi_{step+1}, of variance 2; valid until the next call.

        By its key, see `ready`, only after the step before it.
        """
        if isinstance(step, Tensor):  # to be replayed, so in the same places every time
            self._flat.copy_(self._later)
            self._stream.normal_at_(self._later, step, self._addresses)
            self._held = None
        else:
            self._hold(step)
            self._flat, self._later = self._later, self._flat
            self._parts, self._later_parts = self._later_parts, self._parts
            self._stream.normal_at_(self._later, step + 1, self._addresses)
            self._held = step + 1
        self._flat += self._later
        return _complex(self._parts)

    def ready(self, steps: range) -> Tensor:
        """Return the keys by which ``steps`` are drawn in their order, on the device, int64."""
        self._hold(steps.start)
        return self._stream.keys(range(steps.start + 1, steps.stop + 1), self.device)

    def _hold(self, step: int) -> None:
        """Have xi_step, from the step before or anew."""
        if self._held != step:
            self._stream.normal_at_(self._later, step, self._addresses)
            self._held = step


def _real(p: Tensor) -> Sequence[int]:
    """Return the shape of a parameter as real coordinates."""
    return (*p.shape, 2) if p.is_complex() else p.shape


def _complex(parts: dict[Tensor, Tensor]) -> dict[Tensor, Tensor]:
    """Return the normals of complex parameters as complex numbers."""
    if not any(p.is_complex() for p in parts):
        return parts
    # a copy, because a part of the buffer may begin at an odd place
    return {p: torch.view_as_complex(n.clone()) if p.is_complex() else n for p, n in parts.items()}


def exponentials(
    seed: int,
    name: str,
    step: int,
    replicas: Sequence[int],
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return a number of the law exp(-x), x > 0, for each of ``replicas``: (R,), float64.

    -ln of a uniform number, as a decision of Metropolis needs it; a function of (seed, name, step)
    and of the index of the replica.
    """
    normals = torch.empty(2 * len(replicas), device=device)
    Stream(seed, name).normal_at_(normals, step, _pairs(tuple(replicas)))
    return normals.double().square().view(-1, 2).sum(1) / 2


@lru_cache(maxsize=16)
def _pairs(replicas: tuple[int, ...]) -> Addresses:
    """Two numbers of each replica; kept, so that a device has to be told once which they are."""
    return Addresses([(len(replicas), 2)], replicas)


def check_replicas(replicas: Sequence[int], parameters: Sequence[Tensor]) -> None:
    """Raise a `UsageError` unless ``replicas`` are indices of the first axis of each parameter."""
    inside = all(0 <= r < 2**32 for r in replicas)
    require(inside, "replicas", replicas, "must be indices from 0 to 2^32 - 1")
    for p in parameters:
        fits = p.dim() >= 2 and len(p) == len(replicas)
        admissible = f"has {len(replicas)} indices for a parameter of shape {tuple(p.shape)}"
        remedy = "give one for each replica; the replica axis is the first of two or more"
        require(fits, "replicas", replicas, admissible, remedy)


def require_resolution(groups: list[dict[str, Any]], T: float | Tensor) -> None:
    """Raise a `UsageError` if parameters in half precision would round the noise away.

    Args:
        groups: parameters with their step sizes, as an optimizer holds them.
        T: the temperature, a number or (R,).
    """
    for group in groups:
        noise = float(torch.as_tensor(2 * group["lr"] * T).max()) ** 0.5
        for p in group["params"]:
            if p.dtype in (torch.bfloat16, torch.float16):
                ulp = torch.finfo(p.dtype).eps * p.float().square().mean().sqrt().item()
                require(
                    noise >= ulp,
                    "dtype",
                    p.dtype,
                    f"noise of {noise:.2g} a step is lost in its resolution of {ulp:.2g}",
                    "keep the parameters in float32, for example with precision bf16-mixed",
                )
