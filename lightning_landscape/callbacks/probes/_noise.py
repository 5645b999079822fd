"""The base of the probes of gradient noise: their samples and the mini-batches of the run."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.callbacks.all_data import AllData, Data, Mode, all_data, require_mode
from lightning_landscape.callbacks.mean_over_data import energy_of_batch, hessian_of_data
from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.probes._windows import Window, Windows
from lightning_landscape.callbacks.times import Times
from lightning_landscape.callbacks.training_step import NotMeasured
from lightning_landscape.callbacks.view import LossFn, SplitFn, View
from lightning_landscape.curvature.operators.base import CurvatureOperator
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


class NoiseProbe(Probe):
    """Base of the probes of gradient noise.

    In a foreign project the gradients are those of consecutive mini-batches, ``groups`` of them
    after each time, all at the parameters of that time; of the batches of ``data``; or of the parts
    that ``split_fn`` makes of one batch. Whichever they are, the spread of their gradients is the
    noise.

    Args:
        first: first time > 0 after time 0.
        last: last time; later ones are not measured.
        per_decade: points in a factor of ten.
        batches: whose noise; None takes the run's own.
        samples: how many samples to take the gradients of, at most.
        groups: in a foreign project, how many mini-batches or parts, at most.
        seed: of random samples and directions.
        loss_fn: the energy of a foreign module, ``loss_fn(pl_module, batch)``; see `View`.
        split_fn: in a foreign project, makes smaller batches of one size of the current batch, or
            ``"samples"``, which cuts its tensors along their first axis; either way the loss must
            be the mean over the parts.
        data: of a foreign project: a DataLoader, or ``"train"`` or ``"val"``; see `AllData`.
        mode: of a foreign module: ``train``, or ``eval`` for that of evaluation.
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
        data: Data | None = None,
        mode: Mode = "train",
        **options: Any,
    ) -> None:
        super().__init__(Times.log(first, last, per_decade), loss_fn, **options)
        require(samples >= 2, "samples", samples, "must be at least 2, for a variance")
        require(groups >= 2, "groups", groups, "must be at least 2, for a variance")
        Stream(seed, "samples of the noise")  # which refuses what is no seed
        right = split_fn is None or split_fn == "samples" or callable(split_fn)
        require(right, "split_fn", split_fn, 'must be a function of a batch, "samples", or None')
        one = data is None or split_fn is None
        require(one, "split_fn", split_fn, "does not go with data", "leave out one of the two")
        require_mode(mode)
        self.batches, self.samples, self.groups, self.seed = batches, samples, groups, seed
        self.split_fn, self.data, self.mode = split_fn, data, mode
        self._windows = Windows(groups)

    @abstractmethod
    def measure_noise(
        self, view: View, source: SampleGradients, window: Window | None
    ) -> dict[str, float]:
        """Append what the gradients of ``source`` tell, inside `measuring`."""

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Measure, or, where consecutive batches are taken, wait for them."""
        if self._takes_consecutive(view):
            self._windows.begin(view)
            return {}
        with view.measuring(self.mode):
            return self.measure_noise(view, self._source(view), None)

    def _takes_consecutive(self, view: View) -> bool:
        return view.landscape is None and self.split_fn is None and self.data is None

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure at time 0, and keep the batch if one of the next ones is to be measured."""
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        if self.active and self._windows.open:
            with self.timed(), self.caught(trainer, pl_module, early=batch_idx == 0):
                window = self._windows.add(batch, batch_idx)
                if window is not None:
                    self._measure_window(trainer, pl_module, window)

    def begin(self, trainer: Any, pl_module: Any) -> None:
        """Begin, or go on with the batches of a checkpoint."""
        super().begin(trainer, pl_module)
        self._windows.to(pl_module.device)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resume needs, with the batches that are kept."""
        return {**super().state_dict(), "windows": self._windows.state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from ``state_dict``, in the middle of consecutive batches too."""
        super().load_state_dict(state_dict)
        for step in self._windows.load([] if self._changed else state_dict["windows"]):
            self.warn(
                f"the noise at step {step} is not in the record: the run was stopped in the middle "
                "of its batches, which a checkpoint cannot hold"
            )

    def _measure_window(self, trainer: Any, pl_module: Any, window: Window) -> None:
        batch, index = window.batches[0]
        view = View(pl_module, batch, window.step, self.loss_fn, index)
        view.agree = self.agree
        self._require_same_parameters(view)
        with view.measuring(self.mode), view.moved_to(window.parameters):
            energies = [view.on_batch(*one).energy for one in window.batches]
            try:
                source = GroupGradients(energies, view.parameters(), 1)
                scalars = self.measure_noise(view, source, window)
            except NotMeasured:  # of a batch that the training step skips
                source = GroupGradients(_with_loss(energies), view.parameters(), 1)
                scalars = self.measure_noise(view, source, window)
            self.log_scalars(trainer, scalars)

    def finish(self, trainer: Any, pl_module: Any) -> None:
        """Measure with the batches that there were, and write the final record."""
        windows, self._windows.open = self._windows.open, []
        for window in windows:
            if len(window.batches) >= 2:
                self._measure_window(trainer, pl_module, window)
            else:
                self.warn(
                    f"the noise at step {window.step} is not in the record: the run ended before "
                    "two batches after it"
                )
        super().finish(trainer, pl_module)

    def _source(self, view: View) -> SampleGradients:
        """Return the gradients of samples at this time; inside `measuring`."""
        energy = view.landscape
        if energy is None and self.data is not None:
            data = self._all_data(view)
            whole = range(data.samples // data.size)  # the last batch may be smaller
            batches = [partial(energy_of_batch, view, data, k, self.seed) for k in whole]
            admissible = "must hold at least 2 batches, for a variance"
            require(len(batches) >= 2, "data", f"{len(batches)} whole batches", admissible)
            return GroupGradients(batches, view.parameters(), data.size)
        if energy is None:
            assert self.split_fn is not None
            cut_by_us = self.split_fn == "samples"
            parts = view.parts(self.groups, self.split_fn)
            size = view.samples_in_batch // len(parts) if cut_by_us else 1
            return GroupGradients(parts, view.parameters(), size)
        rows = None
        if energy.samples > self.samples:
            stream = Stream(self.seed, "samples of the noise")
            rows = stream.permutation(energy.samples, view.step)[: self.samples]
        return gradients_of(energy, rows)  # type: ignore[arg-type]  # it refuses other energies

    def _all_data(self, view: View) -> AllData:
        assert self.data is not None
        return all_data(self.data, view, self.mode, self.seed)

    def hessian(self, view: View) -> CurvatureOperator:
        """Return the Hessian that goes with the noise: of all, of the data, or of one batch."""
        if self.data is None or view.landscape is not None:
            return view.hessian()
        return hessian_of_data(view, self._all_data(view), self.seed)

    def factor(self, view: View, source: SampleGradients, window: Window | None) -> float:
        """Return c in Cov(g_B) = c S, with the S of ``source``."""
        if view.landscape is not None:
            return batch_factor(**self._draws(view))
        if self.batches is None and (window is not None or callable(self.split_fn)):
            # a batch, or a part of one, is the unit of all sizes
            parts = 1 if window is not None else source.count
            return 1 / (parts * view.batches_per_step)
        size = view.samples_in_batch if window is not None else source.size
        B = view.samples_per_step if self.batches is None else self.batches.batch_size
        if self.data is None:
            return size / B
        P = self.total(view)
        return size * batch_factor(B, P, replacement=False)

    def total(self, view: View) -> float:
        """Return how many samples all data of a foreign project are; inf where it is not known."""
        if view.landscape is not None:
            return view.samples or float("inf")
        return self._all_data(view).total if self.data is not None else float("inf")

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
            UsageError: the run has no data or no batches, or ``loss_fn``, ``split_fn`` or ``data``
                is given though the run has an `Energy`, whose samples are taken.
        """
        described = super().describe(view)
        own = view.landscape is None or not view.has_own_loss
        require(own, "loss_fn", self.loss_fn, "the run has an energy of its own", "remove it")
        if view.landscape is None:
            of = "consecutive batches" if self._takes_consecutive(view) else "parts of a batch"
            return described | {"gradients": of if self.data is None else "all data"}
        for name in ("split_fn", "data"):
            given = getattr(self, name)
            admissible = "the run has an energy of its own, whose samples are taken"
            require(given is None, name, given, admissible, "remove it")
        draws = self._draws(view)
        batch_factor(**draws)  # refuses a batch larger than the data
        return described | {**draws, "replacement": int(draws["replacement"])}


def _with_loss(energies: Sequence[Callable[[], Tensor]]) -> list[Callable[[], Tensor]]:
    """Return those energies that there are.

    Raises:
        NotMeasured: there are fewer than two.
    """
    found = []
    for energy in energies:
        with suppress(NotMeasured), torch.no_grad():
            energy()
            found.append(energy)
    if len(found) < 2:
        raise NotMeasured("training_step returned a loss for fewer than two of the batches")
    return found
