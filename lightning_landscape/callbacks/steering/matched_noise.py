"""MatchedNoise steers: it gives Langevin dynamics the noise that mini-batches would have."""

from __future__ import annotations

from typing import Any, Literal

import torch

from lightning_landscape.arguments import Checked
from lightning_landscape.callbacks._lightning import Callback
from lightning_landscape.callbacks.times import Times
from lightning_landscape.callbacks.view import View
from lightning_landscape.clock import next_event
from lightning_landscape.data.batches import Batches
from lightning_landscape.dynamics.samplers.matched import MatchedLangevin
from lightning_landscape.errors import nearest, require
from lightning_landscape.observables.gradient_noise import batch_factor, gradients_of
from lightning_landscape.rng import Stream

__all__ = ["MatchedNoise"]

_NOISES = ("diagonal", "isotropic")


class MatchedNoise(Checked, Callback):
    r"""Steer `MatchedLangevin` by the noise that mini-batches would have.

    This is no probe: it changes the trajectory. The run uses all data at every step, and its
    dynamics adds a Gaussian noise. At time 0 and at logarithmic times the variances D_i of the
    gradient of mini-batches, drawn as ``batches`` says, are measured at the present configuration
    of each replica and hold until the next time:

        diagonal:   every parameter gets its own D_i;
        isotropic:  every parameter gets their mean D, so that this is Langevin at T = lr D / 2.

    Both add the same sum of variances to a step, that of SGD. What is missing are the
    correlations between parameters, the tails, and that the batches of a shuffled epoch are
    anticorrelated.

    A measurement costs about three gradients of the samples for fully connected networks, some
    ten for others. A run resumes bit for bit.

    Args:
        batches: the mini-batches to be matched; their seed plays no role.
        noise: ``diagonal`` or ``isotropic``.
        first: first time > 0 after time 0 (the step size times the number of steps).
        last: last time; from then on D stays as it is.
        per_decade: points in a factor of ten.
        samples: how many samples to take the gradients of, at most; others at each time.
        seed: of random samples.

    Raises:
        UsageError: the dynamics is not `MatchedLangevin`, the energy not a `NetworkEnergy`, the
            run has mini-batches of its own, or an argument is out of range.
    """

    def __init__(
        self,
        batches: Batches,
        noise: Literal["diagonal", "isotropic"] = "diagonal",
        first: float = 1,
        last: float = 1_000_000,
        per_decade: int = 10,
        samples: int = 10_000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        known = f"must be one of {', '.join(_NOISES)}{nearest(noise, _NOISES)}"
        require(noise in _NOISES, "noise", noise, known)
        require(samples >= 2, "samples", samples, "must be at least 2, for a variance")
        self.batches, self.noise, self.samples = batches, noise, samples
        self.times = Times.log(first, last, per_decade)
        self.stream = Stream(seed, "samples of the matched noise")
        self.measured_step = -1
        self._steps: list[int] = []

    def next_event(self, step: int) -> int | None:
        """Return the first step after ``step`` at which the noise is measured anew, or None."""
        return next_event(self._steps, step)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Check that this run can be given a noise, and count its times in steps."""
        optimizer, view = trainer.optimizers[0], View(pl_module, None, trainer.global_step)
        required = "must be MatchedLangevin, which takes its noise from this callback"
        is_matched = isinstance(optimizer, MatchedLangevin)
        require(is_matched, "optimizer", type(optimizer).__name__, required)
        twice = "would add their noise to the one that stands for them"
        require(view.batches is None, "model.batches", view.batches, twice, "remove it")
        batch_factor(self.batches.batch_size, view.samples, self.batches.replacement)
        self._steps = self.times.steps(view.time_step)

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure before the first step."""
        if self.measured_step < 0:
            self._match(pl_module, trainer.global_step)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure anew when a time has come."""
        event = self.next_event(self.measured_step)
        if event is not None and trainer.global_step >= event:
            self._match(pl_module, trainer.global_step)

    def _match(self, pl_module: Any, step: int) -> None:
        energy, rows = pl_module.energy, None
        if energy.samples > self.samples:
            rows = self.stream.permutation(energy.samples, step)[: self.samples]
        source, b = gradients_of(energy, rows), self.batches
        variance = source.moments().variance
        variance *= batch_factor(b.batch_size, energy.samples, b.replacement)
        if self.noise == "isotropic":
            variance = variance.mean(1, keepdim=True).expand(-1, source.N)
        pl_module.dynamics.adopt(variance)
        self.measured_step = step

    def state_dict(self) -> dict[str, Any]:
        """Return when the noise was measured last; the noise itself is the dynamics' state."""
        return {"measured_step": torch.tensor(self.measured_step)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from ``state_dict``."""
        self.measured_step = int(state_dict["measured_step"])
