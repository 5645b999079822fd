"""L-BFGS for all replicas at once: the last digits of minima, and inherent structures."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.dynamics.minimizers._line_search import LineSearch
from lightning_landscape.dynamics.minimizers.active_replicas import ActiveReplicas
from lightning_landscape.dynamics.minimizers.memory import Memory
from lightning_landscape.dynamics.minimizers.minimize import Minimum
from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import require, require_whole

__all__ = ["minimize_lbfgs"]

# so many steps without a lower energy or a smaller gradient are the end of the precision
_PATIENCE = 30


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
    require_whole("steps", steps)
    require(tolerance >= 0, "tolerance", tolerance, "must be at least 0")
    require_whole("memory", memory)
    require(max_step > 0, "max_step", max_step, "must be > 0")
    active, end = ActiveReplicas(energy, batch), energy.configuration()
    descent = _Descent(active, memory, max_step)
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
        descent.advance(active)
    energy.place(end)
    return minimum


class _Descent:
    """Where the active replicas are, and where they go next.

    Attributes:
        x: the configurations, shape (R, N).
        E: their energies, shape (R,).
        g: their gradients, shape (R, N); on the sphere the tangent part.
        d: the directions of the line searches, shape (R, N).
        steps: how many have been done, shape (R,).
        exhausted: which can descend no further in their precision, shape (R,), bool.
    """

    def __init__(self, active: ActiveReplicas, memory: int, max_step: float) -> None:
        self.sphere, self.max_step = active.energy.constraint, max_step
        if self.sphere is not None:
            self.max_step = min(max_step, self.sphere.N**0.5)
        self.x = active.energy.configuration()
        self.E, self.g = self._evaluate(active, self.x)
        self.memory = Memory(self.x, memory)
        self.steps = torch.zeros_like(self.E, dtype=torch.int64)
        self.exhausted = torch.zeros_like(self.E, dtype=torch.bool)
        self.smallest, self.idle = self.g.norm(dim=1), torch.zeros_like(self.steps)
        self.d = torch.zeros_like(self.x)
        self.search = self._aim(torch.ones_like(self.exhausted))

    def only(self, index: Tensor) -> _Descent:
        """Return the descents of some replicas."""
        some = object.__new__(_Descent)
        some.sphere, some.max_step = self.sphere, self.max_step
        for name in ("x", "E", "g", "d", "steps", "exhausted", "smallest", "idle"):
            setattr(some, name, getattr(self, name)[index])
        some.memory, some.search = self.memory.only(index), self.search.only(index)
        return some

    def advance(self, active: ActiveReplicas) -> None:
        """Evaluate one trial of every line search, and do the steps that are accepted."""
        a = self.search.a.unsqueeze(1)
        x = self.x + a * self.d
        stretch = 1.0
        if self.sphere is not None:
            stretch = x.norm(dim=1) * self.sphere.N**-0.5
            self.sphere.retract_(x)
        E, g = self._evaluate(active, x)
        slope = torch.linalg.vecdot(g, self.d) / stretch
        accepted, failed = self.search.judge(E, slope)
        hopeless = failed & (self.memory.s[:, -1] == 0).all(1)  # the direction was the gradient
        self.exhausted = self.exhausted | hopeless
        self.memory.forget(failed)
        self._step(x, E, g, a * self.d, accepted)
        turning = accepted | failed
        if turning.any():
            self.search = self.search.merge(self._aim(turning), turning)

    def _evaluate(self, active: ActiveReplicas, x: Tensor) -> tuple[Tensor, Tensor]:
        active.energy.place(x)
        E, g = active.values(), active.gradient()
        return E, g if self.sphere is None else self.sphere.project_(g, x)

    def _step(self, x: Tensor, E: Tensor, g: Tensor, s: Tensor, accepted: Tensor) -> None:
        """Go to the trial x where it is accepted, and remember s and the change of g."""
        before, moved = self.g, accepted.unsqueeze(1)
        self._count(E, g, accepted)
        self.x = torch.where(moved, x, self.x)
        self.E, self.g = torch.where(accepted, E, self.E), torch.where(moved, g, before)
        if self.sphere is not None:
            before = self.sphere.project_(before.clone(), self.x)
            self.sphere.project_(s, self.x)
            self.memory.transport(self.sphere, self.x)
        self.memory.add(s, g - before, accepted)

    def _count(self, E: Tensor, g: Tensor, accepted: Tensor) -> None:
        """Count the steps, and those that led nowhere."""
        norm = g.norm(dim=1)
        rounding = 4 * torch.finfo(E.dtype).eps * self.E.abs()
        useful = (E < self.E - rounding) | (norm < self.smallest)
        self.smallest = torch.where(accepted, self.smallest.minimum(norm), self.smallest)
        self.idle = torch.where(accepted, torch.where(useful, 0, self.idle + 1), self.idle)
        self.steps = self.steps + accepted
        self.exhausted = self.exhausted | (self.idle >= _PATIENCE)

    def _aim(self, turning: Tensor) -> LineSearch:
        """Choose new directions for some replicas; return line searches along them, for all."""
        d = self.memory.direction(self.g)
        if self.sphere is not None:
            self.sphere.project_(d, self.x)
        slope = torch.linalg.vecdot(d, self.g)
        uphill = turning & ~(slope < 0)
        if uphill.any():
            self.memory.forget(uphill)
            d = torch.where(uphill.unsqueeze(1), self.memory.direction(self.g), d)
            slope = torch.linalg.vecdot(d, self.g)
        self.d = torch.where(turning.unsqueeze(1), d, self.d)
        return LineSearch.begin(self.E, slope, self.max_step / d.norm(dim=1))
