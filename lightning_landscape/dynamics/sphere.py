"""Any torch optimizer on the sphere |x|^2 = N."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.arguments import checked
from lightning_landscape.dynamics.closures import WithClosure
from lightning_landscape.dynamics.minimizers.fire import FIRE
from lightning_landscape.dynamics.samplers.thermal import Thermal
from lightning_landscape.errors import require
from lightning_landscape.sphere import Sphere

__all__ = ["constrain"]


@checked
def constrain(optimizer: Optimizer, constraint: Sphere | None) -> Optimizer:
    r"""Keep every parameter of ``optimizer``, of shape (R, N), on the sphere, and return it.

        \nabla E <- \nabla E - x (x . \nabla E) / N    before a step,
        x <- sqrt(N) x / |x|                           after it,

    by hooks on its step; the gradients are those of the closure where the step is given one.
    SGD so becomes gradient descent on the sphere. The samplers and `FIRE` keep the constraint
    themselves, because noise and velocities have to be projected too. Momentum and Adam keep their
    running averages as vectors of the flat space: their component along x only shortens the
    step, so they descend, but they are no physical dynamics. A line search that moves x between
    two gradients (`torch.optim.LBFGS`) is not supported; see `minimize_lbfgs`.

    Args:
        optimizer: any torch optimizer, not yet constrained.
        constraint: the sphere; None changes nothing.

    Raises:
        UsageError: a shape that is not (R, N), or a weight decay, which would only pull along x.

    >>> x = torch.nn.Parameter(torch.tensor([[1.0, 1.0]]))
    >>> descent = constrain(torch.optim.SGD([x], lr=0.1), Sphere(2))
    >>> x.grad = torch.tensor([[5.0, 5.0]])  # along x, so nothing moves
    >>> descent.step()
    >>> x.detach().round(decimals=6)
    tensor([[1., 1.]])
    """
    if constraint is None:
        return optimizer
    if isinstance(optimizer, Thermal | FIRE | WithClosure):
        optimizer.constraint = constraint
        return optimizer
    _check(optimizer, constraint)

    @torch.no_grad()
    def project() -> None:
        for p in _moving(optimizer):
            assert p.grad is not None
            constraint.project_(p.grad, p)

    def before(_: Optimizer, args: Any, kwargs: Any) -> Any:
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            project()
            return None
        return (args[0], _followed_by(closure, project)), {}

    @torch.no_grad()
    def after(*_: Any) -> None:
        for p in _moving(optimizer):
            constraint.retract_(p)

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)
    return optimizer


def _moving(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def _check(optimizer: Optimizer, constraint: Sphere) -> None:
    for group in optimizer.param_groups:
        decay = group.get("weight_decay", 0)
        require(
            decay == 0,
            "weight_decay",
            decay,
            f"has no meaning on the sphere |x|^2 = {constraint.N}, where |x| is fixed",
            "set weight_decay to 0",
        )
        for p in group["params"]:
            constraint.check(p)


def _followed_by(closure: Callable[[], Any], project: Callable[[], None]) -> Callable[[], Any]:
    """The gradients that count are those that the closure leaves behind."""

    def wrapped() -> Any:
        loss = closure()
        project()
        return loss

    return wrapped
