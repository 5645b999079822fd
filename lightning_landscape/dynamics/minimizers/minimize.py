"""Descent to a minimum, replica by replica: those that are done leave and cost nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.arguments import checked
from lightning_landscape.dynamics.minimizers.active_replicas import ActiveReplicas, rows_of
from lightning_landscape.dynamics.sphere import constrain
from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import UsageError, require, require_kind, require_whole

__all__ = ["Checkpoint", "Factory", "Minimum", "minimize"]

Factory = Callable[[Iterable[Tensor]], Optimizer]


class Minimum(NamedTuple):
    """Where the replicas have ended.

    Attributes:
        energies: shape (R,), of the configurations they ended in.
        steps: shape (R,), int64, how many steps each has done.
        done: shape (R,), bool, whether it has reached what was asked for.
    """

    energies: Tensor
    steps: Tensor
    done: Tensor


class Checkpoint(Protocol):
    """Keeps the state of a descent, so that one that is killed can be continued."""

    def load(self) -> dict[str, Any] | None:
        """Return the last state that was kept, or None."""

    def save(self, state: Callable[[], dict[str, Any]]) -> None:
        """Keep what ``state`` returns, if it is time; called before every step."""


@checked
def minimize(
    energy: Energy,
    optimizer: Factory,
    steps: int,
    below: float = 1e-10,
    batch: Tensor | None = None,
    watch: Callable[[int, Energy, Tensor], object] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Minimum:
    """Move every replica with ``optimizer`` until its energy is ``below``, or for ``steps`` steps.

    A replica that is done is written back to ``energy``, and the others go on without it: their
    configurations and the optimizer's state are cut down to them. Their trajectories do not
    change, up to the rounding of matrix products of another size. With ``below`` = -inf all
    replicas do all steps. A constrained energy stays on its sphere, see `constrain`.

    The bound is on the energy because the number of unsatisfied samples does not converge: under
    the quadratic hinge the gaps reach zero only as a geometric sequence, so N_Delta > 0 at losses
    of 1e-31 (see `LOSSES`).

    Cost: a gradient and an optimizer step for each step and remaining replica.

    Args:
        energy: its configurations are the start, and are replaced by the end.
        optimizer: makes the optimizer from the parameters, for example ``partial(FIRE, lr=0.1)``;
            its state has the replica axis first, as that of torch's SGD and Adam and of `FIRE`.
        steps: the largest number of steps of a replica.
        below: the energy at which a replica is done.
        batch: which samples the energy is of, (B,) or (R, B), each replica its own.
        watch: called before every step with the step, an energy of the active replicas, whose
            parameters are theirs now, and their indices, shape (R',).
        checkpoint: from which the descent resumes, bit for bit, and in which it is saved.

    Raises:
        UsageError: steps < 1, an optimizer that cannot stay on the sphere, or an energy that is
            not finite.

    >>> from functools import partial
    >>> from lightning_landscape.dynamics import FIRE
    >>> from lightning_landscape.energies import Quadratic
    >>> well = Quadratic([1.0, 30.0], replicas=3, dtype="float64")
    >>> minimize(well, partial(FIRE, lr=0.1), steps=1000).done
    tensor([True, True, True])
    """
    require_kind("energy", energy, Energy)
    remedy = "give a factory, such as partial(FIRE, lr=0.1)"
    made = "must make a torch optimizer from the parameters"
    require(callable(optimizer), "optimizer", optimizer, made, remedy)
    require_whole("steps", steps)
    require(below == below, "below", below, "must be a number, or -inf")
    descent = _Descent(energy, optimizer, batch, steps)
    if checkpoint is not None and (state := checkpoint.load()) is not None:
        descent.load_state_dict(state)
    while descent.step < steps:
        if checkpoint is not None:
            checkpoint.save(descent.state_dict)
        values = descent.checked(descent.active.values())
        if not descent.retire_converged(values, below):
            break
        if watch is not None:
            watch(descent.step, descent.active.energy, descent.active.rows)
        descent.optimizer.step()
        descent.step += 1
    return descent.end(below)


class _Descent:
    """A descent on its way: the replicas that are done, the active ones, and the step."""

    def __init__(self, energy: Energy, make: Factory, batch: Tensor | None, steps: int) -> None:
        self.energy, self.make, self.step = energy, make, 0
        self.active = ActiveReplicas(energy, batch)
        self.optimizer = self._optimizer()
        R, dtype = energy.replicas, self.active.energy.configuration().dtype
        self.minimum = Minimum(
            torch.empty(R, dtype=dtype), torch.full((R,), steps), torch.zeros(R, dtype=torch.bool)
        )

    def _optimizer(self) -> Optimizer:
        return constrain(self.make(self.active.energy.parameters()), self.energy.constraint)

    def checked(self, values: Tensor) -> Tensor:
        """Return the energies on the CPU; raise a `UsageError` if one of them is not finite."""
        seen = values.cpu()
        if not seen.isfinite().all():
            replica = self.active.rows[~seen.isfinite()][0].item()
            raise UsageError(
                f"the energy of replica {replica} is not finite at step {self.step}; "
                f"lower the optimizer's lr = {self.optimizer.param_groups[0]['lr']}"
            )
        return seen

    def retire_converged(self, values: Tensor, below: float) -> bool:
        """Write back the replicas with energies ``values`` below the bound; return if any go on."""
        converged, active = values < below, self.active
        if not converged.any():
            return True
        rows, (energies, counts, done) = active.rows[converged], self.minimum
        energies[rows], counts[rows], done[rows] = values[converged], self.step, True
        active.write(self.energy, converged)
        if converged.all():
            active.rows = active.rows[:0]
            return False
        self._cut(~converged)
        return True

    def _cut(self, kept: Tensor) -> None:
        index, before = kept.nonzero().squeeze(1), self.optimizer
        self.active = self.active.cut(index)
        self.optimizer = self._optimizer()
        _cut_state(before, self.optimizer, index)

    def end(self, below: float) -> Minimum:
        """Write back the replicas that are still active; return where all have ended."""
        rows, (energies, _, done) = self.active.rows, self.minimum
        if len(rows):
            with torch.no_grad():
                last = self.active.energy(self.active.batch)
            energies[rows] = self.checked(last)
            done[rows] = energies[rows] < below
            self.active.write(self.energy, torch.ones(len(rows), dtype=torch.bool))
        return self.minimum

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rest of the descent depends on."""
        return {
            "step": self.step,
            "rows": self.active.rows,
            "minimum": tuple(self.minimum),
            "arrived": self.energy.configuration(),
            "configuration": self.active.energy.configuration(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume there."""
        self.step, self.minimum = state["step"], Minimum(*state["minimum"])
        self.energy.place(state["arrived"])
        self._cut(torch.isin(self.active.rows, state["rows"]))
        self.active.energy.place(state["configuration"])
        self.optimizer.load_state_dict(state["optimizer"])


def _cut_state(old: Optimizer, new: Optimizer, index: Tensor) -> None:
    """Give ``new`` the settings of ``old``, and its state of some replicas."""
    for theirs, ours in zip(old.param_groups, new.param_groups, strict=True):
        for p, q in zip(theirs["params"], ours["params"], strict=True):
            state = old.state.get(p, {})
            new.state[q] = {name: rows_of(value, index) for name, value in state.items()}
        ours.update({k: rows_of(v, index) for k, v in theirs.items() if k != "params"})
