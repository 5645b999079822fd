"""FIRE: molecular dynamics that turns downhill, each replica with its own time step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.dynamics.dynamics import Dynamics, checked_parameters, require_own_state
from lightning_landscape.errors import require
from lightning_landscape.replicas import flatten, unflatten
from lightning_landscape.sphere import Sphere

__all__ = ["FIRE"]

# Bitzek et al. 2006, p. 2: "reasonable and robust", for every system they tried.
_WAIT, _FASTER, _SLOWER, _MIXING, _LESS_MIXING = 5, 1.1, 0.5, 0.1, 0.99


class FIRE(Dynamics, Optimizer):
    r"""Fast inertial relaxation engine: minimises by mechanics that never runs uphill.

    With the force F = -\nabla E and the power P = F . v of each replica,

        P > 0:   v <- (1 - alpha) v + alpha |v| F / |F|; after 5 steps in a row with P > 0
                 dt <- min(1.1 dt, dt_max) and alpha <- 0.99 alpha,
        P <= 0:  v <- 0, dt <- dt / 2, alpha <- 0.1,
        then     v <- v + dt F,   x <- x + dt v.

    v, dt, alpha, P are those of one replica: none waits for another. dt is a mechanical time step,
    stable for dt^2 lambda_max < 4, and adapts itself down to that; so ``lr`` is only a first guess.
    Nothing is random; the state is v and three numbers per replica. On the sphere |x|^2 = N the
    force is the tangent one, a step ends with x <- sqrt(N) x / |x|, and v is then projected onto
    the new tangent plane.

    For smooth energies: at the kinks of ReLU networks the power turns negative again and again,
    dt collapses, and the replica stops far above what `DecayingAdam` reaches.

    Cost: one gradient per step, three passes over the parameters; memory: one more copy of them.

    Args:
        params: tensors with the replica axis first, all in one group.
        lr: the first time step dt, > 0.
        longest: dt_max in units of ``lr``, >= 1.
        constraint: the sphere on which every parameter, of shape (R, N), lives; or None.

    Raises:
        UsageError: a number out of range, parameters without a common replica axis, several
            groups, or a shape that does not fit the constraint.

    Source: Bitzek, Koskinen, Gaehler, Moseler, Gumbsch 2006, PRL 97, 170201; in semi-implicit
    Euler steps, which Guenole et al. 2020, arXiv:1908.02038, found the best of the simple ones.

    >>> x = torch.nn.Parameter(torch.tensor([[1.0, 1.0]], dtype=torch.float64))
    >>> fire = FIRE([x], lr=0.1)
    >>> for _ in range(300):
    ...     x.grad = x.detach() * torch.tensor([1.0, 30.0])  # E = x_1^2 / 2 + 15 x_2^2
    ...     fire.step()
    >>> bool(x.abs().max() < 1e-6)
    True
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        longest: float = 10.0,
        constraint: Sphere | None = None,
    ) -> None:
        require(0 < lr < float("inf"), "lr", lr, "must be > 0, and finite")
        require(longest >= 1, "longest", longest, "must be at least 1")
        super().__init__(checked_parameters(params), {"lr": lr, "longest": longest})
        one = len(self.param_groups) == 1
        required = "must be 1: a replica has one velocity, all parameters together"
        require(one, "parameter groups", len(self.param_groups), required)
        self._parameters: list[Tensor] = self.param_groups[0]["params"]
        sizes = sorted({len(p) if p.dim() else 0 for p in self._parameters})
        required = "must be one number, that of the replicas, in front of every parameter"
        require(len(sizes) == 1 and sizes[0] > 0, "replicas of the parameters", sizes, required)
        self.constraint = constraint

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what ``state_dict`` has returned; refuse that of another optimizer."""
        require_own_state(self, state_dict)
        super().load_state_dict(state_dict)

    @property
    def time_step(self) -> float:
        """1: its time counts steps, because dt differs from replica to replica."""
        return 1.0

    @property
    def constraint(self) -> Sphere | None:
        """The sphere on which the replicas are kept, or None."""
        return self._constraint

    @constraint.setter
    def constraint(self, constraint: Sphere | None) -> None:
        if constraint is not None:
            for p in self._parameters:
                constraint.check(p)
        self._constraint = constraint

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one step; return what ``closure`` returns, if given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        F = -flatten(_gradient(p) for p in self._parameters)
        if self.constraint is not None:
            self.constraint.project_(F, flatten(self._parameters))
        state = self._state(F)
        self._steer(state, F)
        v, dt = state["velocity"], state["dt"].unsqueeze(1)
        v.addcmul_(dt, F)
        for p, change in zip(self._parameters, unflatten(dt * v, self._parameters), strict=True):
            p.add_(change)
            if self.constraint is not None:  # there is one parameter
                self.constraint.project_(v, self.constraint.retract_(p))
        return loss

    def _state(self, F: Tensor) -> dict[str, Tensor]:
        state = self.state[self._parameters[0]]
        if not state:
            each = F.new_ones(len(F))  # one number per replica, in the precision of the parameters
            state["velocity"] = torch.zeros_like(F)
            state["dt"] = each * self.param_groups[0]["lr"]
            state["alpha"] = each * _MIXING
            state["downhill"] = each * 0  # steps in a row with P > 0
        return state

    def _steer(self, state: dict[str, Tensor], F: Tensor) -> None:
        """Turn the velocity, and choose dt and alpha, by the sign of the power."""
        v, alpha = state["velocity"], state["alpha"]
        along = torch.linalg.vecdot(F, v) > 0
        speed, force = torch.linalg.vector_norm(v, dim=1), torch.linalg.vector_norm(F, dim=1)
        turn = alpha * speed / force.clamp_min(torch.finfo(F.dtype).tiny)
        # P = 0 at the start, where v = 0: nothing to brake
        uphill = ~along & (speed > 0)
        turned = v * (1 - alpha).unsqueeze(1) + turn.unsqueeze(1) * F
        v.copy_(turned.where(along.unsqueeze(1), torch.zeros_like(v)))
        state["downhill"] = torch.where(along, state["downhill"] + 1, 0)
        faster = state["downhill"] > _WAIT
        group = self.param_groups[0]
        dt = torch.where(faster, state["dt"] * _FASTER, state["dt"])
        dt = torch.where(uphill, dt * _SLOWER, dt).clamp_max(group["lr"] * group["longest"])
        state["dt"] = dt
        less = torch.where(faster, alpha * _LESS_MIXING, alpha)
        state["alpha"] = less.masked_fill(uphill, _MIXING)


def _gradient(p: Tensor) -> Tensor:
    return torch.zeros_like(p) if p.grad is None else p.grad
