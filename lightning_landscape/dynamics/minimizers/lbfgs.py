"""L-BFGS for all replicas at once: the last digits of minima, and inherent structures."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.dynamics.minimizers.active_replicas import ActiveReplicas
from lightning_landscape.dynamics.minimizers.descent import Descent
from lightning_landscape.dynamics.minimizers.minimize import Minimum
from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import require, require_kind, require_whole

__all__ = ["minimize_lbfgs"]


def minimize_lbfgs(
    energy: Energy,
    steps: int = 1000,
    batch: Tensor | None = None,
    tolerance: float = 1e-12,
    memory: int = 10,
    max_step: float = torch.inf,
) -> Minimum:
    r"""Descend by L-BFGS until the gradient vanishes, all replicas in one batch.

        x <- x + a d,   d = -H \nabla E,   with H from the last ``memory`` steps and gradients

    and a from a line search (weak Wolfe conditions). Every replica has its own line search, which
    goes on while others take their next step, and leaves the batch when |\nabla E| is below the
    tolerance, or when the precision of its numbers allows no further descent.

    On the sphere |x|^2 = N the gradient is the tangent one, a step ends with x <- sqrt(N) x / |x|,
    and what H remembers is carried to the new tangent plane by projection.

    For smooth energies: at the kinks of ReLU networks the gradient need not vanish, and the line
    search ends. It is no dynamics: which of several minima it finds depends on the lengths of its
    steps, which ``max_step`` bounds, and not on the basins of gradient descent alone.

    Cost: a gradient per trial step and active replica, about 1.1 per step in smooth landscapes,
    and 4 ``memory`` passes over the configurations; memory, 2 ``memory`` configurations.

    Args:
        energy: its configurations are the start, and are replaced by the end; best in float64.
        steps: the largest number of steps of a replica.
        batch: which samples the energy is of, (B,) or (R, B), each replica its own.
        tolerance: of the gradient norm of a replica, >= 0.
        memory: how many steps H remembers, >= 1.
        max_step: the longest step of a replica, |a d|, > 0.

    Returns:
        energies, steps and whether the gradient is below the tolerance, each (R,).

    Raises:
        UsageError: an argument out of range, or an energy that is not finite at the start.

    Source: Liu, Nocedal 1989, Math. Program. 45, 503; on manifolds Huang, Gallivan, Absil 2015,
    SIAM J. Optim. 25, 1660.

    >>> from lightning_landscape.energies import Quadratic
    >>> minimum = minimize_lbfgs(Quadratic([1.0, 100.0], replicas=2, dtype="float64"))
    >>> bool((minimum.energies < 1e-20).all()), minimum.done
    (True, tensor([True, True]))
    """
    require_kind("energy", energy, Energy)
    require_whole("steps", steps)
    require(tolerance >= 0, "tolerance", tolerance, "must be at least 0")
    require_whole("memory", memory)
    require(max_step > 0, "max_step", max_step, "must be > 0")
    active, end = ActiveReplicas(energy, batch), energy.configuration()
    start = end.clone()
    descent = Descent(start, active.evaluate, memory, max_step, energy.constraint)
    finite = bool((descent.E.isfinite() & descent.g.isfinite().all(1)).all())
    require(finite, "energy", "inf or nan", "must be finite where the descent starts")
    R, dtype = energy.replicas, descent.E.dtype
    minimum = Minimum(
        torch.empty(R, dtype=dtype), torch.zeros(R, dtype=torch.int64), torch.zeros(R).bool()
    )
    while True:
        converged = descent.g.norm(dim=1) <= tolerance
        leaving = converged | descent.exhausted | (descent.steps >= steps)
        if leaving.any():
            rows = active.rows[leaving.cpu()]
            end[rows.to(end.device)] = descent.x[leaving]
            parts = (descent.E, descent.steps, converged)
            for found, part in zip(minimum, parts, strict=True):
                found[rows] = part[leaving].cpu()
            index = (~leaving).nonzero().squeeze(1)
            if not len(index):
                break
            active, descent = active.cut(index.cpu()), descent.only(index)
        descent.advance(active.evaluate)
    energy.place(end)
    return minimum
