"""What a probe sees of a run: the configuration, the energy and the time, ours or foreign."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.callbacks.batches import cut, length
from lightning_landscape.callbacks.measuring import measuring
from lightning_landscape.data.batches import Batches
from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import UsageError

__all__ = ["GapFn", "LossFn", "View"]

LossFn = Callable[[Any, Any], Tensor]
"""``loss_fn(pl_module, batch)``: the energy of a foreign module, a scalar or one per replica."""

GapFn = Callable[[Any, Any], Tensor]
"""``gap_fn(pl_module, batch)``: the gaps of patterns in a foreign module, (P,) or (R, P)."""


class View:
    """A run at one moment, with the replica axis in front.

    A LightningModule whose ``energy`` is an `Energy` is seen with its R replicas and its whole
    energy; any other module is one replica whose energy is, in this order, ``loss_fn`` if given,
    ``pl_module.energy(batch)``, or what ``training_step`` returns (with its logging discarded).

    Attributes:
        step: optimizer steps done.
        time_step: physical time of one step; 1 where the module does not say.
        time: physical time, ``step * time_step``.
    """

    def __init__(
        self, pl_module: Any, batch: Any, step: int, loss_fn: LossFn | None = None
    ) -> None:
        self._module, self._batch, self._loss_fn = pl_module, batch, loss_fn
        self.step = step
        self.time_step: float = getattr(pl_module, "time_step", 1.0)
        self.time = step * self.time_step

    @property
    def landscape(self) -> Energy | None:
        """The `Energy` of the run, or None in a foreign project."""
        energy = getattr(self._module, "energy", None)
        return energy if isinstance(energy, Energy) else None

    @property
    def temperature(self) -> float | Tensor:
        """The temperature of the dynamics at this time: a number, or one per replica, (R,)."""
        return getattr(self._module, "temperature", 0.0)

    @property
    def temperature_is_constant(self) -> bool:
        """Whether the dynamics keeps one temperature for the whole run."""
        return getattr(self._module, "temperature_is_constant", True)

    @property
    def rates(self) -> dict[str, Tensor]:
        """Acceptance and exchange rates of the dynamics so far, each (R,); where it has any."""
        return getattr(self._module, "rates", {})

    @property
    def step_sizes(self) -> float | Tensor | None:
        """The step size of the dynamics, a number or one per replica, (R,); None if foreign."""
        dynamics = getattr(self._module, "dynamics", None)
        return None if dynamics is None else dynamics.param_groups[0]["lr"]

    @property
    def energies_of_block(self) -> Tensor | None:
        """The energies before each step of the last block, (steps, R); None if foreign."""
        return getattr(self._module, "block_energies", None)

    @property
    def has_own_loss(self) -> bool:
        """Whether the energy is a ``loss_fn`` that was given."""
        return self._loss_fn is not None

    @property
    def evaluates_test_data(self) -> bool:
        """Whether the energy has held-out data and says how it does on them."""
        return hasattr(self.landscape, "evaluate")

    def test_data(self) -> dict[str, Tensor]:
        """Return what the energy measures on its held-out data, each (R,); inside `measuring`."""
        landscape: Any = self.landscape
        return landscape.evaluate("test")

    def gaps(self, gap_fn: GapFn | None = None) -> Tensor:
        """Return the gaps of the patterns, shape (R, P); call it inside `measuring`.

        They are those that ``gap_fn`` gives, or else those of the training data of the energy.
        """
        landscape: Any = self.landscape
        gaps = landscape.gaps() if gap_fn is None else gap_fn(self._module, self._batch)
        return gaps.reshape(self.shape[0], -1)

    @property
    def shape(self) -> tuple[int, int]:
        """(R, N)."""
        if self.landscape is not None:
            return self.landscape.replicas, self.landscape.N
        return 1, sum(p.numel() for p in self.parameters())

    @property
    def system(self) -> nn.Module:
        """The module whose parameters move."""
        return self._module if self.landscape is None else self.landscape

    @property
    def steps_per_gradient(self) -> float:
        """What one gradient of `energy` costs in steps: more than 1 where they see mini-batches."""
        batches = getattr(self._module, "batches", None)
        if self.landscape is None or batches is None:
            return 1.0
        return self._module.samples / batches.batch_size

    @property
    def batches(self) -> Batches | None:
        """The mini-batches of the run; None where all data are used and in a foreign project."""
        return getattr(self._module, "batches", None) if self.landscape is not None else None

    @property
    def samples_in_batch(self) -> int:
        """How many samples a foreign project's current batch holds."""
        return length(self._batch)

    @property
    def samples_per_step(self) -> int:
        """How many samples of its current batches a foreign project puts into one step."""
        trainer = self._module.trainer
        return self.samples_in_batch * trainer.accumulate_grad_batches * trainer.world_size

    def parts(self, most: int) -> list[Callable[[], Tensor]]:
        """Return the energies of equal parts of a foreign project's current batch.

        Args:
            most: how many parts; no more than samples are made.
        """
        parts = cut(self._batch, min(most, length(self._batch)))
        return [View(self._module, part, self.step, self._loss_fn).energy for part in parts]

    def parameters(self) -> list[Tensor]:
        """Return the moving parameters, as the module holds them."""
        return [p for p in self.system.parameters() if p.requires_grad]

    @torch.no_grad()
    def configuration(self) -> Tensor:
        """Return a copy of the configurations, shape (R, N)."""
        R = self.shape[0]
        return torch.cat([p.detach().reshape(R, -1) for p in self.parameters()], dim=1)

    @contextmanager
    def measuring(self) -> Any:
        """Enter the isolation in which the energy may be evaluated and differentiated."""
        with measuring(self._module):
            yield

    def energy(self) -> Tensor:
        """Return the energies, shape (R,); call it inside `measuring`."""
        if self._loss_fn is not None:
            energy = self._loss_fn(self._module, self._batch)
        elif self.landscape is not None:
            energy = self.landscape()
        elif callable(getattr(self._module, "energy", None)):
            energy = self._module.energy(self._batch)
        else:
            energy = self._loss_of_training_step()
        return energy.reshape(-1)

    def _loss_of_training_step(self) -> Tensor:
        module = self._module
        if not module.automatic_optimization:
            raise UsageError(
                f"{type(module).__name__} optimizes by hand, so its training_step cannot be used "
                "as an energy; give the module a method energy(batch), or the probe a loss_fn"
            )
        with _logging_off(module), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outputs = module.training_step(self._batch, 0)
        return outputs["loss"] if isinstance(outputs, dict) else outputs


@contextmanager
def _logging_off(module: Any) -> Any:
    """Shadow ``log`` and ``log_dict`` on the instance, so that nothing is logged twice."""
    shadowed = {
        name: module.__dict__[name] for name in ("log", "log_dict") if name in module.__dict__
    }
    for name in ("log", "log_dict"):
        object.__setattr__(module, name, lambda *args, **kwargs: None)
    try:
        yield
    finally:
        for name in ("log", "log_dict"):
            object.__delattr__(module, name)
            if name in shadowed:
                object.__setattr__(module, name, shadowed[name])
