"""Optimizers that evaluate gradients elsewhere than where the replicas are."""

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

__all__ = ["Closure", "WithClosure"]

Closure = Callable[[], Any]
"""Sets the gradients of the parameters, and returns the energies, (R,)."""


class WithClosure(Dynamics, Optimizer):
    """An optimizer of R replicas, in float64, that calls its closure at configurations it chooses.

    A subclass moves the replicas with `evaluate` and `place`, which see all parameters as one
    tensor (R, N). On the sphere |x|^2 = N gradients are tangent.

    Args:
        params: float64 tensors with the replica axis first, all in one group.
        defaults: the settings of the subclass.
        constraint: the sphere on which the parameter, of shape (R, N), lives; or None.

    Raises:
        UsageError: another precision, parameters without a common replica axis, several groups, or
            a shape that does not fit the constraint.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        defaults: dict[str, Any],
        constraint: Sphere | None = None,
    ) -> None:
        super().__init__(checked_parameters(params), defaults)
        one = len(self.param_groups) == 1
        required = "must be 1: all parameters of a replica move together"
        require(one, "parameter groups", len(self.param_groups), required)
        self.parameters: list[Tensor] = self.param_groups[0]["params"]
        sizes = sorted({len(p) if p.dim() else 0 for p in self.parameters})
        required = "must be one number, that of the replicas, in front of every parameter"
        require(len(sizes) == 1 and sizes[0] > 0, "replicas of the parameters", sizes, required)
        numbers = {p.dtype for p in self.parameters}
        required = "must be float64: differences of gradients need the digits"
        exact = numbers == {torch.float64}
        require(exact, "params", ", ".join(map(str, numbers)), required, "set dtype: float64")
        self.constraint = constraint

    @property
    def time_step(self) -> float:
        """1: its time counts steps."""
        return 1.0

    @property
    def constraint(self) -> Sphere | None:
        """The sphere on which the replicas are kept, or None."""
        return self._constraint

    @constraint.setter
    def constraint(self, constraint: Sphere | None) -> None:
        if constraint is not None:
            for p in self.parameters:
                constraint.check(p)
        self._constraint = constraint

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what ``state_dict`` has returned; refuse that of another optimizer."""
        require_own_state(self, state_dict)
        super().load_state_dict(state_dict)

    def configuration(self) -> Tensor:
        """Return a copy of where the replicas are, shape (R, N)."""
        return flatten(p.detach() for p in self.parameters)

    def place(self, x: Tensor) -> None:
        """Set the parameters to ``x``, shape (R, N)."""
        for p, part in zip(self.parameters, unflatten(x, self.parameters), strict=True):
            p.copy_(part)

    def evaluate(self, closure: Closure, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return energies (R,) and tangent gradients (R, N) at ``x``, where the replicas stay."""
        self.place(x)
        with torch.enable_grad():
            E = closure()
        g = flatten(torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters)
        return E, g if self.constraint is None else self.constraint.project_(g, x)

    def retract(self, x: Tensor) -> Tensor:
        """Return the rows of ``x`` scaled to the sphere, if there is one."""
        return x if self.constraint is None else self.constraint.retract_(x.clone())
