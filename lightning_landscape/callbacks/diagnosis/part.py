"""A probe as a part of a diagnosis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_landscape import records
from lightning_landscape.callbacks.places import claimed_folder
from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.times import thinned
from lightning_landscape.callbacks.view import View
from lightning_landscape.results.copies import mean_of_copies

if TYPE_CHECKING:
    from lightning_landscape.callbacks.diagnosis.budget import Budget

__all__ = ["Part", "affordable", "late"]


class Part(Probe):
    """A probe as a part of a diagnosis: what it cannot measure is said beside the table.

    Attributes:
        question: what it is to answer.
        weight: of its share of the time of a diagnosis.
        price: what its first look costs, in steps, where that matters.
        said: why it, or a part of it, was left out.
        time_budget: the time that it may take, of which it thins its looks.
    """

    question: ClassVar[str]
    weight: ClassVar[float] = 0.0
    price: float = 0.0
    said: str = ""
    time_budget: Budget | None = None
    _ran_out = False

    def warn(self, sentence: str) -> None:
        """Keep the last sentence for the page, unless time had run out before."""
        if not self._ran_out:
            self.said = sentence.rpartition("and the run goes on: ")[2]

    @property
    def _rests(self) -> bool:
        """Whether nothing is ahead, so that a step costs nothing."""
        return self.has_begun and self.next_event(self.measured_step) is None

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """See `Probe`."""
        if self._rests:
            self._kept_batch = None
        else:
            super().on_train_batch_start(trainer, pl_module, batch, batch_idx)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """See `Probe`."""
        if not self._rests:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def _measure_now(self, trainer: Any, pl_module: Any, view: View, early: bool = False) -> None:
        """Measure, unless the time for it has been spent."""
        if self.time_budget is None or self._fits(self.time_budget, view.step):
            super()._measure_now(trainer, pl_module, view, early)
        self.measured_step = view.step

    def _fits(self, budget: Budget, step: int) -> bool:
        """Thin what is ahead to what the budget affords; return whether this step is still in it.

        The steps are those planned, which depend on the configuration only, unless time is short.
        """
        ahead = [k for k in self._steps if k > self.measured_step]
        most = budget.affords(self, step)
        if most < len(ahead):
            kept = self.thin(ahead, int(most))
            self._steps = [k for k in self._steps if k <= self.measured_step] + kept
            done = budget.looks[self.name]
            planned = done + len(ahead)
            some = f"{done + len(kept)} of {planned} measurements fit into max_share of the run's"
            none = "no measurement fits into max_share of the run's"
            self.said = f"{some if done or kept else none} time; raise max_share for more"
            self._ran_out = not kept
            ahead = kept
        fits = bool(ahead) and ahead[0] <= step
        budget.looks[self.name] += fits
        return fits

    def thin(self, ahead: list[int], most: int) -> list[int]:
        """Return at most so many of the steps ahead, spread evenly."""
        return thinned(ahead, most) if most else []

    def write(self, trainer: Any, final: bool = False) -> None:
        """Write the record. Theory and figures, which may cost more than a short run, are left.

        `report` adds them.
        """
        self._written_at = time.monotonic()
        measured = self.measured_step >= 0 and len(self.results.get("step", ()))
        if self._directory is None or not trainer.is_global_zero or not measured:
            return
        if self._is_unnumbered:
            self._directory, self._is_unnumbered = claimed_folder(trainer), False
        self._record = self._directory / f"{self.name}.nc"
        attributes = self.recorded_attributes() | {"theory": "left out"}
        records.write(mean_of_copies(self.dataset().assign_attrs(attributes)), self._record)

    def _raise_if_strict(self, pl_module: Any, error: Exception) -> None:
        """Raise nothing: a diagnosis ends no run."""

    def describe(self, view: View) -> dict[str, Any]:
        """Return what the record says of the run; its kind is that of the probe that it is."""
        kinds = type(self).__mro__
        kind = kinds[kinds.index(Part) + 1]
        return super().describe(view) | {"probe": kind.__name__}


def affordable(part: Part, times: int, share: float, run: float, each: float) -> int:
    """Return how many measurements of ``each`` steps a share of a run pays for; say if none."""
    most = int(min(times, share * run / each))
    if most < 1:
        part.warn(
            f"nothing is measured: one measurement costs up to {each:.3g} steps, more than its "
            f"part of max_share of the {run:.0f} steps of the run"
        )
    return most


def late(end: float, most: int) -> list[int]:
    """Return steps evenly spread over the last third of a run, with room for batches after each."""
    return sorted({round(end * (2 + k / most) / 3) for k in range(most)})
