"""Probe: a Lightning callback that measures at given times and never changes the trajectory."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from lightning_landscape import records
from lightning_landscape.callbacks._lightning import Callback
from lightning_landscape.callbacks.times import Times, axis
from lightning_landscape.callbacks.view import LossFn, View
from lightning_landscape.clock import next_event
from lightning_landscape.parallel import Reduction

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["Probe"]

_SECONDS_BETWEEN_WRITES = 60.0

logger = logging.getLogger(__name__)


class Probe(Callback):
    """Base class of the probes: when to measure, isolation, state, writing.

    A probe belongs in the ``callbacks`` of any Trainer, of `pytorch_lightning` or of
    `lightning.pytorch`. It measures when the optimizer has done the steps that its times name
    (0 included), keeps its results as tensors in ``results``, which travel in the checkpoint, and
    writes them as one record, ``<log_dir>/probes/<name>.nc``, with its figure; scalars go to all
    loggers at the optimizer step. Every rank of a distributed run measures; rank zero writes. At
    the end of the run it reports the time that it took.

    A subclass declares the tables of its record as ``dims`` and gives `prepare` and `measure`,
    which appends a row to them. Its times are ``times``, or those of its own `events`.

    Args:
        times: when to measure; None for a subclass with its own `events`.
        loss_fn: the energy of a foreign module, ``loss_fn(pl_module, batch)``; see `View`.

    Attributes:
        dims: the dimensions of each table of ``results`` that goes into the record, by its name;
            other results are state. Tables along ``t`` have a row for each measurement.
        variable_attributes: what the record says of a variable, by its name: ``units``,
            ``long_name``.
        reductions: how a value in a row that was measured on the batch of one rank becomes that of
            all ranks: ``sum``, ``mean``, ``max`` or ``gather``; see `View.reduce`. Others are
            recorded as rank zero has them.
        reference: the paper that the record names.
    """

    dims: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    variable_attributes: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    reductions: ClassVar[Mapping[str, Reduction]] = {}
    reference: ClassVar[str] = ""

    def __init__(self, times: Times | None = None, loss_fn: LossFn | None = None) -> None:
        super().__init__()
        self.times, self.loss_fn = times or Times(()), loss_fn
        self.results: dict[str, Tensor] = {}
        self.attributes: dict[str, Any] = {}
        self.measured_step = -1
        self.seconds = 0.0
        self._started_at = 0.0
        self._steps: list[int] = []
        self._written_at = 0.0
        self._directory: Path | None = None

    # what a subclass gives

    def events(self, time_step: float) -> list[int]:
        """Return the steps, sorted, at which to measure, where a step lasts ``time_step``."""
        return self.times.steps(time_step)

    def prepare(self, view: View) -> str:
        """Check the run, allocate ``results`` and return what it will cost, in a few words.

        Called before the first step, and not on resume.

        Raises:
            UsageError: the run cannot be measured by this probe.
        """
        raise NotImplementedError

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Measure into ``results``; the scalars that are returned go to the loggers.

        Args:
            view: the run at this moment.
            due: the steps of `events` that have been reached since the last measurement.
        """
        raise NotImplementedError

    def describe(self, view: View) -> dict[str, Any]:
        """Return what the record says of the run; a subclass adds what its readers need."""
        R, N = view.shape
        described = {
            "probe": type(self).__name__,
            "N": N,
            "replicas": R,
            "time_step": view.time_step,
        }
        if view.landscape is not None:
            described |= {"extensive": int(view.landscape.extensive), **view.landscape.reference()}
            described["energy"] = type(view.landscape).__name__
        described["temperature"] = torch.as_tensor(view.temperature).double().tolist()
        described["temperature_is_constant"] = int(view.temperature_is_constant)
        return described

    def dataset(self) -> Dataset:
        """Return the tables that ``dims`` declares, along the times of measurement ``t``."""
        from xarray import Dataset

        variables = {
            name: (self.dims[name], value.numpy(), self.variable_attributes.get(name, {}))
            for name, value in self.results.items()
            if name in self.dims
        }
        t = axis("t", self.results["step"].numpy(), self.attributes["time_step"])
        attributes = {"reference": self.reference} if self.reference else {}
        return Dataset(variables, coords=t, attrs=attributes)

    # when

    def afford(self, steps: list[int], view: View, end: float) -> list[int]:
        """Return those of ``steps`` at which to measure in a run of ``end`` steps; all of them.

        A probe that is expensive leaves some out. What it leaves out must depend on the run's
        configuration only, or a resumed run would end with another record.
        """
        return steps

    @property
    def name(self) -> str:
        """The name of the record: the class name in lower case with underscores."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    def next_event(self, step: int) -> int | None:
        """Return the first step after ``step`` at which this probe measures, or None."""
        return next_event(self._steps, step)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Count the times in steps of this run and check that it can be measured."""
        view = View(pl_module, None, trainer.global_step, self.loss_fn)
        end = trainer.estimated_stepping_batches
        self._steps = self.afford(self.events(view.time_step), view, end)
        self._directory = Path(trainer.log_dir) / "probes" if trainer.log_dir else None
        self._written_at = time.monotonic()
        self._started_at, self.seconds = time.perf_counter(), 0.0
        self.attributes = self.describe(view)
        if not self.results:
            cost = self.prepare(view)
            if trainer.is_global_zero:
                logger.info("%s: %s", self.name, cost)

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure at time 0, before the first step."""
        if self.measured_step < 0 and trainer.global_step == 0 and self._steps[:1] == [0]:
            self._measure_now(trainer, View(pl_module, batch, 0, self.loss_fn))

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure if the step has advanced to or past an event."""
        event = self.next_event(self.measured_step)
        if event is not None and trainer.global_step >= event:
            view = View(pl_module, batch, trainer.global_step, self.loss_fn)
            self._measure_now(trainer, view)

    def _measure_now(self, trainer: Any, view: View) -> None:
        with self.timed():
            # several events at once only where one batch makes several steps
            due = [step for step in self._steps if self.measured_step < step <= view.step]
            scalars = self.measure(view, due)
            self.measured_step = view.step
            for run_logger in trainer.loggers if scalars else []:
                # not self.log: Lightning drops what falls between its own logging intervals
                run_logger.log_metrics(scalars, step=view.step)
            if time.monotonic() - self._written_at > _SECONDS_BETWEEN_WRITES:
                self.write(trainer)

    def start(self, view: View, *names: str) -> None:
        """Start empty tables of one number per replica, (t, R), in float64, and their ``step``."""
        R = view.shape[0]
        self.results = {"step": torch.empty(0, dtype=torch.int64)}
        self.results |= {name: torch.empty(0, R, dtype=torch.float64) for name in names}

    def append(self, view: View, row: Mapping[str, Tensor], step: str = "step") -> None:
        """Append a row and its step to the tables of ``results``; a missing one starts with it.

        Args:
            view: the run at this moment.
            row: values by the name of the table, as measured on this rank, see ``reductions``.
            step: the name of the table of steps.
        """
        steps = {step: torch.tensor(view.step)}
        for name, value in (steps | dict(row)).items():
            how = self.reductions.get(name)
            entry = (value if how is None else view.reduce(value, how))[None]
            self.results[name] = torch.cat([self.results.get(name, entry[:0]), entry])

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count what is done inside as time that the probe has cost."""
        start, before = time.perf_counter(), self.seconds
        yield
        # not added to self.seconds, which has grown already where one is inside the other
        self.seconds = before + time.perf_counter() - start

    # where

    def write(self, trainer: Any, final: bool = False) -> None:
        """Write the record, atomically, and log its figure; rank zero only.

        The final record also has the exact curves, where theory knows them.
        """
        self._written_at = time.monotonic()
        if self._directory is None or not trainer.is_global_zero or not self.results:
            return
        from lightning_landscape.results.copies import mean_of_copies
        from lightning_landscape.results.exact import with_exact
        from lightning_landscape.results.figures import publish
        from lightning_landscape.results.registry import guarded

        dataset = mean_of_copies(self.dataset().assign_attrs(self.recorded_attributes()))
        if final:
            dataset = with_exact(dataset)
        path = self._directory / f"{self.name}.nc"
        records.write(dataset, path)
        with guarded(dataset, "figure"):
            publish(dataset, path, trainer.loggers, self.measured_step, final)

    def recorded_attributes(self) -> dict[str, Any]:
        """Return the attributes of the record: what `describe` said, and the configuration file."""
        assert self._directory is not None
        config = self._directory.parent / "config.yaml"
        known = {"config": config.read_text()} if config.is_file() else {}
        return {**self.attributes, **known}

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the final record and say what share of the run's time the probe has taken."""
        with self.timed():
            self.write(trainer, final=True)
        if trainer.is_global_zero:
            share = self.seconds / (time.perf_counter() - self._started_at)
            logger.info("%s: %.3g s, %.2g %% of the run", self.name, self.seconds, 100 * share)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Write what was measured before the run failed or was interrupted."""
        self.write(trainer)

    # state

    def state_dict(self) -> dict[str, Any]:
        """Return everything that an exact resume needs."""
        return {"results": self.results, "measured_step": self.measured_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from ``state_dict``."""
        self.results = state_dict["results"]
        self.measured_step = state_dict["measured_step"]
