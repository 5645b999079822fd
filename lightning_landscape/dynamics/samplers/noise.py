"""The noise of a dynamics: standard normals for all parameters, as a function of the step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_landscape.rng import Stream

__all__ = ["Noise", "SuccessiveSums"]


class Noise:
    """Standard normals shaped like ``parameters``, drawn into one flat float32 buffer.

    ``noise(step)`` is a function of (seed, step) and the number of elements; on the CPU the
    numbers of a buffer are also the first ones of any longer buffer, whatever the processor. The
    resolution of float32 is far below anything that Langevin noise can resolve, so parameters of
    every precision share the one buffer.

    Args:
        parameters: tensors of one device, the keys of what is returned.
        seed: any integer.

    >>> x = torch.zeros(2, 3)
    >>> Noise([x], seed=0)(7)[x].equal(Noise([x], seed=0)(7)[x])
    True
    """

    def __init__(self, parameters: Sequence[Tensor], seed: int) -> None:
        self.device = parameters[0].device
        self._stream = Stream(seed, "langevin")
        self._flat, self._parts = self._buffer(parameters)

    def __call__(self, step: int) -> dict[Tensor, Tensor]:
        """Return the normals of ``step`` for each parameter; they are valid until the next call."""
        self._stream.normal_(self._flat, step)
        return self._parts

    def _buffer(self, parameters: Sequence[Tensor]) -> tuple[Tensor, dict[Tensor, Tensor]]:
        sizes = [p.numel() for p in parameters]
        flat = torch.empty(sum(sizes), dtype=torch.float32, device=self.device)
        parts = zip(parameters, flat.split(sizes), strict=True)
        return flat, {p: part.view(p.shape) for p, part in parts}


class SuccessiveSums(Noise):
    """The sums xi_n + xi_{n+1} of the normals of two successive steps.

    One draw a step: the later normals of one sum are kept as the earlier ones of the next. They
    are a cache, not a state: after a jump in the step they are drawn again.
    """

    def __init__(self, parameters: Sequence[Tensor], seed: int) -> None:
        super().__init__(parameters, seed)
        self._later, self._later_parts = self._buffer(parameters)
        self._held: int | None = None

    def __call__(self, step: int) -> dict[Tensor, Tensor]:
        """Return xi_step + xi_{step+1}, of variance 2; valid until the next call."""
        if self._held != step:
            self._stream.normal_(self._later, step)
        self._flat, self._later = self._later, self._flat
        self._parts, self._later_parts = self._later_parts, self._parts
        self._stream.normal_(self._later, step + 1)
        self._held = step + 1
        self._flat += self._later
        return self._parts
