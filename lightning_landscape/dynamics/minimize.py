"""Descent to a minimum, replica by replica: who has arrived costs nothing more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import UsageError, require

__all__ = ["Minimum", "minimize", "polish"]

Factory = Callable[[Iterable[Tensor]], Optimizer]


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


def minimize(
    energy: Energy,
    optimizer: Factory,
    steps: int,
    below: float = 1e-10,
    batch: Tensor | None = None,
    watch: Callable[[int, Energy, Tensor], object] | None = None,
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
    remaining = _Remaining(energy, optimizer, batch)
    R = energy.replicas
    energies = torch.empty(R, dtype=remaining.energy.configuration().dtype)
    counts, done = torch.full((R,), steps), torch.zeros(R, dtype=torch.bool)
    for step in range(steps):
        values = remaining.gradients(step)
        arrived = values < below
        if arrived.any():
            rows = remaining.rows[arrived]
            energies[rows], counts[rows], done[rows] = values[arrived], step, True
            remaining.write(energy, arrived)
            if arrived.all():
                return Minimum(energies, counts, done)
            remaining = remaining.cut(~arrived, optimizer)
        if watch is not None:
            watch(step, remaining.energy, remaining.rows)
        remaining.optimizer.step()
    everyone = torch.ones(len(remaining.rows), dtype=torch.bool)
    with torch.no_grad():
        last = remaining.checked(remaining.energy(remaining.batch), steps)
    energies[remaining.rows], done[remaining.rows] = last, last < below
    remaining.write(energy, everyone)
    return Minimum(energies, counts, done)


class _Remaining:
    """The replicas that still move: their energy, samples and optimizer, and which they are."""

    def __init__(self, energy: Energy, optimizer: Factory, batch: Tensor | None) -> None:
        self.rows = torch.arange(energy.replicas)
        self.energy, self.batch = energy.only(self.rows), batch
        self.optimizer = optimizer(self.energy.parameters())

    def gradients(self, step: int) -> Tensor:
        """Compute the gradients; return the energies on the CPU, where it is decided on them."""
        self.optimizer.zero_grad()
        values = self.energy(self.batch)
        values.sum().backward()
        return self.checked(values.detach(), step)

    def checked(self, values: Tensor, step: int) -> Tensor:
        """Return the energies on the CPU; raise a `UsageError` if one of them is not finite."""
        seen = values.cpu()
        if not seen.isfinite().all():
            replica = self.rows[~seen.isfinite()][0].item()
            raise UsageError(
                f"the energy of replica {replica} is not finite at step {step}; "
                f"lower the optimizer's lr = {self.optimizer.param_groups[0]['lr']}"
            )
        return seen

    @torch.no_grad()
    def write(self, energy: Energy, which: Tensor) -> None:
        """Put the configurations of some of them into the energy of all."""
        for whole, part in zip(energy.parameters(), self.energy.parameters(), strict=True):
            whole[self.rows[which].to(whole.device)] = part[which.to(part.device)]

    def cut(self, kept: Tensor, optimizer: Factory) -> _Remaining:
        """Return those of them that are ``kept``, with the gradients and the optimizer's state."""
        index = kept.nonzero().squeeze(1)
        some = object.__new__(_Remaining)
        some.rows, some.energy = self.rows[index], self.energy.only(index)
        shared = self.batch is None or self.batch.dim() == 1
        some.batch = self.batch if shared else _of(self.batch, index)
        some.optimizer = optimizer(some.energy.parameters())
        _cut_state(self.optimizer, some.optimizer, index)
        for new, old in zip(some.energy.parameters(), self.energy.parameters(), strict=True):
            new.grad = None if old.grad is None else old.grad[index.to(old.device)]
        return some


def _cut_state(old: Optimizer, new: Optimizer, index: Tensor) -> None:
    """Give ``new`` the settings and, of some replicas, the state of ``old``."""
    for theirs, ours in zip(old.param_groups, new.param_groups, strict=True):
        for p, q in zip(theirs["params"], ours["params"], strict=True):
            state = old.state.get(p, {})
            new.state[q] = {name: _of(value, index) for name, value in state.items()}
        ours.update({k: _of(v, index) for k, v in theirs.items() if k != "params"})


def _of(value: Any, index: Tensor) -> Any:
    """Return the rows of a tensor with a replica axis; a number is that of all."""
    if isinstance(value, Tensor) and value.dim():
        return value[index.to(value.device)]
    return value


def polish(energy: Energy, steps: int = 1000, batch: Tensor | None = None) -> Tensor:
    """Descend by L-BFGS, one replica after the other; return the energies, shape (R,).

    For the last digits of a minimum that another optimizer has reached, where the landscape is
    smooth: at the kinks of ReLU networks the gradient need not vanish, and the line search ends.

    Args:
        energy: its configurations are the start, and are replaced by the end; best in float64.
        steps: the most iterations of a replica.
        batch: which samples the energy is of, (B,) or (R, B).

    Source: Liu, Nocedal 1989, Math. Program. 45, 503, as in `scipy.optimize.minimize`.

    >>> from lightning_landscape.energies import Quadratic
    >>> bool((polish(Quadratic([1.0, 100.0], replicas=2, dtype="float64")) < 1e-20).all())
    True
    """
    ends = [_polish_one(energy, r, steps, batch) for r in range(energy.replicas)]
    energy.load_configuration(torch.stack([x for x, _ in ends]))
    return torch.tensor([value for _, value in ends], dtype=ends[0][0].dtype)


def _polish_one(energy: Energy, r: int, steps: int, batch: Tensor | None) -> tuple[Tensor, float]:
    from scipy.optimize import minimize as scipy_minimize

    one = energy.only(torch.tensor([r]))
    seen = batch[r : r + 1] if batch is not None and batch.dim() == 2 else batch
    start = one.configuration()

    def value_and_gradient(x: object) -> tuple[float, object]:
        one.load_configuration(torch.as_tensor(x).to(start).view(1, -1))
        one.zero_grad()
        value = one(seen)
        value.sum().backward()
        gradient = torch.cat([_gradient_of(p) for p in one.parameters()])
        return value.item(), gradient.double().cpu().numpy()

    options = {"maxiter": steps, "maxfun": 2 * steps, "ftol": 0.0, "gtol": 1e-14}
    x0 = start[0].double().cpu().numpy()
    end = scipy_minimize(value_and_gradient, x0, jac=True, method="L-BFGS-B", options=options)
    return torch.as_tensor(end.x).to(start), float(end.fun)


def _gradient_of(p: Tensor) -> Tensor:
    return torch.zeros(p[0].numel(), dtype=p.dtype) if p.grad is None else p.grad.flatten()
