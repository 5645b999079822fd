"""Diagnosis: one callback that says where a training stands."""

from __future__ import annotations

from typing import Any

from pytorch_lightning.utilities.rank_zero import rank_zero_info

from lightning_landscape.callbacks._lightning import Callback
from lightning_landscape.callbacks.all_data import Data
from lightning_landscape.callbacks.diagnosis.edge import EdgeOfStability
from lightning_landscape.callbacks.lifecycle import counts_batches, end_of_run
from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.probes.gradient_noise import GradientNoise
from lightning_landscape.callbacks.probes.stationarity import Stationarity
from lightning_landscape.callbacks.times import Times
from lightning_landscape.callbacks.view import LossFn, View
from lightning_landscape.errors import require
from lightning_landscape.results.diagnosis import Verdict, table, verdicts

__all__ = ["Diagnosis"]

_GROUPS = 8  # mini-batches whose gradients the noise scale compares
_MOST_PAIRS = 400  # pairs of configurations one step apart


class Diagnosis(Callback):
    """Say at the end of a training where it stands: against which bounds, and what to do.

    One callback in anyone's project:

        trainer = Trainer(callbacks=[Diagnosis()])

    It adds probes to the run, each of which writes its own record, and ends with a table:
    question, measured (error), bound, where it stands, what to do. Its questions are those of

    - `EdgeOfStability`: is the learning rate near the edge, and for single batches?
    - `GradientNoise`: is the batch larger than useful, and how hot is it?
    - `Stationarity`: is the run stationary?

    "cannot tell" is a verdict: where the error bar spans a bound there is no other. What the run is
    too short to measure within ``max_share`` is left out, and said. The trajectory is that of the
    run without it, bit for bit; see `Probe` for what a probe promises.

    Args:
        max_share: gradients of all measurements over those of the run.
        loss_fn: the energy of a foreign module, ``loss_fn(pl_module, batch)``; see `View`.
        data: of a foreign project, what the sharpness is measured on: a DataLoader, or ``"train"``
            or ``"val"``; None is the current batch.

    Attributes:
        verdicts: the rows of the table, after the run.

    Raises:
        UsageError: ``max_share`` is not positive.
    """

    def __init__(
        self, max_share: float = 0.05, loss_fn: LossFn | None = None, data: Data | None = None
    ) -> None:
        super().__init__()
        require(max_share > 0, "max_share", max_share, "must be greater than 0")
        self.max_share, self.loss_fn, self.data = max_share, loss_fn, data
        self.verdicts: list[Verdict] = []
        self._probes: list[Probe] = []

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Add the probes, once for each Trainer."""
        if stage != "fit" or any(probe in trainer.callbacks for probe in self._probes):
            return
        self._probes = [
            EdgeOfStability(
                per_decade=4,
                max_share=0.6 * self.max_share,
                loss_fn=self.loss_fn,
                data=self.data,
                name="diagnosis_edge",
            ),
            _AffordableNoise(
                0.4 * self.max_share, loss_fn=self.loss_fn, name="diagnosis_gradient_noise"
            ),
            _PairsOfSteps(second=False, name="diagnosis_stationarity"),
        ]
        trainer.callbacks.extend(self._probes)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Print the table."""
        measured = [p for p in self._probes if p.active and p.measured_step >= 0]
        records = {p.attributes["probe"]: p.dataset().assign_attrs(p.attributes) for p in measured}
        self.verdicts = verdicts(records)
        if trainer.is_global_zero and self.verdicts:
            rank_zero_info("\n%s", table(self.verdicts))


class _AffordableNoise(GradientNoise):
    """The noise of gradients at as many of the last times as a share of the run pays for."""

    def __init__(self, max_share: float, **options: Any) -> None:
        super().__init__(per_decade=3, groups=_GROUPS, **options)
        self._share = max_share

    def afford(self, steps: list[int], view: View, end: float) -> list[int]:
        """Return the last of the times."""
        reached = [step for step in steps if step <= end]
        each = _GROUPS if view.landscape is None else 3 * view.steps_per_gradient
        most = int(self._share * min(end, max(reached, default=0)) / each)
        if reached and not most:
            self.warn(f"nothing is measured: the run is too short for {_GROUPS} gradients")
        return reached[-most:] if most else []

    def describe(self, view: View) -> dict[str, Any]:
        """Return what the record says of the run; it is one of gradient noise.

        In a foreign project a mini-batch is the unit of the noise scale, so it is that of B too.
        """
        described = super().describe(view) | {"probe": GradientNoise.__name__}
        if view.landscape is not None:
            return described
        return described | {"batch_size": view.batches_per_step, "batch_unit": "mini-batches"}


class _PairsOfSteps(Stationarity):
    """Stationarity at regular times that a run of any length can afford."""

    def begin(self, trainer: Any, pl_module: Any) -> None:
        """Choose the interval by the length of the run."""
        view = self.view(trainer, pl_module)
        by_batches = view.landscape is None and counts_batches(trainer, pl_module)
        end = end_of_run(trainer, by_batches)
        last = end * view.time_step if end < 1e9 else 1e4 * view.time_step
        interval = max(2 * view.time_step, last / _MOST_PAIRS)
        self.times = Times.every(interval, last, 0.0)
        super().begin(trainer, pl_module)

    def describe(self, view: View) -> dict[str, Any]:
        """Return what the record says of the run; it is one of stationarity."""
        return super().describe(view) | {"probe": Stationarity.__name__}
