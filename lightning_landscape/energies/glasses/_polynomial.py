"""Homogeneous polynomials as energies under autograd: value, gradient, Hessian-vector product."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from lightning_landscape.errors import UsageError

__all__ = ["Interaction", "along", "energy"]


class Interaction(nn.Module):
    """A homogeneous polynomial P of order p for each of R replicas; the energy is -P.

    Row b of the arguments belongs to replica b mod R: R rows, or several vectors for each replica.
    """

    p: int

    def force(self, x: Tensor) -> Tensor:
        """Return the gradient of P at each row of x, shape (B, N)."""
        raise NotImplementedError

    def force_along(self, x: Tensor, v: Tensor) -> Tensor:
        """Return the derivative of `force` along the rows of v, shape (B, N)."""
        raise NotImplementedError

    def draw(self) -> None:
        """Draw couplings that were to be drawn where they are used first."""

    def keep(self, replicas: Tensor) -> None:
        """Keep the couplings of these replicas only; those shared by all stay as they are."""


def energy(x: Tensor, interactions: Sequence[Interaction]) -> Tensor:
    """Return H(x) = -sum_p P_p(x), shape (R,), differentiable twice.

    The forces are computed once, in the forward pass; the value adds nothing to their cost, since
    P_p = x . grad P_p / p.

    Args:
        x: shape (R, N).
        interactions: the P_p.
    """
    return _Value.apply(x, interactions)


class _Value(Function):
    """x -> H(x), keeping the force on x, so that the backward pass only has to multiply."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, interactions: Sequence[Interaction]) -> Tensor:
        forces = [interaction.force(x) for interaction in interactions]
        energy = -sum(
            torch.linalg.vecdot(x, force) / interaction.p
            for interaction, force in zip(interactions, forces, strict=True)
        )
        ctx.save_for_backward(x, sum(forces[1:], forces[0]))
        ctx.interactions = interactions
        return energy

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, force = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return -grad.unsqueeze(-1) * force, None
        return grad.unsqueeze(-1) * _Gradient.apply(x, force, ctx.interactions), None


class _Gradient(Function):
    """x -> grad H(x), which is known already; its backward pass is a Hessian-vector product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, force: Tensor, interactions: Sequence[Interaction]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.interactions = interactions
        return -force

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None, None]:
        return -_ForceAlong.apply(*ctx.saved_tensors, v, ctx.interactions), None, None


class _ForceAlong(Function):
    """(x, v) -> the derivative of the force along v; many v at once under ``vmap``."""

    @staticmethod
    def forward(x: Tensor, v: Tensor, interactions: Sequence[Interaction]) -> Tensor:
        terms = [interaction.force_along(x, v) for interaction in interactions]
        return sum(terms[1:], terms[0])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> None:
        raise UsageError("a glass is differentiable twice, and a third derivative was asked for")

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        x: Tensor,
        v: Tensor,
        interactions: Sequence[Interaction],
    ) -> tuple[Tensor, int]:
        rows = [
            t.expand(info.batch_size, *t.shape) if d is None else t.movedim(d, 0)
            for t, d in zip((x, v), in_dims, strict=False)
        ]
        out = _ForceAlong.apply(*(t.flatten(0, 1) for t in rows), interactions)
        return out.unflatten(0, (info.batch_size, -1)), 0


def along(force: Callable[[Tensor], Tensor], x: Tensor, v: Tensor) -> Tensor:
    """Return the derivative of a real polynomial along v, exact to rounding, by one complex step.

    Im force(x + i h v) / h has an error of the order h^2 and no cancellation, so h can be as small
    as the rounding error (Squire, Trapp 1998, SIAM Rev. 40, 110).

    Args:
        force: accepts complex arguments.
        x: where, shape (B, N).
        v: the direction, shape (B, N).
    """
    number = torch.finfo(x.dtype)
    longest = v.abs().amax(1, keepdim=True).clamp_min(number.tiny)
    h = number.eps * x.abs().amax(1, keepdim=True) / longest
    return force(torch.complex(x, h * v)).imag / h
