"""What a probe sees of a run: the configuration, the energy and the time, ours or foreign."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_landscape import parallel
from lightning_landscape.callbacks.batches import energies_of_parts, length
from lightning_landscape.callbacks.isolation import MovesParameters, isolated
from lightning_landscape.callbacks.measuring import measuring, require_together
from lightning_landscape.callbacks.optimizers import step_size_of_sgd, thermal_of
from lightning_landscape.callbacks.training_step import NotMeasured, energy_of_batch
from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.operators.composed import MeanOverRanks
from lightning_landscape.curvature.operators.kept_graph import HessianOperator
from lightning_landscape.curvature.operators.of_energy import hessian_of, product_cost
from lightning_landscape.data.batches import Batches
from lightning_landscape.energies.energy import Energy, HasData, HasGaps, HasHessian
from lightning_landscape.observables.surfaces import with_parameters

__all__ = ["EnergyFn", "GapFn", "LossFn", "NotMeasured", "SplitFn", "View"]

LossFn = Callable[[Any, Any], Tensor]
"""``loss_fn(pl_module, batch)``: the energy of a foreign module, a scalar or one per replica."""

EnergyFn = LossFn | Literal["energy"]
"""The energy of a foreign module: a function, or ``"energy"`` for its method ``energy(batch)``."""

SplitFn = Callable[[Any], list[Any]] | Literal["samples"]
"""``split_fn(batch)``: smaller batches, all of one size, that make up a foreign project's batch."""

GapFn = Callable[[Any, Any], Tensor]
"""``gap_fn(pl_module, batch)``: the gaps of patterns in a foreign module, (P,) or (R, P)."""


