"""One L-BFGS descent of many replicas: where they are, and where they go next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_landscape.dynamics.minimizers._line_search import RULES, LineSearch
from lightning_landscape.dynamics.minimizers.memory import FIRST, Memory, compiled
from lightning_landscape.sphere import Sphere

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Descent", "Evaluate"]

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From rows x, (R, N), to values (R,) and gradients (R, N), tangent on a sphere."""

# so many steps without a lower value or a smaller gradient are the end of the precision
_PATIENCE = 30
_TENSORS = ("x", "E", "g", "d", "steps", "exhausted", "smallest", "idle")


class Descent:
    """Where the active replicas are, and where they go next.

    Each trial of the line searches is one `advance`; what is descended is given with it, because
    it changes as replicas leave.

    Args:
        x: the start, shape (R, N).
        evaluate: the value and gradient there.
        memory: how many steps are remembered.
        max_step: the longest step.
        sphere: on which the replicas are kept, or None.

    Attributes:
        x: the configurations, shape (R, N).
        E: their values, shape (R,).
        g: their gradients, shape (R, N); on the sphere the tangent part.
        d: the directions of the line searches, shape (R, N).
        steps: how many have been done, shape (R,).
        exhausted: which can descend no further in their precision, shape (R,), bool.
    """

    def __init__(
        self, x: Tensor, evaluate: Evaluate, memory: int, max_step: float, sphere: Sphere | None
    ) -> None:
        self.sphere = sphere
        self.max_step = max_step if sphere is None else min(max_step, sphere.N**0.5)
        E, g = evaluate(x)
        self.x = x.clone(memory_format=torch.contiguous_format)
        self.E, self.g = E.clone(), g.clone()
        self.memory = Memory(x, memory)
        self.steps = torch.zeros_like(self.E, dtype=torch.int64)
        self.exhausted = torch.zeros_like(self.E, dtype=torch.bool)
        self.smallest, self.idle = self.g.norm(dim=1), torch.zeros_like(self.steps)
        self.d = torch.zeros_like(x)
        self.search = self._aim(torch.ones_like(self.exhausted))

    def only(self, index: Tensor) -> Descent:
        """Return the descents of some replicas."""
        some = object.__new__(Descent)
        some.sphere, some.max_step = self.sphere, self.max_step
        for name in _TENSORS:
            setattr(some, name, getattr(self, name)[index])
        some.memory, some.search = self.memory.only(index), self.search.only(index)
        return some

    def state(self) -> dict[str, Tensor]:
        """Return all tensors that the rest of the descent depends on, replica axis first."""
        search = {f"search_{field.name}": field.name for field in fields(self.search)}
        own = {name: getattr(self, name) for name in _TENSORS}
        pairs = {"memory_s": self.memory.s, "memory_y": self.memory.y}
        return own | pairs | {key: getattr(self.search, name) for key, name in search.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state` has returned, of whatever precision."""
        for name in _TENSORS:
            setattr(self, name, state[name].to(getattr(self, name).dtype, copy=True))
        self.memory.s, self.memory.y = state["memory_s"].clone(), state["memory_y"].clone()
        names = [field.name for field in fields(self.search)]
        self.search = LineSearch(*(state[f"search_{name}"].clone() for name in names))

    def advance(self, evaluate: Evaluate) -> None:
        """Evaluate one trial of every line search, and do the steps that are accepted."""
        a = self.search.a.unsqueeze(1)
        x = self.x + a * self.d
        stretch = 1.0
        if self.sphere is not None:
            stretch = x.norm(dim=1) * self.sphere.N**-0.5
            self.sphere.retract_(x)
        E, g = evaluate(x)
        if compiled(x) and E.dtype == x.dtype:
            self._advance_in_place(x, E, g)
            return
        slope = torch.linalg.vecdot(g, self.d) / stretch
        accepted, failed = self.search.judge(E, slope)
        hopeless = failed & (self.memory.s[:, -1] == 0).all(1)  # the direction was the gradient
        self.exhausted = self.exhausted | hopeless
        self.memory.forget(failed)
        self._step(x, E, g, a * self.d, accepted)
        turning = accepted | failed
        if turning.any():
            self.search = self.search.merge(self._aim(turning), turning)

    def _advance_in_place(self, x: Tensor, E: Tensor, g: Tensor) -> None:
        """Do the rest of `advance` in one kernel, after the evaluation at ``x``."""
        from lightning_landscape.dynamics.minimizers._advance import advance

        def array(tensor: Tensor) -> NDArray[Any]:
            return tensor.detach().numpy()

        advance(
            (array(x.contiguous()), array(g.contiguous())),
            array(E),
            (array(self.x), array(self.g), array(self.d)),
            (array(self.E), array(self.smallest)),
            (array(self.steps), array(self.idle)),
            array(self.exhausted),
            tuple(array(getattr(self.search, field.name)) for field in fields(self.search)),
            (array(self.memory.s), array(self.memory.y)),
            RULES,
            FIRST,
            float(self.max_step),
            _PATIENCE,
            0.0 if self.sphere is None else float(self.sphere.N),
        )

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
