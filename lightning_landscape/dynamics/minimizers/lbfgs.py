"""L-BFGS for all replicas at once: the last digits of minima, and inherent structures."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.dynamics.minimizers.active_replicas import ActiveReplicas
from lightning_landscape.dynamics.minimizers.descent import Descent, Evaluate
from lightning_landscape.dynamics.minimizers.minimize import Minimum
from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import require, require_kind, require_whole

__all__ = ["descend", "minimize_lbfgs"]


@checked
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
    active, start = ActiveReplicas(energy, batch), energy.configuration()

    def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
        return active.evaluate(x)

    def keep(index: Tensor) -> None:
        nonlocal active
        active = active.cut(index.cpu())

    descent = Descent(start, evaluate, memory, max_step, energy.constraint)
    end, minimum = descend(descent, evaluate, steps, tolerance, keep)
    energy.place(end)
    return Minimum(*(part.cpu() for part in minimum))


def descend(
    descent: Descent,
    evaluate: Evaluate,
    steps: int,
    tolerance: float,
    keep: Callable[[Tensor], None] = lambda _: None,
) -> tuple[Tensor, Minimum]:
    """Go on until every row has converged, is exhausted, or has done all its steps.

    Rows leave the batch once they are a sixteenth of it: to cut a batch costs as much as a step.

    Args:
        descent: where the rows are.
        evaluate: values and gradients at the rows that are left.
        steps: the largest number of steps of a row.
        tolerance: of the norm of the gradient.
        keep: is told when rows leave, by the indices of those that are left.

    Returns:
        the configurations at the ends, shape (R, N), and the values there.

    Raises:
        UsageError: a value that is not finite at the start.
    """
    finite = bool((descent.E.isfinite() & descent.g.isfinite().all(1)).all())
    require(finite, "energy", "inf or nan", "must be finite where the descent starts")
    end, rows = descent.x.clone(), torch.arange(len(descent.x), device=descent.x.device)
    minimum = Minimum(descent.E.clone(), descent.steps.clone(), descent.exhausted.clone())
    going = torch.ones_like(descent.exhausted)
    while True:
        converged = descent.g.norm(dim=1) <= tolerance
        ending = going & (converged | descent.exhausted | (descent.steps >= steps))
        if ending.any():
            ended = rows[ending]
            end[ended] = descent.x[ending]
            parts = (descent.E, descent.steps, converged)
            for found, part in zip(minimum, parts, strict=True):
                found[ended] = part[ending]
            going &= ~ending
            left = int(going.sum())
            if not left:
                break
            if 16 * (len(going) - left) >= len(going):
                index = going.nonzero().squeeze(1)
                rows, going, descent = rows[index], going[index], descent.only(index)
                keep(index)
        descent.advance(evaluate)
    return end, minimum