class View:
    """A run at one moment, with the replica axis in front.

    A LightningModule whose ``energy`` is an `Energy` is seen with its R replicas and its whole
    energy. Any other module is one replica whose energy is that of the current batch: ``loss_fn``
    if given, or what ``training_step`` returns, with its logging discarded and everything that it
    changes restored, see `isolated`. No name that such a module happens to have is read: its time
    counts steps, and its temperature is that of an optimizer of ours such as `Langevin`, else 0.
    With ``loss_fn="energy"``, and where a module optimizes by hand, its method ``energy(batch)``
    is used instead of its training step.

    Where the parameters are cut among ranks (FSDP2), `configuration` joins them on every rank, and
    `measuring` those of a network of ours; `part` and `held` do without.

    Attributes:
        landscape: the `Energy` of the run, or None in a foreign project.
        step: optimizer steps done.
        time_step: physical time of one step; 1 where the module does not say.
        time: physical time, ``step * time_step``.
        agree: called before the first exchange with other ranks; it raises where one has failed.
    """

    def __init__(
        self,
        pl_module: Any,
        batch: Any,
        step: int,
        loss_fn: EnergyFn | None = None,
        batch_idx: int = 0,
    ) -> None:
        self._module, self._batch, self._loss_fn = pl_module, batch, loss_fn
        self._batch_idx = batch_idx
        self.landscape = _energy_of(pl_module)
        self._shards: Any = self._told("shards", None)
        if self._shards:  # the energy itself serves the dynamics only
            self.landscape = self._shards.whole
        self.agree: Callable[[], None] = _nothing
        self.step = step
        self.time_step: float = self._told("time_step", 1.0)
        self.time = step * self.time_step

    def _told(self, name: str, default: Any) -> Any:
        """Return what a module of ours says of its dynamics; of a foreign one the default."""
        return default if self.landscape is None else getattr(self._module, name, default)

    # ours or foreign

    @property
    def is_whole(self) -> bool:
        """Whether `energy` is the whole one of an `Energy`, the same on every rank.

        Otherwise it is that of the current batch, and each rank has a batch of its own.
        """
        return self.landscape is not None and self._loss_fn is None

    @property
    def has_own_loss(self) -> bool:
        """Whether the energy is a ``loss_fn`` that was given."""
        return self._loss_fn is not None

    @property
    def system(self) -> nn.Module:
        """The module whose parameters move."""
        return self._module if self.landscape is None else self.landscape

    @property
    def samples(self) -> int:
        """How many samples the energy is a mean over; 0 where it is none, or not known."""
        return 0 if self.landscape is None else self.landscape.samples

    @property
    def batches(self) -> Batches | None:
        """The mini-batches of the run; None where all data are used and in a foreign project."""
        return None if self.landscape is None else self._told("batches", None)

    # dynamics

    @property
    def temperature(self) -> float | Tensor:
        """The temperature of the dynamics at this time: a number, or one per replica, (R,)."""
        thermal = None if self.landscape is not None else thermal_of(self._module)
        return self._told("temperature", 0.0) if thermal is None else thermal.current_temperature

    @property
    def temperature_is_constant(self) -> bool:
        """Whether the dynamics keeps one temperature for the whole run."""
        thermal = None if self.landscape is not None else thermal_of(self._module)
        if thermal is not None:
            return thermal.temperature_is_constant
        return self._told("temperature_is_constant", True)

    @property
    def rates(self) -> dict[str, Tensor]:
        """Acceptance and exchange rates of the dynamics so far, each (R,); where it has any."""
        return self._told("rates", {})

    @property
    def step_sizes(self) -> float | Tensor | None:
        """The step size of the dynamics, a number or one per replica, (R,); None if foreign."""
        dynamics = self._told("dynamics", None)
        return None if dynamics is None else dynamics.param_groups[0]["lr"]

    @property
    def step_size_of_sgd(self) -> float | None:
        """The learning rate of a foreign project that has one optimizer, plain SGD; else None."""
        return None if self.landscape is not None else step_size_of_sgd(self._module)

    @property
    def energies_of_block(self) -> Tensor | None:
        """The energies before each step of the last block, (steps, R); None if foreign.

        Where the ranks draw mini-batches of their own, the mean over the ranks.
        """
        energies = self._told("block_energies", None)
        same = energies is None or self.batches is None
        return energies if same else parallel.mean(energies.double())

    # parameters

    @property
    def shape(self) -> tuple[int, int]:
        """(R, N)."""
        if self.landscape is not None:
            return self.landscape.replicas, self.landscape.N
        return 1, sum(p.numel() for p in self.parameters())

    def parameters(self) -> list[Tensor]:
        """Return the moving parameters, as the module holds them."""
        return [p for p in self.system.parameters() if p.requires_grad]

    @torch.no_grad()
    def configuration(self) -> Tensor:
        """Return a copy of the configurations, shape (R, N)."""
        return self.held.join(self.part())

    @torch.no_grad()
    def part(self) -> Tensor:
        """Return a copy of what this rank holds of the configurations: all unless they are cut."""
        return self.held.of(self._moving())

    @cached_property
    def held(self) -> parallel.Parts:
        """What this rank holds of the configurations, and how it joins those of all ranks."""
        return parallel.Parts(self._moving(), self.shape[0])

    def _moving(self) -> list[Tensor]:
        """Return the parameters that the optimizer moves."""
        system = self._module if self.landscape is None else self._module.energy
        return [p for p in system.parameters() if p.requires_grad]

    # energy and its derivatives

    @contextmanager
    def measuring(self, mode: Literal["train", "eval"] = "train") -> Any:
        """Enter the isolation in which the energy may be evaluated and differentiated.

        Args:
            mode: ``eval`` puts the module into the mode of evaluation; ``train`` leaves its modes.
        """
        with measuring(self._module), self._shards.gathered() if self._shards else nullcontext():
            if mode == "eval":
                self.system.eval()
            yield

    def energy(self) -> Tensor:
        """Return the energies, shape (R,); call it inside `measuring`.

        Raises:
            NotMeasured: ``training_step`` returned None.
            UsageError: the module offers no energy, or its evaluation cannot be isolated.
        """
        try:
            return self._energy()
        except MovesParameters as error:
            # a step that normalises or clips parameters leaves them where it has put them; they are
            # put back by `measuring`
            for moved in error.moved:
                moved.move()
            return self._energy()

    def _energy(self) -> Tensor:
        if self.is_whole:
            assert self.landscape is not None
            return self.landscape().reshape(-1)
        # a loss may contain derivatives, so gradients are on even where its own is not wanted
        outputs: list[Tensor] = []
        with isolated(self._module, self._batch, outputs) as batch, torch.enable_grad():
            outputs.append(self._energy_of_batch(batch).reshape(-1))
        return outputs[0] if torch.is_grad_enabled() else outputs[0].detach()

    def energy_at(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Return the energy of a foreign project with other parameters; inside `measuring`.

        The module keeps its own. Gradients are recorded where they are on.

        Args:
            parameters: the moving ones, by name.
        """
        with isolated(self._module, self._batch) as batch:
            loss = with_parameters(self._module, lambda: self._energy_of_batch(batch))
            return loss(parameters).reshape(())

    def _energy_of_batch(self, batch: Any) -> Tensor:
        return energy_of_batch(self._module, batch, self._batch_idx, self._loss_fn)

    def gradient(self) -> Tensor:
        """Return the gradient of `energy`, (R, N), over ranks the mean; inside `measuring`."""
        total, inputs = self.energy().sum(), self.parameters()
        require_together(inputs)
        parts = torch.autograd.grad(total, inputs, materialize_grads=True)
        return self.reduce(parallel.Parts(parts, self.shape[0]).of(parts), "mean")

    def hessian(self) -> CurvatureOperator:
        """Return the Hessian of `energy` at this moment; call it inside `measuring`.

        Of an `Energy`: the best that `hessian_of` finds, on its sphere if it has one, and in
        batches where its data are too many for one graph. Otherwise that of the current batch by
        backward passes, over ranks the mean, which every rank must multiply in the same order.
        """
        if self.landscape is not None and self._loss_fn is None:
            return hessian_of(self.landscape)
        return self.mean_of(self.hessian_of_batch())

    def hessian_of_batch(self) -> HessianOperator:
        """Return the Hessian of `energy` on this rank alone; call it inside `measuring`."""
        require_together(self.parameters())
        names = [n for n, p in self.system.named_parameters() if p.requires_grad]
        return HessianOperator(self._energy, self.parameters(), names=names)

    def on_batch(self, batch: Any, batch_idx: int) -> View:
        """Return a foreign project at this moment, on another batch."""
        other = View(self._module, batch, self.step, self._loss_fn, batch_idx)
        other.agree = self.agree
        return other

    @property
    def product_cost(self) -> float:
        """About what a product with `hessian` costs, in gradients, where no matrix is known."""
        return product_cost(self.landscape if self.is_whole else None)

    @property
    def knows_hessian(self) -> bool:
        """Whether `hessian` may be had in closed form."""
        return self.is_whole and isinstance(self.landscape, HasHessian)

    @property
    def steps_per_gradient(self) -> float:
        """What one gradient of `energy` costs in steps: more than 1 where they see mini-batches."""
        return 1.0 if self.batches is None else self.samples / self.batches.batch_size

    # ranks

    def reduce(self, value: Tensor, how: parallel.Reduction, dim: int = 0) -> Tensor:
        """Return what was measured on this rank's batch for the batches of all ranks.

        What follows from the whole energy is the same on every rank and returned as it is.

        Args:
            value: what was measured.
            how: sum, mean, max, or gather along ``dim``.
            dim: the axis of the patterns or replicas.
        """
        if self.is_whole:
            return value
        self.agree()
        return parallel.reduce(value, how, dim)

    def mean_of(self, operator: CurvatureOperator) -> CurvatureOperator:
        """Return the mean over the ranks of an operator of this rank's batch, see `reduce`."""
        if self.is_whole or parallel.count() == 1:
            return operator
        self.agree()
        return MeanOverRanks(operator)

    # data

    @property
    def evaluates_test_data(self) -> bool:
        """Whether the energy has held-out data and says how it does on them."""
        return isinstance(self.landscape, HasData)

    def test_data(self) -> dict[str, Tensor]:
        """Return what the energy measures on its held-out data, each (R,); inside `measuring`."""
        assert isinstance(self.landscape, HasData)
        return self.landscape.evaluate("test")

    def gaps(self, gap_fn: GapFn | None = None) -> Tensor:
        """Return the gaps of the patterns, shape (R, P); call it inside `measuring`.

        They are those that ``gap_fn`` gives, of the batches of all ranks, or else those of the
        training data of the energy.
        """
        if gap_fn is None:
            assert isinstance(self.landscape, HasGaps)
            return self.landscape.gaps()
        with isolated(self._module, self._batch) as batch:
            gaps = gap_fn(self._module, batch).reshape(self.shape[0], -1)
        return self.reduce(gaps, "gather", dim=1)

    @property
    def batch(self) -> Any:
        """The current batch of a foreign project."""
        return self._batch

    @property
    def samples_in_batch(self) -> int:
        """How many samples a foreign project's current batch holds."""
        return length(self._batch)

    @property
    def samples_per_step(self) -> int:
        """How many samples of its current batches a foreign project puts into one step."""
        return self.samples_in_batch * self.batches_per_step

    @property
    def batches_per_step(self) -> int:
        """How many of its current batches, over all ranks, a foreign project puts into one step."""
        trainer = self._module.trainer
        return trainer.accumulate_grad_batches * trainer.world_size

    def parts(self, most: int, split_fn: SplitFn) -> list[Callable[[], Tensor]]:
        """Return the energies of parts, all of one size, of a foreign project's current batch.

        Args:
            most: how many parts ``"samples"`` makes; no more than samples.
            split_fn: makes the parts of a batch; ``"samples"`` cuts its tensors along their first
                axis.

        Raises:
            UsageError: the batch cannot be cut, or the mean over its parts is not its energy.
        """

        def energy_of(batch: Any) -> Tensor:
            return self.on_batch(batch, self._batch_idx).energy()

        return energies_of_parts(energy_of, self._module, self._batch, most, split_fn)

    @contextmanager
    def moved_to(self, parameters: list[Tensor]) -> Iterator[None]:
        """Let the body see a foreign project at other values of its `parameters`."""
        moving = self.parameters()
        before = [p.detach().clone() for p in moving]
        try:
            for p, value in zip(moving, parameters, strict=True):
                p.data.copy_(value)
            yield
        finally:
            for p, value in zip(moving, before, strict=True):
                p.data.copy_(value)  # through .data: the graph of the run stays valid


def _nothing() -> None:
    """Agree: there is nobody to ask."""


def _energy_of(pl_module: Any) -> Energy | None:
    """Return the `Energy` of a module: here it is decided whether a run is ours."""
    energy = getattr(pl_module, "energy", None)
    return energy if isinstance(energy, Energy) else None
