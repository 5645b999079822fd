"""The base of the probes of gradient noise: their samples and the mini-batches of the run."""

from __future__ import annotations

from collections.abc import Callable
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

__all__ = ["NoiseProbe", "SplitFn"]

SplitFn = Callable[[Any], list[Any]]
"""``split_fn(batch)``: smaller batches, all of one size, of a foreign project's batch."""


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
        split_fn: in a foreign project, makes smaller batches of one size of the current batch;
            None cuts its tensors along their first axis, if the loss is the mean over the parts.
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
        split_fn: SplitFn | None = None,
        **options: Any,
    ) -> None:
        super().__init__(Times.log(first, last, per_decade), loss_fn, **options)
        require(samples >= 2, "samples", samples, "must be at least 2, for a variance")
        require(groups >= 2, "groups", groups, "must be at least 2, for a variance")
        Stream(seed, "samples of the noise")  # which refuses what is no seed
        self.batches, self.samples, self.groups, self.seed = batches, samples, groups, seed
        self.split_fn = split_fn

    def source(self, view: View) -> SampleGradients:
        """Return the gradients of samples at this time; inside `measuring`."""
        energy = view.landscape
        if energy is None:
            parts = view.parts(self.groups, self.split_fn)
            admissible = "must give at least 2 parts, for a variance"
            require(len(parts) >= 2, "split_fn", f"{len(parts)} parts", admissible)
            size = view.samples_in_batch // len(parts) if self.split_fn is None else 1
            return GroupGradients(parts, view.parameters(), size)
        rows = None
        if energy.samples > self.samples:
            stream = Stream(self.seed, "samples of the noise")
            rows = stream.permutation(energy.samples, view.step)[: self.samples]
        return gradients_of(energy, rows)  # type: ignore[arg-type]  # it refuses other energies

    def factor(self, view: View, source: SampleGradients) -> float:
        """Return c in Cov(g_B) = c S, with the S of ``source``."""
        if view.landscape is None:
            if self.batches is not None:
                return source.size / self.batches.batch_size
            if self.split_fn is not None:  # whose parts are the units of all sizes
                return 1 / (source.count * view.batches_per_step)
            return source.size / view.samples_per_step
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
