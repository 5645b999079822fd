"""The edge of stability of an optimizer: the curvature from which on its steps overshoot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.dynamics.minimizers.decaying_adam import DecayingAdam
from lightning_landscape.dynamics.samplers.langevin import Langevin
from lightning_landscape.dynamics.samplers.leimkuhler_matthews import LeimkuhlerMatthews
from lightning_landscape.dynamics.samplers.underdamped import Underdamped
from lightning_landscape.replicas import per_replica

__all__ = ["Edge", "edge_of"]


@dataclass(frozen=True)
class Edge:
    r"""Where an optimizer becomes unstable in a quadratic valley with the Hessian H.

    The iteration converges as long as the highest eigenvalue of S^{1/2} (H + w) S^{1/2} is below
    ``threshold``, with the diagonal step sizes S and the weight decay w.

    Attributes:
        threshold: 2 for gradient descent.
        step_sizes: S for each parameter in its shape, or one number for all, or one a replica.
        weight_decay: w, where it is a part of the gradient.
        rule: the bound in a few symbols, for a table.
    """

    threshold: float
    step_sizes: list[Tensor]
    weight_decay: float
    rule: str

    @property
    def is_plain(self) -> bool:
        """Whether S is a number, so that the bound is one on the sharpness itself."""
        sizes = [s.flatten()[0] for s in self.step_sizes]
        return all(s.numel() == 1 for s in self.step_sizes) and len({float(s) for s in sizes}) == 1


def edge_of(optimizer: Optimizer) -> Edge | None:
    r"""Return the edge of stability of an optimizer in its present state; None if none is known.

    | optimizer | stable for the highest eigenvalue below | of |
    |---|---|---|
    | gradient descent, `Langevin`, `LeimkuhlerMatthews` | 2 | lr H |
    | momentum beta, dampening d | 2 (1 + beta) / (1 - d) | lr H |
    | Nesterov's | 2 (1 + beta) / (1 + 2 beta) | lr H |
    | Adam, AdamW | 2 (1 + beta_1) / (1 - beta_1) | lr P^{-1} H |
    | RMSprop with momentum beta | 2 (1 + beta) | lr P^{-1} H |
    | `Underdamped` | 4 | lr^2 H |

    For Adam P = (1 - beta_1^t) [sqrt(v / (1 - beta_2^t)) + eps] with its present v, taken as
    frozen: for beta_1 = 0.9 the bound is the known 38 / lr on the preconditioned sharpness. Weight
    decay counts where it is a part of the gradient (SGD, Adam), not where it is apart from it
    (AdamW).

    Args:
        optimizer: after at least one step where it has a preconditioner.

    Source: Cohen et al. 2021, arXiv:2103.00065, section 2 and appendix; Cohen et al. 2022,
    arXiv:2207.14484, eqs. 2 and 5.

    >>> x = torch.nn.Parameter(torch.zeros(1))
    >>> edge_of(torch.optim.SGD([x], lr=0.1, momentum=0.9)).threshold
    3.8
    """
    for kinds, rule in _RULES:
        if isinstance(optimizer, kinds):
            return rule(optimizer)
    return None


def _gradient_descent(optimizer: Optimizer) -> Edge | None:
    (group, *others) = optimizer.param_groups
    beta, damping = group.get("momentum", 0.0), group.get("dampening", 0.0)
    if group.get("nesterov"):
        threshold, rule = 2 * (1 + beta) / (1 + 2 * beta), "2(1 + β)/((1 + 2β) lr)"
    elif beta:
        threshold, rule = 2 * (1 + beta) / (1 - damping), "2(1 + β)/lr"
    else:
        threshold, rule = 2.0, "2/lr"
    if any(g.get("momentum", 0.0) != beta for g in others):
        return None
    return Edge(threshold, _plain(optimizer), group.get("weight_decay", 0.0), rule)


def _underdamped(optimizer: Optimizer) -> Edge:
    sizes = [s.square() for s in _plain(optimizer)]
    return Edge(4.0, sizes, optimizer.param_groups[0].get("weight_decay", 0.0), "4/lr²")


def _adam(optimizer: Optimizer) -> Edge | None:
    group = optimizer.param_groups[0]
    beta1, beta2 = (float(beta) for beta in group["betas"])
    sizes = []
    if not optimizer.state:
        return None
    for g in optimizer.param_groups:
        for p in g["params"]:
            state = optimizer.state.get(p, {})
            if "exp_avg_sq" not in state:
                sizes.append(_unmoved(p))
                continue
            v = state.get("max_exp_avg_sq", state["exp_avg_sq"]).double()
            t = float(state["step"])
            P = (1 - beta1**t) * ((v / (1 - beta2**t)).sqrt() + g["eps"])
            sizes.append(float(g["lr"]) / P)
    decoupled = isinstance(optimizer, torch.optim.AdamW) or group.get("decoupled_weight_decay")
    decay = 0.0 if decoupled else group["weight_decay"]
    threshold = 2 * (1 + beta1) / (1 - beta1)
    return Edge(threshold, sizes, decay, f"{threshold:.3g}/lr, preconditioned")


def _rmsprop(optimizer: Optimizer) -> Edge | None:
    sizes = []
    if not optimizer.state:
        return None
    for g in optimizer.param_groups:
        for p in g["params"]:
            state = optimizer.state.get(p, {})
            if "square_avg" not in state:
                sizes.append(_unmoved(p))
                continue
            v = state["square_avg"].double()
            if g["centered"]:
                v = v - state["grad_avg"].double().square()
            sizes.append(float(g["lr"]) / (v.clamp_min(0).sqrt() + g["eps"]))
    group = optimizer.param_groups[0]
    threshold = 2 * (1 + group["momentum"])
    return Edge(threshold, sizes, group["weight_decay"], f"{threshold:.3g}/lr, preconditioned")


def _unmoved(p: Tensor) -> Tensor:
    """Return S of a parameter that has had no gradient, and so has no state: 0."""
    return torch.zeros_like(p, dtype=torch.float64)


_RULES: tuple[tuple[Any, Any], ...] = (
    (Underdamped, _underdamped),
    ((torch.optim.SGD, Langevin, LeimkuhlerMatthews), _gradient_descent),
    ((torch.optim.Adam, torch.optim.AdamW, DecayingAdam), _adam),
    (torch.optim.RMSprop, _rmsprop),
)


def _plain(optimizer: Optimizer) -> list[Tensor]:
    """Return lr for each parameter: a number, or one a replica, broadcast to its shape."""
    sizes = []
    for group in optimizer.param_groups:
        lr = torch.as_tensor(group["lr"], dtype=torch.float64)
        for p in group["params"]:
            sizes.append(per_replica(lr, p).double() if lr.dim() else lr)
    return sizes
