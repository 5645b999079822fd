"""SaddleDescent: stationary points of any index by L-BFGS on |grad E|^2 / 2."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.dynamics.closures import Closure, WithClosure
from lightning_landscape.dynamics.minimizers.descent import Evaluate
from lightning_landscape.dynamics.saddles.search import SaddleSearch
from lightning_landscape.errors import require
from lightning_landscape.sphere import Sphere

__all__ = ["SaddleDescent"]


class SaddleDescent(WithClosure):
    r"""Descends W = |\nabla E|^2 / 2 by L-BFGS, with gradients of E only.

        \nabla W = H \nabla E,   by a central difference of gradients along \nabla E,

    so that a stationary point of E of the nearest kind, whatever its index, attracts, as minima do
    under descent of E. Each replica has its own line search and memory, and stands still once it
    has ended: in a stationary point, or in a quasi-saddle, a minimum of W with \nabla E != 0 (for
    glasses about a third to a half of all ends; see `Ends`). `kind` tells which.

    A step is one trial of the line searches. W has the square of the condition number of E. The
    energy of all samples is needed; mini-batches are for `TwoBatchDescent`.

    Cost: 3 gradients a step (6 the first), some 500 to 1000 to a stationary point of a glass of 60
    spins; memory: 2 ``memory`` configurations.

    Args:
        params: float64 tensors with the replica axis first, all in one group.
        memory: how many steps are remembered.
        max_step: the longest step of a replica.
        tolerance: of |\nabla E|^2 / N at a stationary point.
        quasi: |H g| / |g|, in units of its largest value, below which a stalled descent has ended.
        constraint: the sphere on which every parameter, of shape (R, N), lives; or None.

    Raises:
        UsageError: an argument out of range, parameters that are not float64, or a step without
            closure.

    Source: Angelani, Di Leonardo, Ruocco, Scala, Sciortino 2000, PRL 85, 5356, and Broderix,
    Bhattacharya, Cavagna, Zippelius, Giardina 2000, PRL 85, 5360 (descent of W); Doye, Wales 2002,
    J. Chem. Phys. 116, 3777 (quasi-saddles).

    >>> x = torch.nn.Parameter(torch.tensor([[1.0, 1.0]], dtype=torch.float64))
    >>> descent = SaddleDescent([x])
    >>> def closure():  # E = x_1^4 / 4 - x_1^2 / 2 + x_2^2, a saddle at 0
    ...     E = x[:, 0] ** 4 / 4 - x[:, 0] ** 2 / 2 + x[:, 1] ** 2
    ...     x.grad = torch.autograd.grad(E.sum(), x)[0]
    ...     return E.detach()
    >>> x.data[0] = torch.tensor([0.3, 1.0])
    >>> for _ in range(40):
    ...     _ = descent.step(closure)
    >>> bool(x.abs().max() < 1e-6), descent.kind.tolist()
    (True, [1])
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        memory: int = 60,
        max_step: float = 0.3,
        tolerance: float = 1e-12,
        quasi: float = 1e-3,
        constraint: Sphere | None = None,
    ) -> None:
        settings: dict[str, Any] = {"memory": memory, "max_step": max_step}
        settings |= {"tolerance": tolerance, "quasi": quasi}
        super().__init__(params, {"lr": 1.0, **settings}, constraint)
        self._settings = settings
        self._blank()  # which refuses settings out of range
        self._search: SaddleSearch | None = None

    @property
    def needs_whole_energy(self) -> bool:
        """True: a line search compares values of W."""
        return True

    @property
    def kind(self) -> Tensor:
        """What each replica has ended in, shape (R,), int64, see `Kind`; 0 where it moves."""
        state = self.state[self.parameters[0]]
        R = len(self.parameters[0])
        return state["ends_kind"].long() if state else torch.zeros(R, dtype=torch.int64)

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """Do one trial; return the energies at its end, (R,)."""
        require(closure is not None, "closure", None, "SaddleDescent.step needs one")
        assert closure is not None
        evaluate = partial(self.evaluate, closure)
        search = self._search
        if search is None:
            search = self._search = self._begin(evaluate)
        search.advance(evaluate)
        self.place(search.x)
        self.state[self.parameters[0]] = search.state()
        return search.E

    def _begin(self, evaluate: Evaluate) -> SaddleSearch:
        state = self.state[self.parameters[0]]
        if not state:
            x = self.retract(self.configuration())
            return SaddleSearch(x, evaluate, self.constraint, **self._settings)
        search = self._blank()
        search.load(state)
        return search

    def _blank(self) -> SaddleSearch:
        """Return a search that has evaluated nothing."""
        x = self.configuration()
        nothing = x.new_zeros(len(x)), torch.zeros_like(x)
        return SaddleSearch(x, lambda _: nothing, self.constraint, **self._settings)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what ``state_dict`` has returned; refuse that of another optimizer."""
        super().load_state_dict(state_dict)
        self._search = None
