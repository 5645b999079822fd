"""Twins in opposite fields: the linear response under any optimizer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_landscape.clock import to_steps
from lightning_landscape.energies.copies import Copies
from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import require
from lightning_landscape.replicas import unflatten
from lightning_landscape.rng import Stream

__all__ = ["WithField"]


class WithField(Copies):
    r"""An energy with a small random staggered field, switched on at the waiting times.

        E_\pm(x) = E(x) \mp h \sum_i \epsilon_i x_i   from the time tw on,   \epsilon_i = +-1

    For every waiting time there are two twins of each replica, one in the field +h, the other in
    -h. All twins of a replica have the same start, couplings or data, signs, mini-batches and
    noise, so that they coincide up to tw, and after it (x_+ - x_-) . epsilon / (2 h N) is the
    response to the field alone, free of even orders in h (see `callbacks.FieldResponse`). Any
    optimizer and any temperature will do, including 0.

    With n waiting times, twin s of waiting time k of replica r is row (2 k + s) R + r; s = 0 is
    the one in +h. Probes that know nothing of twins record their mean, in which the effect of the
    field cancels to first order.

    The field must be small: halving it must leave the response unchanged. It should be large
    against rounding: in float32 the response has an error of about 1e-7 |x| / (h sqrt(N)).

    Cost: that of 2 n R replicas, and two passes over their parameters per step.

    Args:
        energy: R replicas; it becomes part of this one and must not be used by itself afterwards.
        field: h > 0, in units of the energy per unit of x.
        waiting_times: tw >= 0 in physical time (the step size times the number of steps).
        seed: of the signs.

    Raises:
        UsageError: a field that is not positive, or times that are negative, equal or missing.

    Source: Barrat 1998, Phys. Rev. E 57, 3629 (random field in a glass); the
    twins with opposite fields and common noise are common practice.

    >>> from lightning_landscape.energies import Quadratic
    >>> energy = WithField(Quadratic([1.0, 3.0], replicas=4), field=0.1, waiting_times=[0, 1, 10])
    >>> energy().shape
    torch.Size([24])
    """

    signs: Tensor
    strengths: Tensor

    def __init__(
        self, energy: Energy, field: float, waiting_times: Sequence[float], seed: int = 0
    ) -> None:
        times = sorted(float(tw) for tw in waiting_times)
        require(0 < field < math.inf, "field", field, "must be > 0, and finite")
        require(len(times) > 0, "waiting_times", waiting_times, "needs at least one time")
        finite = all(0 <= tw < math.inf for tw in times)
        require(finite, "waiting_times", waiting_times, "must be 0 or later, and finite")
        require(len({*times}) == len(times), "waiting_times", waiting_times, "must be different")
        super().__init__(energy, copies=2 * len(times))
        self.twins, self.field, self.waiting_times = self.copies, float(field), times
        stream, R = Stream(seed, "field signs"), self.replicas // self.copies
        signs = [2 * stream.integers(2, (self.N,), step=r) - 1 for r in range(R)]
        number = next(self.parameters()).dtype
        # both are functions of the arguments and the time, so no checkpoint needs them
        self.register_buffer("signs", torch.stack(signs).to(number), persistent=False)
        self.register_buffer("strengths", torch.zeros(self.copies).to(number), persistent=False)
        self._switched_on = 0

    def at(self, step: int, time_step: float) -> None:
        """Switch on the fields whose waiting times have come by ``step``."""
        self.energy.at(step, time_step)
        on = sum(step >= to_steps([tw], time_step)[0] for tw in self.waiting_times)
        if on != self._switched_on:
            self._switched_on = on
            self.strengths.zero_()[: 2 * on] = self.field
            self.strengths[1::2] *= -1

    def forward(self, batch: Tensor | None = None) -> Tensor:
        """Return the energies, field included, shape (copies x R,)."""
        energies = super().forward(batch)
        if self._switched_on == 0:
            return energies
        along = sum(
            torch.linalg.vecdot(p.view(self.copies, len(signs), -1), signs.flatten(1))
            for p, signs in zip(self.stacks, unflatten(self.signs, self.stacks), strict=True)
        )
        return energies - (self.strengths.unsqueeze(1) * along).flatten()

    def only(self, replicas: Tensor) -> Energy:
        """Return some of the replicas with all their twins, in their own fields; see `Copies`."""
        some = super().only(replicas)
        assert isinstance(some, WithField)
        some.signs = self.signs[replicas[: len(replicas) // self.copies]]
        some.strengths = self.strengths.clone()
        return some

    def reference(self) -> dict[str, str | float | int]:
        """Return what the energy itself says, and the field."""
        return {**super().reference(), "field": self.field}
