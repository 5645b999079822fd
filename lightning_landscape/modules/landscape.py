"""LandscapeModule: an energy and its dynamics, several integrator steps per Lightning batch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from lightning_landscape import parallel
from lightning_landscape.clock import HasEvents
from lightning_landscape.data.batches import Batches
from lightning_landscape.dynamics.dynamics import dynamics_of
from lightning_landscape.dynamics.layer_rates import LayerRates
from lightning_landscape.dynamics.samplers.thermal import Thermal
from lightning_landscape.dynamics.sphere import constrain
from lightning_landscape.energies.energy import Energy, HasData
from lightning_landscape.errors import UsageError, require, require_whole
from lightning_landscape.modules.data_part import DataPart
from lightning_landscape.modules.interruption import Interruption
from lightning_landscape.modules.recorded import RecordedSteps, can_be_recorded
from lightning_landscape.modules.shards import Shards
from lightning_landscape.modules.share import Share
from lightning_landscape.modules.strategies import (
    CouplingStrategy,
    ReplicaStrategy,
    ShardedStrategy,
)

__all__ = ["LandscapeModule"]

_MOST_INDICES = 2**28  # bytes of the mini-batches of a block on the device


class LandscapeModule(LightningModule):
    """R replicas that move in an energy.

    One Lightning batch is a *block* of integrator steps, because Lightning costs about a
    millisecond per batch and a small energy a tenth of that per step. Blocks end at the multiples
    of ``block_size``, where a probe or a checkpoint is due, at ``max_steps``, and where a signal
    asks the run to end; where they end has no influence on the trajectory.
    ``trainer.global_step`` and ``max_steps`` count integrator steps. Nothing random is saved:
    mini-batches and noise are functions of the step, so a run resumes bit for bit.

    On several devices the strategy ``replicas`` shares out the replicas, see `ReplicaStrategy`,
    ``couplings`` those of one large glass, see `CouplingStrategy`, ``ddp`` mini-batches, and
    ``sharded`` the parameters of one large network, see `ShardedStrategy`.

    Args:
        energy: what the replicas move in.
        optimizer: makes the dynamics from the parameters: `Langevin`, `torch.optim.SGD` or any
            other torch optimizer; on a constrained energy it is kept on the constraint.
        batches: which samples each step sees, for an energy that is a mean over data; None uses
            all samples at every step.
        block_size: the largest number of integrator steps in one Lightning batch.

    Raises:
        UsageError: the optimizer cannot keep the constraint, or ``batches`` is given for an energy
            without data.
    """

    def __init__(
        self,
        energy: Energy,
        optimizer: Callable[[Iterable[Tensor]], Optimizer] | LayerRates = torch.optim.SGD,
        batches: Batches | None = None,
        block_size: int = 100,
    ) -> None:
        super().__init__()
        require_whole("block_size", block_size)
        require(isinstance(energy, Energy), "energy", type(energy).__name__, "must be an Energy")
        moves = any(True for _ in energy.parameters())
        require(moves, "energy", type(energy).__name__, "has no parameter to move")
        remedy = "give a factory, such as partial(torch.optim.SGD, lr=0.1)"
        made = optimizer(energy.parameters()) if callable(optimizer) else optimizer
        is_one = callable(optimizer) and isinstance(made, Optimizer)
        required = "must make a torch optimizer from the parameters"
        require(is_one, "optimizer", type(made).__name__, required, remedy)
        remedy = "take FIRE, or minimize_lbfgs in Python"
        searches = isinstance(made, torch.optim.LBFGS)
        required = "its line search is one for all replicas, and leaves a sphere"
        require(not searches, "optimizer", type(made).__name__, required, remedy)
        self.automatic_optimization = False
        self.energy = energy
        self.dynamics = constrain(made, energy.constraint)
        self._make_dynamics = optimizer
        self._share: Share | None = None
        self._recorded: RecordedSteps | None = None
        self.shards: Shards | None = None
        if isinstance(self.dynamics, Thermal):
            self.dynamics.twins = energy.twins
        self.batches = batches
        self.block_size = block_size
        self.block_energies = torch.empty(0)
        # data and couplings are the same on every rank: DDP need not send them at every step
        constant = [f"energy.{name}" for name, _ in energy.named_buffers()]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(self, constant)
        self.samples = energy.samples
        if batches is not None and not self.samples:
            raise UsageError(
                f"batches: {type(energy).__name__} has no data to draw from; remove model.batches"
            )
        if batches is not None and dynamics_of(self.dynamics).needs_whole_energy:
            raise UsageError(
                f"batches: {type(self.dynamics).__name__} accepts and rejects by the energy, and "
                "that of a mini-batch would bias it; remove model.batches"
            )

    # time

    @property
    def time_step(self) -> float:
        """The physical time of a step: the learning rate, or 1 where it is no physical time."""
        return dynamics_of(self.dynamics).time_step

    @property
    def temperature(self) -> float | Tensor:
        """The temperature of the dynamics now; 0 for an optimizer without one."""
        return dynamics_of(self.dynamics).current_temperature

    @property
    def temperature_is_constant(self) -> bool:
        """Whether the dynamics keeps its temperature."""
        return dynamics_of(self.dynamics).temperature_is_constant

    @property
    def rates(self) -> dict[str, Tensor]:
        """Acceptance and exchange rates of the dynamics so far, each (R,); where it has any."""
        return dynamics_of(self.dynamics).rates

    # training

    def configure_model(self) -> None:
        """Cut the parameters among the ranks, where the strategy does so."""
        strategy = self.trainer.strategy
        if isinstance(strategy, ShardedStrategy) and self.shards is None:
            mesh = strategy.device_mesh["data_parallel"]
            self.shards = Shards(self.energy, self.dynamics, self._make_dynamics, mesh)
            self.dynamics = self.shards.dynamics

    def configure_optimizers(self) -> Optimizer:
        """Return the dynamics."""
        return self.dynamics

    def on_fit_start(self) -> None:
        """Refuse a run without an end, and batches or ranks that do not fit the system."""
        require(
            self.trainer.max_steps > 0,
            "trainer.max_steps",
            self.trainer.max_steps,
            "the run would never end",
            "give the number of integrator steps",
        )
        wasted = self._averages_gradients and self.batches is None and self.shards is None
        require(
            not wasted,
            "trainer.strategy",
            type(self.trainer.strategy).__name__,
            f"without mini-batches each of {self.trainer.world_size} processes would do the same",
            "give --trainer.strategy replicas, which shares out the replicas",
        )
        self.batch_at(0)

    @property
    def _shares_replicas(self) -> bool:
        return isinstance(self.trainer.strategy, ReplicaStrategy)

    def on_train_start(self) -> None:
        """Take this rank's share of the replicas, where the strategy shares them out."""
        trainer: Any = self.trainer
        self._interruption = Interruption(trainer.callbacks)
        if self._shares_replicas:
            self._share = Share(self.energy, self.dynamics, self._make_dynamics)

    def on_train_end(self) -> None:
        """Give the share back: all replicas are here."""
        self._share = self._recorded = None

    def train_dataloader(self) -> Iterable[int]:
        """Return an endless stream of blocks; they carry no data, only the step matters."""
        return _Blocks()

    def training_step(self, block: int, batch_idx: int) -> None:
        """Do one block of integrator steps.

        Raises:
            UsageError: the energy of a replica, or its configuration at the end, is not finite.
        """
        first = self.trainer.global_step
        last = self._end_of_block(first)
        self.block_energies = self._integrate_all(range(first, last))
        if self.shards is not None:  # of this rank's samples
            self.block_energies = parallel.mean(self.block_energies)
        self._check_finite(first)
        self._count_steps(len(self.block_energies))

    def _integrate_all(self, steps: range) -> Tensor:
        """Do integrator steps; return the energies of all replicas before each, (steps, R)."""
        if self._share is None:
            return self._until_asked_to_end(self.energy, self.dynamics, steps)
        share = self._share
        share.begin()
        energies = self._until_asked_to_end(share.energy, share.dynamics, steps)
        self.energy.at(steps[len(energies) - 1], self.time_step)
        return share.end(energies)

    def _until_asked_to_end(self, energy: Energy, dynamics: Optimizer, steps: range) -> Tensor:
        recorded = self._recorded_steps(energy, dynamics)
        if recorded is not None:
            return recorded(steps, self._batches_at(steps), self._interruption.has_come)
        energies = []
        for step in steps:
            energies.append(self._integrate(energy, dynamics, step))
            if self._interruption.has_come():
                break
        return torch.stack(energies)

    def _recorded_steps(self, energy: Energy, dynamics: Optimizer) -> RecordedSteps | None:
        """Return the steps as a CUDA graph, where all of them do the same on a GPU."""
        alone = self._part is None and not self._averages_gradients
        alone = alone and not isinstance(self.trainer.strategy, CouplingStrategy)
        few = self.batches is None or self._indices_at(0).nbytes * self.block_size < _MOST_INDICES
        if not (alone and few and can_be_recorded(energy, dynamics)):
            self._recorded = None
        elif self._recorded is None or not self._recorded.is_of(energy, dynamics):
            step = partial(self._move, energy, dynamics)
            self._recorded = RecordedSteps(step, energy, dynamics, self.block_size)
        return self._recorded

    def _integrate(self, energy: Energy, dynamics: Optimizer, step: int) -> Tensor:
        """Do one integrator step; return the energies that the dynamics returns, one a replica."""
        energy.at(step, self.time_step)
        return self._move(energy, dynamics, self.batch_at(step))

    def _move(self, energy: Energy, dynamics: Optimizer, batch: Tensor | None) -> Tensor:
        """Do one step with these samples.

        The dynamics gets a closure, so that those which need the energy itself, or its gradient
        more than once, go through the same slot; it returns what its first evaluation gave.
        """

        def energies() -> Tensor:
            dynamics.zero_grad()
            values = energy(batch)
            if self._part is not None:
                values = values * self._part.weight(batch)
            total = values.sum()
            if self._averages_gradients:
                self.manual_backward(total)
            else:
                total.backward()
            values = values.detach()
            return values if self._share is None else self._share.average(values)

        move: Any = dynamics.step  # typed by torch for one number
        return move(energies)

    @property
    def _averages_gradients(self) -> bool:
        """Whether every rank sees a part of the mini-batch, so that the gradients are averaged."""
        alone = isinstance(self.trainer.strategy, ReplicaStrategy | CouplingStrategy)
        return self.trainer.world_size > 1 and not alone

    @property
    def _part(self) -> DataPart | None:
        """The samples that this rank evaluates, where ranks share out data; None for all."""
        owner = self.shards or self._share
        return None if owner is None else owner.part

    def batch_at(self, step: int) -> Tensor | None:
        """Return the indices of a mini-batch, this rank's part of them; None for all samples."""
        if self.batches is None:
            return None if self._part is None else self._part.samples(self.device)
        return self._on_device(self._indices_at(step))

    def _batches_at(self, steps: range) -> Tensor | None:
        """Return the mini-batches of several steps, (steps, …), in one copy to the device."""
        if self.batches is None:
            return None
        return self._on_device(torch.stack([self._indices_at(step) for step in steps]))

    def _indices_at(self, step: int) -> Tensor:
        """Return the indices of a mini-batch, this rank's part of them, on the CPU."""
        assert self.batches is not None
        R = self.energy.replicas // self.energy.twins
        if not self._averages_gradients:
            rank, ranks = (0, 1) if self._part is None else (self._part.index, self._part.parts)
            indices = self.batches(step, self.samples, R, rank=rank, world_size=ranks)
            if self._share is not None and not self.batches.shared:
                distinct = self._share.energy.replicas // self.energy.twins
                indices = indices[self._share.replicas[:distinct]]
        else:
            rank, ranks = self.global_rank, self.trainer.world_size
            indices = self.batches(step, self.samples, R, rank=rank, world_size=ranks)
        return indices

    def _on_device(self, indices: Tensor) -> Tensor:
        if self.device.type == "cuda":  # from pinned memory the copy is not waited for
            return indices.pin_memory().to(self.device, non_blocking=True)
        return indices.to(self.device)

    def _end_of_block(self, step: int) -> int:
        # the same whether or not the run was interrupted in a block
        ends = [step - step % self.block_size + self.block_size]
        if self.trainer.max_steps > 0:
            ends.append(self.trainer.max_steps)
        trainer: Any = self.trainer
        for callback in trainer.callbacks:
            if isinstance(callback, HasEvents):
                ends.append(callback.next_event(step) or ends[0])
            if isinstance(callback, _SavesEveryFewSteps) and callback._every_n_train_steps:
                every = callback._every_n_train_steps
                ends.append(step - step % every + every)
        return min(ends)

    def _check_finite(self, first: int) -> None:
        bad = (~self.block_energies.isfinite()).nonzero()
        if len(bad):
            step, replica = bad[0].tolist()
            value = self.block_energies[step, replica].item()
            raise UsageError(
                f"the energy of replica {replica} is {value} at step {first + step}; "
                f"lower the optimizer's lr = {self.dynamics.param_groups[0]['lr']}"
            )

        parameters = list(self.energy.parameters())
        good = torch.stack([parallel.local(p).isfinite().all() for p in parameters])
        if self.shards is not None:
            good = parallel.sum(good.int()) == parallel.count()
        if not good.all():  # the last gradient was not, though its energy was
            p = parallel.whole(parameters[good.tolist().index(False)])
            replica = (~p.isfinite()).flatten(1).any(1).nonzero()[0].item()
            raise UsageError(
                f"the gradient of replica {replica} is not finite in the block of steps "
                f"{first} to {first + len(self.block_energies) - 1}; look for 0/0 in the "
                "derivative of the energy, or lower the optimizer's lr"
            )

    def _count_steps(self, steps: int) -> None:
        """Tell Lightning how many steps the block was; its own count is one per call it sees."""
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.total
        progress.ready += steps
        progress.completed += steps

    # held-out data

    def val_dataloader(self) -> list[int]:
        """Return one batch: the energy holds the data."""
        return [0]

    def test_dataloader(self) -> list[int]:
        """Return one batch: the energy holds the data."""
        return [0]

    def validation_step(self, batch: int, batch_idx: int) -> None:
        """Log the energy, and of a network the accuracy, on held-out data; means over replicas."""
        self._evaluate("val")

    def test_step(self, batch: int, batch_idx: int) -> None:
        """Log the energy, and of a network the accuracy, on held-out data; means over replicas."""
        self._evaluate("test")

    def _evaluate(self, stage: str) -> None:
        with nullcontext(self.energy) if self.shards is None else self.shards.gathered() as energy:
            if isinstance(energy, HasData):
                values = energy.evaluate("test")
            else:
                values = {"energy": energy()}
        for name, value in values.items():
            self.log(f"{stage}/{name}", value.mean(), batch_size=1, sync_dist=True)


@runtime_checkable
class _SavesEveryFewSteps(Protocol):
    """`ModelCheckpoint`, of whichever of the two Lightning packages."""

    _every_n_train_steps: int


class _Blocks:
    """An endless iterable without a length, so that Lightning never ends an epoch."""

    def __iter__(self) -> Iterator[int]:
        return itertools.count()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """A block depends on the step only: there is no position to restore."""
