"""Ladders: one value for each rung of the replica axis, and how the replicas come onto them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_landscape.arguments import Checked
from lightning_landscape.dynamics.schedules import Schedule
from lightning_landscape.errors import require

__all__ = ["Ladder", "TwoStarts"]


class Ladder(Checked, Sequence[float]):
    r"""Geometric values, first (last/first)^(k/(rungs-1)) for rung k: temperatures or step sizes.

    A dynamics takes it wherever it takes several numbers, and gives each rung an equal group of
    successive replicas, its chains. Other values are given as a plain list.

    The step sizes belong to the temperatures: where curvature grows with temperature, lr has to
    fall. The rule is lr_k lam_max(T_k) <= c, with the largest eigenvalue measured at the rung;
    the stationary variance of `Langevin` is off by a factor 1 / (1 - c/2), so c = 0.1 keeps it
    within 5 % in the stiffest direction and far closer elsewhere. With lam_max measured at the two
    ends, ``Ladder(c / lam_first, c / lam_last, rungs)`` obeys the rule wherever lam_max follows a
    power of T; `TemperatureFluctuations` checks it at every rung. With step sizes that differ,
    the time of a run counts steps.

    Args:
        first: the value of rung 0, > 0.
        last: that of the last rung, > 0.
        rungs: how many, at least 2.

    Raises:
        UsageError: an argument is out of range.

    >>> [round(T, 5) for T in Ladder(first=1e-4, last=1e-2, rungs=3)]
    [0.0001, 0.001, 0.01]
    """

    def __init__(self, first: float, last: float, rungs: int) -> None:
        require(0 < first < float("inf"), "first", first, "must be > 0, for a geometric ladder")
        require(0 < last < float("inf"), "last", last, "must be > 0, for a geometric ladder")
        require(rungs >= 2, "rungs", rungs, "must be at least 2")
        between = [first * (last / first) ** (k / (rungs - 1)) for k in range(1, rungs - 1)]
        self._values = [float(first), *between, float(last)]

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, rung: int) -> float:  # type: ignore[override]
        return self._values[rung]


class TwoStarts(Schedule):
    """Temperatures of a ladder, reached from above and from below, so that equilibrium shows.

    Chain c of rung k is replica k chains + c. Until the time ``duration`` the even chains, from
    above, cool exponentially from the highest temperature to their own, and the odd ones, from
    below, descend at T = 0 into a minimum; then all stay at their temperatures. In equilibrium
    nothing remembers the side from which it came; `Equilibration` compares the two.

    Args:
        temperatures: one for each rung, > 0; a list or a `Ladder`.
        chains: replicas at each, an even number.
        duration: how long the approach lasts; in steps, where step sizes differ.

    Raises:
        UsageError: an argument is out of range.

    >>> TwoStarts([0.1, 0.4], chains=2, duration=10)(5)
    tensor([0.2000, 0.0000, 0.4000, 0.0000], dtype=torch.float64)
    """

    def __init__(
        self, temperatures: Sequence[float] | Ladder, chains: int, duration: float
    ) -> None:
        positive = len(temperatures) > 0 and all(0 < T < float("inf") for T in temperatures)
        require(positive, "temperatures", list(temperatures), "must be > 0 each")
        even = chains >= 2 and chains % 2 == 0
        require(even, "chains", chains, "must be even: half come from above, half from below")
        require(duration > 0, "duration", duration, "must be > 0")
        self.duration = float(duration)
        T = torch.tensor(list(temperatures), dtype=torch.float64)
        self.final = T.repeat_interleave(chains)
        self._highest = T.max()
        self._from_above = torch.arange(len(self.final)) % chains % 2 == 0

    def check(self, replicas: int) -> None:
        """Raise a `UsageError` unless there is a temperature for each replica."""
        R = len(self.final)
        admissible = f"gives {R} replicas a temperature, but there are {replicas}"
        require(R == replicas, "temperature", "TwoStarts", admissible, "change its chains")

    def __call__(self, t: float) -> Tensor:
        """Return the temperatures at time ``t``, (R,)."""
        if t >= self.duration:
            return self.final
        cooling = self._highest * (self.final / self._highest) ** (t / self.duration)
        return torch.where(self._from_above, cooling, 0.0)
