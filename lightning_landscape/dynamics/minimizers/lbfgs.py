"""The last digits of a minimum."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.energies.energy import Energy

__all__ = ["minimize_lbfgs"]


def minimize_lbfgs(energy: Energy, steps: int = 1000, batch: Tensor | None = None) -> Tensor:
    """Descend by L-BFGS, one replica after the other; return the energies, shape (R,).

    For the last digits of a minimum that another optimizer has reached, where the landscape is
    smooth: at the kinks of ReLU networks the gradient need not vanish, and the line search ends.

    Args:
        energy: its configurations are the start, and are replaced by the end; best in float64.
        steps: the most iterations of a replica.
        batch: which samples the energy is of, (B,) or (R, B).

    Source: Liu, Nocedal 1989, Math. Program. 45, 503, as in `scipy.optimize.minimize`.

    >>> from lightning_landscape.energies import Quadratic
    >>> bool((minimize_lbfgs(Quadratic([1.0, 100.0], replicas=2, dtype="float64")) < 1e-20).all())
    True
    """
    ends = [_polish_one(energy, r, steps, batch) for r in range(energy.replicas)]
    energy.load_configuration(torch.stack([x for x, _ in ends]))
    return torch.tensor([value for _, value in ends], dtype=ends[0][0].dtype)


def _polish_one(energy: Energy, r: int, steps: int, batch: Tensor | None) -> tuple[Tensor, float]:
    from scipy.optimize import minimize as scipy_minimize

    one = energy.only(torch.tensor([r]))
    seen = batch[r : r + 1] if batch is not None and batch.dim() == 2 else batch
    start = one.configuration()

    def value_and_gradient(x: object) -> tuple[float, object]:
        one.load_configuration(torch.as_tensor(x).to(start).view(1, -1))
        one.zero_grad()
        value = one(seen)
        value.sum().backward()
        gradient = torch.cat([_gradient_of(p) for p in one.parameters()])
        return value.item(), gradient.double().cpu().numpy()

    options = {"maxiter": steps, "maxfun": 2 * steps, "ftol": 0.0, "gtol": 1e-14}
    x0 = start[0].double().cpu().numpy()
    end = scipy_minimize(value_and_gradient, x0, jac=True, method="L-BFGS-B", options=options)
    return torch.as_tensor(end.x).to(start), float(end.fun)


def _gradient_of(p: Tensor) -> Tensor:
    return torch.zeros(p[0].numel(), dtype=p.dtype) if p.grad is None else p.grad.flatten()
