"""The base of the probes of gradient noise: their samples and the mini-batches of the run."""

from __future__ import annotations

from typing import Any

from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.times import Times
from lightning_landscape.callbacks.view import LossFn, View
from lightning_landscape.data.batches import Batches
from lightning_landscape.errors import UsageError, require
from lightning_landscape.observables.gradient_noise import (
    GroupGradients,
    SampleGradients,
    batch_factor,
    gradients_of,
)
from lightning_landscape.rng import Stream

__all__ = ["NoiseProbe"]


class NoiseProbe(Probe):
    """Base of the probes of gradient noise.

    Args:
        first: first time > 0 after time 0.
        last: last time; later ones are not measured.
        per_decade: points in a factor of ten.
        batches: whose noise; None takes the run's own.
        samples: how many samples to take the gradients of, at most.
        groups: in a foreign project, into how many parts to cut the current batch, at most.
        seed: of random samples and directions.
        loss_fn: the energy of a foreign module, ``loss_fn(pl_module, batch)``; see `View`.
    """

    def __init__(
        self,
        first: float,
        last: float,
        per_decade: int,
        batches: Batches | None,
        samples: int,
        groups: int,
        seed: int,
        loss_fn: LossFn | None,
    ) -> None:
        super().__init__(Times.log(first, last, per_decade), loss_fn)
        require(samples >= 2, "samples", samples, "must be at least 2, for a variance")
        require(groups >= 2, "groups", groups, "must be at least 2, for a variance")
        self.batches, self.samples, self.groups, self.seed = batches, samples, groups, seed

    def source(self, view: View) -> SampleGradients:
        """Return the gradients of samples at this time; inside `measuring`."""
        energy = view.landscape
        if energy is None:
            parts = view.parts(self.groups)
            return GroupGradients(parts, view.parameters(), view.samples_in_batch // len(parts))
        rows = None
        if energy.samples > self.samples:
            stream = Stream(self.seed, "samples of the noise")
            rows = stream.permutation(energy.samples, view.step)[: self.samples]
        return gradients_of(energy, rows)  # type: ignore[arg-type]  # it refuses other energies

    def factor(self, view: View, source: SampleGradients) -> float:
        """Return c in Cov(g_B) = c S, with the S of ``source``."""
        if view.landscape is None:
            batch_size = view.samples_per_step if self.batches is None else self.batches.batch_size
            return source.size / batch_size
        return batch_factor(**self._draws(view))

    def _draws(self, view: View) -> dict[str, Any]:
        """Return how the batches of one of our runs are drawn."""
        batches = view.batches if self.batches is None else self.batches
        if batches is None:
            raise UsageError(
                "batches: the run uses all data at every step, so its gradient has no noise; give "
                "the probe batches: {batch_size: …} to measure the noise that they would have"
            )
        required = "has no data, so its gradient has no noise"
        require(view.samples > 0, "energy", type(view.landscape).__name__, required)
        draws = {"batch_size": batches.batch_size, "samples": view.samples}
        return draws | {"replacement": batches.replacement}

    def describe(self, view: View) -> dict[str, Any]:
        """Return what the record says of the run, and how its mini-batches are drawn.

        Raises:
            UsageError: the run has no data or no batches, or ``loss_fn`` is given though the run
                has an `Energy`, whose samples are taken.
        """
        described = super().describe(view)
        own = view.landscape is None or not view.has_own_loss
        require(own, "loss_fn", self.loss_fn, "the run has an energy of its own", "remove it")
        if view.landscape is None:
            return described
        draws = self._draws(view)
        batch_factor(**draws)  # refuses a batch larger than the data
        return described | {**draws, "replacement": int(draws["replacement"])}
