"""Overdamped Langevin dynamics by the method of Leimkuhler and Matthews."""

from __future__ import annotations

from typing import Any

from lightning_landscape.dynamics.samplers.noise import SuccessiveSums
from lightning_landscape.dynamics.samplers.overdamped import Overdamped

__all__ = ["LeimkuhlerMatthews"]


class LeimkuhlerMatthews(Overdamped):
    r"""Overdamped Langevin dynamics with a stationary law right to second order in lr.

        x <- x - lr \nabla E(x) + sqrt(2 lr T) (xi_n + xi_{n+1}) / 2

    One gradient and one draw a step, like `Langevin`, whose arguments and errors it has; but the
    stationary law is exp(-E/T) up to O(lr^2), and exact in a harmonic well: Var x = T / lam. The
    earlier noise is no state: it is a function of (seed, step) and drawn again after a resume.
    The motion in time is of first order only, as with `Langevin`: successive noises overlap, so a
    free replica moves by 2 T lr (n - 1/2) in n steps, half a step behind. At T = 0 this is
    `torch.optim.SGD` bit for bit.

    On the sphere |x|^2 = N projection and rescaling alone would leave a first-order error: with
    the noise xi_n projected at two different points, the law is that of the temperature
    T [1 - lr T (2N + 3) / (4N)]. The amplitude makes up for it,

        variance per component = 2 lr T [1 + lr T (2N + 3) / (4N)],

    which restores the second order. (The first-order error of the flat scheme vanishes; of what
    curvature adds, symmetry leaves a multiple of E, which acts like a change of T; and the
    linear response to a weak field E = -h.x, where <x> = h/T is exact, gives its coefficient.)

    Cost: `Langevin` plus one addition a parameter; memory, two float32 a parameter.

    Source: Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34 (arXiv:1203.5428);
    Leimkuhler, Matthews and Tretyakov, Proc. R. Soc. A 470, 20140120 (2014), arXiv:1402.5797.

    >>> import torch
    >>> x = torch.nn.Parameter(torch.zeros(100_000, 1))  # 100 000 replicas in the well x^2 / 2
    >>> dynamics = LeimkuhlerMatthews([x], lr=0.5, temperature=0.3)
    >>> for _ in range(50):
    ...     x.grad = x.detach().clone()
    ...     dynamics.step()
    >>> round(x.var().item(), 2)
    0.3
    """

    noise, moves_parts, repeats = SuccessiveSums, True, True

    def amplitude(self, lr: Any, temperature: Any) -> Any:
        """Return half of sqrt(2 lr T), since the sum of two normals has twice their variance."""
        variance = 2 * lr * temperature
        if self.constraint is not None:
            N = self.constraint.N
            variance = variance * (1 + lr * temperature * (2 * N + 3) / (4 * N))
        return variance**0.5 / 2
