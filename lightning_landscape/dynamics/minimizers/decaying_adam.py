"""Adam with the step size of the jamming protocol: divided by ten every so many steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.dynamics.dynamics import (
    Dynamics,
    checked_parameters,
    require_own_state,
)
from lightning_landscape.errors import require, require_whole

__all__ = ["DecayingAdam"]


class DecayingAdam(Dynamics, torch.optim.Adam):
    """`torch.optim.Adam` whose step size falls as lr(k) = max(floor, lr / 10^(k // every)).

    k counts steps. Between the drops it is torch's Adam bit for bit; the drops are a function of
    the step count in its state, so a run resumes exactly. The defaults are the published schedule
    of the jamming runs, which took 2 to 10 million steps; at N ~ 300 lr = 0.01 and every = 5000
    find the same transition in 10^4.

    Args:
        params: as for any torch optimizer.
        lr: the first step size, > 0.
        every: steps between the drops, >= 1.
        floor: the smallest step size, in (0, lr].

    Raises:
        UsageError: a number is out of range.

    Source: Geiger et al. 2019, arXiv:1809.09349; the schedule is that of their public code,
    github.com/mariogeiger/nn_jamming.

    >>> x = torch.nn.Parameter(torch.zeros(1))
    >>> adam = DecayingAdam([x], lr=0.1, every=2, floor=0.01)
    >>> for _ in range(3):
    ...     x.grad = torch.ones(1)
    ...     _ = adam.step()
    >>> round(x.item(), 6)  # two steps of 0.1, one of 0.01
    -0.21
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-4,
        every: int = 250_000,
        floor: float = 1e-7,
    ) -> None:
        require(0 < lr < float("inf"), "lr", lr, "must be > 0, and finite")
        require_whole("every", every)
        require(0 < floor <= lr, "floor", floor, f"must lie in (0, lr = {lr}]")
        super().__init__(checked_parameters(params), lr=lr)
        self._first, self._every, self._floor = lr, every, floor

    @property
    def time_step(self) -> float:
        """1: its time counts steps, because its step size is no physical time."""
        return 1.0

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state that this class, or `torch.optim.Adam`, has returned.

        Raises:
            UsageError: it is that of another optimizer.
        """
        require_own_state(self, state_dict)
        super().load_state_dict(state_dict)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one step with the step size that is due; return what ``closure`` returns, if given."""
        state = self.state.get(self.param_groups[0]["params"][0], {})
        drops = int(state.get("step", 0)) // self._every
        for group in self.param_groups:
            group["lr"] = max(self._floor, self._first / 10**drops)
        return super().step(closure)
