"""One sample of the disorder: R replicas that age in it, and what is measured on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.clock import log_times
from lightning_landscape.dynamics.samplers.langevin import Langevin
from lightning_landscape.dynamics.samplers.thermal import Thermal
from lightning_landscape.dynamics.sphere import constrain
from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import UsageError, require
from lightning_landscape.observables.correlation import displacement, overlap
from lightning_landscape.observables.response import noise_response
from lightning_landscape.replicas import flatten

__all__ = ["TimeGrid", "measure"]


class TimeGrid(NamedTuple):
    """When a run is measured, in integrator steps.

    Attributes:
        times: t > 0 of the energy, sorted, and of the two-time functions as far as tw + t is
            within the run; the last one is the end of the run.
        waiting_times: tw, sorted.
    """

    times: list[int]
    waiting_times: list[int]

    @classmethod
    def of(
        cls, first: float, last: float, per_decade: int, tw: Sequence[float], time_step: float
    ) -> TimeGrid:
        """Return the grid nearest to logarithmic times, in steps of ``time_step``.

        Raises:
            UsageError: a time is out of range.
        """
        inside = len(tw) == 0 or (0 <= min(tw) and max(tw) < last)
        require(inside, "waiting_times", list(tw), f"must lie in [0, last = {last:g})")
        steps = {round(t / time_step) for t in log_times(first, last, per_decade)}
        waiting = {round(t / time_step) for t in tw}
        return cls(sorted(steps - {0}), sorted(waiting))

    def finer(self, factor: int) -> TimeGrid:
        """Return the same times counted in steps that are ``factor`` times shorter."""
        return TimeGrid(*([k * factor for k in steps] for steps in self))


@dataclass
class _Run:
    """The replicas, the sum of their noise, and the configurations at the waiting times."""

    energy: Energy
    dynamics: Optimizer
    score: dict[Tensor, Tensor]
    kept: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def state(self) -> tuple[Tensor, Tensor]:
        """Return configurations and scores, each (R, N)."""
        return self.energy.configuration().clone(), flatten(self.score.values()).clone()

    def step(self) -> Tensor:
        """Do a step; return the energies before it, (R,)."""

        def energies() -> Tensor:
            self.dynamics.zero_grad()
            values = self.energy()
            values.sum().backward()
            return values.detach()

        move: Any = self.dynamics.step  # typed by torch for one number
        return move(energies)


def measure(
    energy: Energy,
    optimizer: Callable[[Iterable[Tensor]], Optimizer],
    grid: TimeGrid,
) -> dict[str, Tensor]:
    r"""Run R replicas and return the means over them of energy, correlation and response.

    Returns:
        ``E``, the energy, per degree of freedom where it is extensive, at ``times``, shape (t,);
        ``C``, ``MSD``, and where the dynamics is `Langevin` at T > 0 also ``chi``, at tw and
        tw + t, shape (tw, t), nan beyond the end of the run. chi is `observables.noise_response`,
        of the run without a field. Of each X also ``X_variance``, the variance over the replicas,
        nan of one replica. All float64.

    Raises:
        UsageError: the energy is not finite at some time.
    """
    dynamics = constrain(optimizer(energy.parameters()), energy.constraint)
    run = _Run(energy, dynamics, _scores(energy, dynamics))
    columns = _empty(grid, "C", "MSD", *(["chi"] if _tells_response(dynamics) else []))
    size, last = energy.N if energy.extensive else 1, grid.times[-1]
    found = torch.full((2, len(grid.times)), torch.nan, dtype=torch.float64)
    place = {step: j for j, step in enumerate(grid.times)}
    pairs = {tw + lag for tw in grid.waiting_times for lag in grid.times}
    for step in range(last + 1):
        if step in pairs:
            _compare(run, step, place, columns)
        if step in grid.waiting_times:
            run.kept[step] = run.state()
        values = run.step() if step < last else energy().detach()
        if step in place:
            found[:, place[step]] = _moments(values / size)
    if not found[0].isfinite().all():
        raise UsageError("the energy is not finite: the step is too long; lower the optimizer's lr")
    return {"E": found[0], "E_variance": found[1], **columns}


def _empty(grid: TimeGrid, *names: str) -> dict[str, Tensor]:
    shape = len(grid.waiting_times), len(grid.times)
    return {
        f"{name}{suffix}": torch.full(shape, torch.nan, dtype=torch.float64)
        for name in names
        for suffix in ("", "_variance")
    }


def _moments(values: Tensor) -> Tensor:
    """Return mean and variance over the replicas, (2,); the variance of one replica is nan."""
    values = values.double()
    variance = values.var() if len(values) > 1 else values.new_tensor(torch.nan)
    return torch.stack([values.mean(), variance])


def _scores(energy: Energy, dynamics: Optimizer) -> dict[Tensor, Tensor]:
    """Let the dynamics add up its noise; return the sums, zero where it does not."""
    score: dict[Tensor, Tensor] = {p: torch.zeros_like(p) for p in energy.parameters()}
    if _tells_response(dynamics):
        assert isinstance(dynamics, Langevin)
        dynamics.scores.update(score)
    return score


def _tells_response(dynamics: Optimizer) -> bool:
    """Whether independent noises drive the run, so that they tell the response."""
    hot = isinstance(dynamics, Thermal) and bool(
        (torch.as_tensor(dynamics.current_temperature) > 0).all()
    )
    return hot and type(dynamics) is Langevin


def _compare(run: _Run, step: int, place: dict[int, int], columns: dict[str, Tensor]) -> None:
    """Compare the present state with those kept at the waiting times."""
    x, score = run.state()
    for i, (tw, (start, before)) in enumerate(run.kept.items()):
        if (j := place.get(step - tw)) is None:
            continue
        values = {"C": overlap(x, start), "MSD": displacement(x, start)}
        if "chi" in columns:
            values["chi"] = noise_response(x, start, score - before)
        for name, of_replicas in values.items():
            mean, variance = _moments(of_replicas)
            columns[name][i, j], columns[f"{name}_variance"][i, j] = mean, variance
