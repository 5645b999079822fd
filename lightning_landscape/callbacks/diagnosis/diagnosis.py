"""Diagnosis: one callback that says where a training stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pytorch_lightning.utilities.rank_zero import rank_zero_info

from lightning_landscape.arguments import Checked
from lightning_landscape.callbacks._lightning import Callback
from lightning_landscape.callbacks.all_data import Data
from lightning_landscape.callbacks.diagnosis.budget import Budget
from lightning_landscape.callbacks.diagnosis.part import Part
from lightning_landscape.callbacks.diagnosis.parts import parts_of_run
from lightning_landscape.callbacks.lifecycle import counts_batches, end_of_run, present_step
from lightning_landscape.callbacks.probes.wide_networks.tangent_kernel import OutputFn
from lightning_landscape.callbacks.view import LossFn, View
from lightning_landscape.errors import require
from lightning_landscape.results.diagnosis import Verdict, page, verdicts
from lightning_landscape.results.exact import with_exact

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["Diagnosis", "left_out", "records_of"]


class Diagnosis(Checked, Callback):
    """Say at the end of a training where it stands: against which bounds, and what to do.

    One callback in anyone's project:

        trainer = Trainer(callbacks=[Diagnosis()])

    It adds probes to the run, each of which writes its own record, and ends with a table:
    question, measured (error), bound, where it stands, what to do. Its questions are those of

    - `EdgeOfStability`: is the learning rate near the edge, and for single batches?
    - `StepNoise`, or `GradientNoise` where a step has one batch: is the batch larger than useful,
      and how hot is it?
    - `Stationarity`: is the run stationary?
    - `GapDistribution`: is the network over-parametrized (quadratic hinge)?
    - `Criticality`: does the signal get through at initialization?
    - `ClassBalance`: are classes treated alike, at initialization and in training?

    "cannot tell" is a verdict: where the error bar spans a bound there is no other. What cannot be
    measured, or not within ``max_share``, is left out, and said below the table. The trajectory is
    that of the run without it, bit for bit; see `Probe` for what a probe promises.

    Args:
        max_share: time of the diagnosis over that of the run without it. Looks are planned by
            their number of gradients, which depends on the configuration only, and thinned where
            the clock says that they cost more; a third of a second of them, and as much to write
            records, is allowed in any run. Theory and figures are left to ``report``.
        loss_fn: the energy of a foreign module, ``loss_fn(pl_module, batch)``; see `View`.
        data: of a foreign project, what the sharpness is measured on: a DataLoader, or ``"train"``
            or ``"val"``; None is the current batch.
        output_fn: the scores of the classes of a foreign module, ``output_fn(pl_module, inputs)``;
            None calls the module with the first tensor of the batch.

    Attributes:
        verdicts: the rows of the table, after the run.
        left_out: what was not measured, and why.

    Raises:
        UsageError: ``max_share`` is not positive.
    """

    def __init__(
        self,
        max_share: float = 0.05,
        loss_fn: LossFn | None = None,
        data: Data | None = None,
        output_fn: OutputFn | None = None,
    ) -> None:
        from xarray import Dataset

        Dataset({"loaded": 0})  # xarray loads its parts with the first, a second: before the run
        super().__init__()
        require(max_share > 0, "max_share", max_share, "must be greater than 0")
        self.max_share, self.loss_fn, self.data = max_share, loss_fn, data
        self.output_fn = output_fn
        self.verdicts: list[Verdict] = []
        self.left_out: list[str] = []
        self._parts: list[Part] = []

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Add the probes, once for each Trainer."""
        if stage != "fit" or any(part in trainer.callbacks for part in self._parts):
            return
        self._parts = parts_of_run(self.max_share, self.loss_fn, self.data, self.output_fn)
        trainer.callbacks.extend(self._parts)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock, before the probes begin."""
        foreign = View(pl_module, None, 0).landscape is None
        by_batches = foreign and counts_batches(trainer, pl_module)
        first, end = present_step(trainer, by_batches), end_of_run(trainer, by_batches)
        budget = Budget(self.max_share, self._parts, first, end)
        for part in self._parts:
            part.time_budget = budget

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Print the table."""
        self.verdicts = verdicts(records_of(self._parts, theory=False))
        self.left_out = left_out(self._parts)
        if trainer.is_global_zero:
            rank_zero_info("\n%s", page(self.verdicts, self.left_out))


def records_of(parts: Sequence[Part], theory: bool = True) -> dict[str, Dataset]:
    """Return what probes have measured, by kind; with ``theory`` beside it, which takes seconds."""
    measured = [p for p in parts if p.measured_step >= 0 and "step" in p.results]
    records = [p.dataset().assign_attrs(p.attributes) for p in measured]
    return {record.attrs["probe"]: with_exact(record) if theory else record for record in records}


def left_out(parts: Sequence[Part]) -> list[str]:
    """Return the questions that probes could not answer, and why."""
    return [f"{part.question} {part.said}" for part in parts if part.said]
