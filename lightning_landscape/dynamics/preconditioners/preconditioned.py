"""Preconditioned: descent along -P grad E, with P an inverse Hessian known beforehand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.dynamics.closures import Closure, WithClosure
from lightning_landscape.errors import require

__all__ = ["Preconditioned"]

_SHORTEST, _ROUNDING = 2.0**-20, 100


class Preconditioned(WithClosure):
    r"""x <- x - a P \nabla E, with P from fluctuations, for example, and a = lr where E allows it.

    With P = H^{-1} and lr = 1 these are Newton steps; a covariance of fluctuations is C = T H^{-1}
    and gives P = C/T, see `hessian_from_thermal_fluctuations`. A step that would raise the energy
    of a replica is taken back and tried at half the length, and a grows back by factors of two to
    lr. Converges at the rate max |1 - lr lambda(P H)| a step, whatever the condition number of H.

    It needs the energy of all samples. Cost: one gradient and N^2 operations a step and replica.

    Args:
        params: float64 tensors with the replica axis first, all in one group, of N numbers a
            replica.
        preconditioner: P, symmetric and positive definite, (N, N), or one a replica, (R, N, N);
            rows as in `Energy.configuration`.
        lr: the longest step, > 0.

    Raises:
        UsageError: an argument out of range or of another shape, a preconditioner that is not
            positive definite, or a step without closure.

    Source: Nocedal, Wright 2006, Numerical Optimization, chapter 3.

    >>> x = torch.nn.Parameter(torch.tensor([[1.0, 1.0]], dtype=torch.float64))
    >>> l = torch.tensor([1.0, 1000.0], dtype=torch.float64)
    >>> newton = Preconditioned([x], torch.diag(1 / l), lr=1.0)
    >>> def closure():
    ...     x.grad = l * x.detach()
    ...     return (l * x.detach() ** 2).sum(1) / 2
    >>> for _ in range(2):
    ...     _ = newton.step(closure)
    >>> x.tolist()
    [[0.0, 0.0]]
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        preconditioner: Tensor,
        lr: float = 0.7,
    ) -> None:
        require(0 < lr < float("inf"), "lr", lr, "must be > 0, and finite")
        super().__init__(params, {"lr": lr})
        x = self.configuration()
        R, N = x.shape
        shapes, given = ((N, N), (R, N, N)), tuple(preconditioner.shape)
        require(
            given in shapes, "preconditioner.shape", given, f"must be {shapes[0]} or {shapes[1]}"
        )
        P = preconditioner.to(x)
        definite = bool((torch.linalg.cholesky_ex(P).info == 0).all())
        require(definite, "preconditioner", "indefinite", "must be positive definite")
        self.preconditioner = P

    @property
    def needs_whole_energy(self) -> bool:
        """True: a step is judged by its energy."""
        return True

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """Judge the last step by the energy here, and do the next; return the energies."""
        require(closure is not None, "closure", None, "Preconditioned.step needs one")
        assert closure is not None
        state, x = self.state[self.parameters[0]], self.configuration()
        E, g = self.evaluate(closure, x)
        lr = self.param_groups[0]["lr"]
        if not state:
            state.update(x=x, E=E, g=g, length=torch.full_like(E, lr))
        rounding = _ROUNDING * torch.finfo(E.dtype).eps * state["E"].abs()
        rose = ~(E <= state["E"] + rounding) & (state["length"] > _SHORTEST * lr)
        back = rose.unsqueeze(1)
        state["x"], state["g"] = torch.where(back, state["x"], x), torch.where(back, state["g"], g)
        state["E"] = torch.where(rose, state["E"], E)
        longer = (2 * state["length"]).clamp_max(lr)
        state["length"] = torch.where(rose, state["length"] / 2, longer)
        direction = (self.preconditioner @ state["g"].unsqueeze(2)).squeeze(2)
        self.place(state["x"] - state["length"].unsqueeze(1) * direction)
        return E
