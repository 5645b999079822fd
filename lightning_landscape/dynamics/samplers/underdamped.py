"""Underdamped Langevin dynamics by the splitting BAOAB."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.dynamics.samplers.ladder import Ladder
from lightning_landscape.dynamics.samplers.noise import Noise
from lightning_landscape.dynamics.samplers.tempering import ParallelTempering
from lightning_landscape.dynamics.samplers.thermal import Thermal
from lightning_landscape.dynamics.schedules import Schedule
from lightning_landscape.errors import require
from lightning_landscape.replicas import add_, hot, scale_
from lightning_landscape.sphere import Sphere

__all__ = ["Underdamped"]


class Underdamped(Thermal):
    r"""Underdamped Langevin dynamics of unit mass, BAOAB, one gradient a step.

        dx = v dt,    dv = -\nabla E dt - friction v dt + sqrt(2 friction T) dW

    whose stationary law is exp(-E/T) exp(-v^2/2T). A step of length lr is

        v <- v - lr/2 \nabla E(x)                    B  kick
        x <- x + lr/2 v                              A  drift
        v <- c v + sqrt((1 - c^2) T) xi              O  bath,  c = exp(-friction lr)
        x <- x + lr/2 v                              A
        v <- v - lr/2 \nabla E(x)                    B

    The law of x is right to second order in lr, to fourth order at high friction, and in a
    harmonic well of curvature lam exact for every stable step, lr sqrt(lam) < 2: Var x = T / lam,
    while Var v = T (1 - lr^2 lam / 4). Infinite friction is `LeimkuhlerMatthews` with the step
    lr^2 / 2. On the sphere |x|^2 = N the drift follows the great circle, and kick and bath act in
    the tangent plane, so that no error of projection is added.

    The replicas start at rest. The last kick of a step is done with the first of the next, when
    its gradient is there; so the ``velocity`` in the state, which holds nothing random, lacks it.
    Time is lr times steps; the slowest relaxation of a well is fastest near
    friction = 2 sqrt(lam).

    Cost: a gradient, one normal and four multiply-adds a parameter; memory, the velocity and one
    float32 a parameter.

    The arguments that are not named here are those of `Langevin`.

    Args:
        lr: the time step, > 0, here in units of sqrt(1 / curvature), not of 1 / curvature.
        temperature: T >= 0; at T = 0 the motion is that of a heavy ball with damping.
        friction: > 0, a rate; inf draws the velocity anew at every step.

    Raises:
        UsageError: friction <= 0, and as for `Langevin`.

    Source: Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34 (arXiv:1203.5428), and
    Proc. R. Soc. A 472, 20160138 (2016) for the drift along geodesics.

    >>> x = torch.nn.Parameter(torch.zeros(100_000, 1))  # 100 000 replicas in the well x^2 / 2
    >>> dynamics = Underdamped([x], lr=1.0, temperature=0.3, friction=2.0)
    >>> for _ in range(50):
    ...     x.grad = x.detach().clone()
    ...     dynamics.step()
    >>> round(x.var().item(), 2)
    0.3
    """

    noise, repeats = Noise, True

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float | Sequence[float] | Tensor | Ladder,
        temperature: float | Sequence[float] | Tensor | Ladder | Schedule = 0.0,
        friction: float = 1.0,
        seed: int = 0,
        constraint: Sphere | None = None,
        exchange: ParallelTempering | None = None,
    ) -> None:
        require(friction > 0, "friction", friction, "must be > 0", "it couples v to the bath")
        self.friction = float(friction)
        super().__init__(params, lr, temperature, seed, constraint, exchange)

    def amplitude(self, lr: Any, temperature: Any) -> Any:
        """Return sqrt((1 - c^2) T), that of the noise in v."""
        return ((1 - self._kept(lr) ** 2) * temperature) ** 0.5

    def _kept(self, lr: float | Tensor) -> Any:
        """c: what is left of a velocity after a step in the bath."""
        if isinstance(lr, Tensor):
            return torch.exp(-self.friction * lr)
        return math.exp(-self.friction * lr)

    def _move(self, T: float | Tensor) -> None:
        for h, x, v, g, noise in self._in_motion(T):
            half = self._factor(h / 2)
            add_(v, self._factor(-h / 2 if self.step_count == 0 else -h), g)
            add_(x, half, v)
            scale_(v, self._factor(self._kept(h)))
            if noise:
                add_(v, self._factor(self.amplitude(h, T)), noise)
            add_(x, half, v)

    def _move_on(self, sphere: Sphere, T: float | Tensor) -> None:
        for h, x, v, gradient, noise in self._in_motion(T):
            force = [sphere.project_(g.clone(), p) for g, p in zip(gradient, x, strict=True)]
            half = self._factor(h / 2)
            add_(v, self._factor(-h / 2 if self.step_count == 0 else -h), force)
            _follow_geodesic_(sphere, x, v, half)
            scale_(v, self._factor(self._kept(h)))
            if noise:
                xi = [sphere.project_(n.to(p), p) for n, p in zip(noise, x, strict=True)]
                add_(v, self._factor(self.amplitude(h, T)), xi)
            _follow_geodesic_(sphere, x, v, half)

    def _in_motion(
        self, T: float | Tensor
    ) -> Iterator[tuple[Any, list[Tensor], list[Tensor], list[Tensor], list[Tensor]]]:
        """Yield lr, parameters, velocities, gradients and noise of each group."""
        noise = self._draw() if hot(T) else {}
        self._clock()  # before there are velocities in the state beside it
        for lr, x, gradient in self._moving():
            v = [self._velocity(p) for p in x]
            yield lr, x, v, gradient, [noise[p] for p in x] if noise else []

    def _velocity(self, p: Tensor) -> Tensor:
        state = self.state[p]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(p)
        return state["velocity"]

    def rearrange(self, order: Tensor) -> None:
        """Put replica ``order[r]`` in the place of r, its velocity rescaled to the temperature.

        The kick that the velocity lacks is first given and then taken back.
        """
        T = torch.as_tensor(self.current_temperature, dtype=torch.float64).expand(len(order))
        scale = torch.where(T > 0, T / T[order], 1.0).sqrt()
        for lr, x, gradient in self._moving():
            h = torch.as_tensor(lr, dtype=torch.float64).expand(len(order))
            v = [self._velocity(p) for p in x]
            if self.constraint is not None:
                pairs = zip(gradient, x, strict=True)
                gradient = [self.constraint.project_(g.clone(), p) for g, p in pairs]
            add_(v, -h / 2, gradient)
            for u, g in zip(v, gradient, strict=True):
                u.copy_(u[order])
                g.copy_(g[order])
            scale_(v, scale)
            add_(v, h / 2, gradient)
        super().rearrange(order)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "friction": self.friction}


def _follow_geodesic_(sphere: Sphere, x: list[Tensor], v: list[Tensor], h: float | Tensor) -> None:
    """Move x, (R, N), for the time h along the great circle in the direction v, and turn v."""
    for p, u in zip(x, v, strict=True):
        speed = torch.linalg.vector_norm(u, dim=-1, keepdim=True)
        rate = speed * sphere.N**-0.5
        angle = rate * (h.to(p).unsqueeze(-1) if isinstance(h, Tensor) else h)
        direction = u / rate.clamp_min(torch.finfo(u.dtype).tiny)
        turned = torch.cos(angle) * u - torch.sin(angle) * rate * p
        p.mul_(torch.cos(angle)).addcmul_(torch.sin(angle), direction)
        sphere.retract_(p)  # against rounding, here and in v
        u.copy_(sphere.project_(turned, p))
