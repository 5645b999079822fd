"""TwoBatchDescent: unbiased stochastic descent of |grad E|^2 / 2."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.dynamics.closures import Closure, WithClosure
from lightning_landscape.dynamics.saddles.squared_gradient import STEP, product_along
from lightning_landscape.errors import require
from lightning_landscape.sphere import Sphere

__all__ = ["TwoBatchDescent"]


class TwoBatchDescent(WithClosure):
    r"""Descends W = |\nabla E|^2 / 2 by the gradient of one batch and the Hessian of another.

    Of every two successive steps the first takes the gradient g_A of its batch, the second

        v <- momentum v + H_B g_A,   x <- x - lr v,

    with the product by a difference of gradients of batch B. A and B are independent, so that the
    mean of H_B g_A is H g = \nabla W. With the same batch twice it would be the gradient of
    W + tr Sigma / 2, Sigma the covariance of batch gradients, and the descent would seek low noise.
    Batches drawn without replacement are independent but for the end of the epoch: A and B are
    disjoint, which correlates them by -1 / (P/B - 1).

    g_A does not vanish at a saddle: with a constant lr |\nabla E| stops at a level set by the
    noise, and lr/(1 + k/decay) at update k brings it down. It finds the neighbourhood of a saddle;
    `SaddleDescent` on all data, from there, finds the saddle.

    Stable for lr lambda^2 < 2 (1 + momentum), lambda the largest eigenvalue. W has the square of
    the condition number of E, so momentum matters. Cost: 1.5 gradients a step.

    Args:
        params: float64 tensors with the replica axis first, all in one group.
        lr: of the descent of W, in units of 1/lambda^2, > 0.
        momentum: of a heavy ball, in [0, 1).
        decay: after how many updates lr has halved; None keeps it.
        constraint: the sphere on which every parameter, of shape (R, N), lives; or None.

    Raises:
        UsageError: an argument out of range, parameters that are not float64, or a step without
            closure.

    Source: derived here; two independent samples for the square of a mean, Baird 1995, Proc. ICML
    12, 30.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        decay: int | None = None,
        constraint: Sphere | None = None,
    ) -> None:
        require(0 < lr < float("inf"), "lr", lr, "must be > 0, and finite")
        require(0 <= momentum < 1, "momentum", momentum, "must be at least 0 and below 1")
        require(decay is None or decay >= 1, "decay", decay, "must be at least 1, or None")
        settings = {"lr": lr, "momentum": momentum, "decay": decay}
        super().__init__(params, settings, constraint)

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """Take the gradient of a batch, or move with that of the next; return the energies."""
        require(closure is not None, "closure", None, "TwoBatchDescent.step needs one")
        assert closure is not None
        state, x = self.state[self.parameters[0]], self.retract(self.configuration())
        if not state:
            state["velocity"], state["gradient"] = torch.zeros_like(x), torch.zeros_like(x)
            state["steps"] = torch.zeros((), dtype=torch.float64)
        first = int(state["steps"]) % 2 == 0
        E = (self._take if first else self._move)(closure, x, state)
        state["steps"] += 1
        return E

    def _take(self, closure: Closure, x: Tensor, state: dict[str, Tensor]) -> Tensor:
        E, state["gradient"] = self.evaluate(closure, x)
        return E

    def _move(self, closure: Closure, x: Tensor, state: dict[str, Tensor]) -> Tensor:
        energies: list[Tensor] = []

        def evaluate(y: Tensor) -> tuple[Tensor, Tensor]:
            E, g = self.evaluate(closure, y)
            energies.append(E)
            return E, g

        group, sphere = self.param_groups[0], self.constraint
        Hg = product_along(evaluate, x, state["gradient"], sphere, STEP)
        v = state["velocity"].mul_(group["momentum"]).add_(Hg)
        updates = int(state["steps"]) // 2
        lr = group["lr"] / (1 + updates / group["decay"] if group["decay"] else 1)
        x = self.retract(x - lr * v)
        if sphere is not None:
            sphere.project_(v, x)
        self.place(x)
        return (energies[0] + energies[1]) / 2  # that between the two points, to second order
