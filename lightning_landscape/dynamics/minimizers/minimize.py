"""Descent to a minimum, replica by replica: who has arrived costs nothing more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from lightning_landscape.dynamics.minimizers.active_replicas import ActiveReplicas, Factory
from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import require

__all__ = ["Checkpoint", "Minimum", "minimize"]


class Minimum(NamedTuple):
    """Where the replicas have ended.

    Attributes:
        energies: shape (R,), of the configurations they ended in.
        steps: shape (R,), int64, how many steps each has done.
        done: shape (R,), bool, whether it ended because it was done.
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

    A replica that is done is put back into ``energy`` as it is, and the others go on without it:
    their configurations and the optimizer's state are cut down to them. Their trajectories do not
    change, up to the rounding of matrix products of another size. With ``below`` = -inf all
    replicas do all steps.

    The bound is one on the energy because a count of unsatisfied samples never ends: under the
    quadratic hinge the gaps reach zero only as a geometric sequence, so N_Delta > 0 at losses of
    1e-31 (see `LOSSES`).

    Cost: a gradient and an optimizer step for each step and remaining replica.

    Args:
        energy: its configurations are the start, and are replaced by the end.
        optimizer: makes the optimizer from the parameters, for example ``partial(FIRE, lr=0.1)``;
            its state has the replica axis first, as that of torch's SGD and Adam and of `FIRE`.
        steps: the most steps of a replica.
        below: the energy at which a replica is done.
        batch: which samples the energy is of, (B,) or (R, B), each replica its own.
        watch: called before every step with the step, an energy of the remaining replicas, whose
            parameters are theirs now, and their indices, shape (R',).
        checkpoint: from which the descent is continued, bit for bit, and in which it is kept.

    Raises:
        UsageError: steps < 1, an energy on a sphere, or an energy that is not finite.

    >>> from functools import partial
    >>> from lightning_landscape.dynamics import FIRE
    >>> from lightning_landscape.energies import Quadratic
    >>> well = Quadratic([1.0, 30.0], replicas=3, dtype="float64")
    >>> minimize(well, partial(FIRE, lr=0.1), steps=1000).done
    tensor([True, True, True])
    """
    require(steps >= 1, "steps", steps, "must be at least 1")
    sphere = "must live in flat space here; on a sphere let LandscapeModule move it"
    require(energy.constraint is None, "energy", type(energy).__name__, sphere)
    descent = _Descent(energy, optimizer, batch, steps)
    if checkpoint is not None and (state := checkpoint.load()) is not None:
        descent.load_state_dict(state)
    while descent.step < steps:
        if checkpoint is not None:
            checkpoint.save(descent.state_dict)
        values = descent.remaining.gradients(descent.step)
        if not descent.retire_converged(values, below):
            break
        if watch is not None:
            watch(descent.step, descent.remaining.energy, descent.remaining.rows)
        descent.remaining.optimizer.step()
        descent.step += 1
    return descent.end(below)


class _Descent:
    """A descent on its way: what has arrived, who remains, and the step."""

    def __init__(
        self, energy: Energy, optimizer: Factory, batch: Tensor | None, steps: int
    ) -> None:
        self.energy, self.optimizer, self.step = energy, optimizer, 0
        self.remaining = ActiveReplicas(energy, optimizer, batch)
        R, dtype = energy.replicas, self.remaining.energy.configuration().dtype
        self.minimum = Minimum(
            torch.empty(R, dtype=dtype), torch.full((R,), steps), torch.zeros(R, dtype=torch.bool)
        )

    def retire_converged(self, values: Tensor, below: float) -> bool:
        """Put back who has arrived, at the energies ``values``; return whether any remain."""
        arrived, remaining = values < below, self.remaining
        if not arrived.any():
            return True
        rows, (energies, counts, done) = remaining.rows[arrived], self.minimum
        energies[rows], counts[rows], done[rows] = values[arrived], self.step, True
        remaining.write(self.energy, arrived)
        if arrived.all():
            remaining.rows = remaining.rows[:0]
            return False
        self.remaining = remaining.cut(~arrived, self.optimizer)
        return True

    def end(self, below: float) -> Minimum:
        """Put back who is still on the way, and return where all have ended."""
        rows, (energies, _, done) = self.remaining.rows, self.minimum
        if len(rows):
            with torch.no_grad():
                last = self.remaining.energy(self.remaining.batch)
            energies[rows] = self.remaining.checked(last, self.step)
            done[rows] = energies[rows] < below
            self.remaining.write(self.energy, torch.ones(len(rows), dtype=torch.bool))
        return self.minimum

    def state_dict(self) -> dict[str, Any]:
        """Return all that the descent depends on from here."""
        return {
            "step": self.step,
            "rows": self.remaining.rows,
            "minimum": tuple(self.minimum),
            "arrived": self.energy.configuration(),
            "configuration": self.remaining.energy.configuration(),
            "optimizer": self.remaining.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.step, self.minimum = state["step"], Minimum(*state["minimum"])
        self.energy.load_configuration(state["arrived"])
        kept = torch.isin(self.remaining.rows, state["rows"])
        self.remaining = self.remaining.cut(kept, self.optimizer)
        self.remaining.energy.load_configuration(state["configuration"])
        self.remaining.optimizer.load_state_dict(state["optimizer"])
