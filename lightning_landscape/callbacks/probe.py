"""Probe: a Lightning callback that measures at given times and never changes the trajectory."""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_info
from torch import Tensor

from lightning_landscape import records
from lightning_landscape.arguments import Checked
from lightning_landscape.callbacks._lightning import Callback
from lightning_landscape.callbacks.failures import Failsafe
from lightning_landscape.callbacks.identity import Identity, require_file_name
from lightning_landscape.callbacks.isolation import keep
from lightning_landscape.callbacks.lifecycle import (
    counts_batches,
    end_of_run,
    has_lazy_parameters,
    present_step,
)
from lightning_landscape.callbacks.places import claimed_folder, log_scalars, logged_folder
from lightning_landscape.callbacks.times import Times, axis
from lightning_landscape.callbacks.view import EnergyFn, View
from lightning_landscape.clock import next_event
from lightning_landscape.errors import UsageError, require
from lightning_landscape.parallel import Reduction

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["Probe"]

_SECONDS_BETWEEN_WRITES = 60.0
logger = logging.getLogger(__name__)


class Probe(Identity, Failsafe, Checked, Callback):
    """Base class of the probes: when to measure, isolation, state, writing.

    A probe belongs in the ``callbacks`` of any Trainer, of `pytorch_lightning` or of
    `lightning.pytorch`. It measures when the optimizer has done the steps that its times name
    (0 included), keeps its results as tensors in ``results``, which travel in the checkpoint, and
    writes them as one record, ``<log_dir>/probes/<name>.nc``, with its figure; scalars go to all
    loggers at the optimizer step, as ``<name>/<scalar>``. Without a logger ``<log_dir>`` is
    ``<default_root_dir>/landscape_logs/version_k``, with a k of its own for each run.
    Every rank of a distributed run measures; rank zero writes. At the end of the run it reports
    the time that it took, and where the record is.

    A probe never ends a run. What it cannot measure it says in one sentence; then it writes what
    it has and switches itself off. A step whose ``training_step`` returns None has no energy: its
    time is left out, with a sentence at the first. In a run of ours a `UsageError`, which means a
    wrong configuration or misused physics, is raised all the same.

    A second run starts anew, with the settings that the probe was made with, unless it continues
    the first: the same Trainer, or one with a checkpoint. Times before the step at which a probe
    joins a run are missing in its record. Where a module with several optimizers steps them
    itself, time counts training batches, because the optimizers' steps are several a batch.

    A subclass declares the tables of its record as ``dims`` and gives `prepare` and `measure`,
    which appends a row to them. Its times are ``times``, or those of its own `events`.

    Args:
        times: when to measure; None for a subclass with its own `events`.
        loss_fn: the energy of a foreign module, ``loss_fn(pl_module, batch)``; see `View`.
        name: of the record and of the scalars, and of the state in a checkpoint; None takes that
            of the class, with a number where a Trainer has several.
        strict: whether to raise what would switch the probe off.

    Attributes:
        active: False once the probe has switched itself off.
        dims: the dimensions of each table of ``results`` that goes into the record, by its name;
            other results are state. Tables along ``t`` have a row for each measurement.
        variable_attributes: what the record says of a variable, by its name: ``units``,
            ``long_name``.
        reductions: how a value in a row that was measured on the batch of one rank becomes that of
            all ranks: ``sum``, ``mean``, ``max`` or ``gather``; see `View.reduce`. Others are
            recorded as rank zero has them.
        reference: the paper that the record names.
        memory: bytes that it will keep beside its tables, at most; set by `prepare`.

    Raises:
        UsageError: the name is not one of a file, or ``loss_fn`` is no function.
    """

    dims: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    variable_attributes: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    reductions: ClassVar[Mapping[str, Reduction]] = {}
    reference: ClassVar[str] = ""
    memory: float = 0.0

    def __init__(
        self,
        times: Times | None = None,
        loss_fn: EnergyFn | None = None,
        *,
        name: str | None = None,
        strict: bool = False,
    ) -> None:
        super().__init__()
        require_file_name(name)
        required = 'must be a function of (pl_module, batch), "energy", or None'
        measurable = loss_fn is None or loss_fn == "energy" or callable(loss_fn)
        require(measurable, "loss_fn", loss_fn, required)
        self.times, self.loss_fn, self.strict = times or Times(()), loss_fn, strict
        self.results: dict[str, Tensor] = {}
        self.attributes: dict[str, Any] = {}
        self.measured_step = -1
        self.seconds = 0.0
        self.active = True
        self._name, self._number = name, 1
        self._settings: dict[str, str] = {}
        self._pristine: dict[str, Any] = {}
        self._changed = ""  # the settings that a checkpoint has otherwise
        self.has_begun = self._has_skipped = self._by_batches = False
        self._agreed = True
        self._started_at = 0.0
        self._steps: list[int] = []
        self._written_at = 0.0
        self._directory: Path | None = None
        self._is_unnumbered = False
        self._record: Path | None = None

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

        A probe that is expensive leaves some out, or all, and says so. What it leaves out must
        depend on the run's configuration only, or a resumed run would end with another record.

        Args:
            steps: what `events` gave.
            view: the run at its start.
            end: the last step; inf where it is not known.
        """
        return steps

    def next_event(self, step: int) -> int | None:
        """Return the first step after ``step`` at which this probe measures, or None."""
        return next_event(self._steps, step) if self.active else None

    def begin(self, trainer: Any, pl_module: Any) -> None:
        """Count the times in steps of this run and check that it can be measured.

        A subclass may extend it, and `finish`: what they raise does not end a run.
        """
        view = self.view(trainer, pl_module)
        if self._changed:
            self._refuse_or_say_changed(view)
        end = end_of_run(trainer, self._by_batches)
        self._steps = self.afford(self.events(view.time_step), view, end)
        self.attributes = self.describe(view)
        beyond = sum(step > end for step in self._steps)
        if beyond and trainer.is_global_zero:
            said = "%s: %d of its %d times lie beyond the last step of the run, %d"
            logger.info(said, self.name, beyond, len(self._steps), end)
        if not self.results:
            cost = self.prepare(view)
            if trainer.is_global_zero:
                logger.info("%s: %s", self.name, cost)
        self._skip_the_past(view.step)
        self.has_begun = True

    def finish(self, trainer: Any, pl_module: Any) -> None:
        """Write the final record."""
        self.write(trainer, final=True)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin; where parameters are still lazy, after the first batch."""
        self.active, self.has_begun = True, False
        self._started_at, self.seconds = time.perf_counter(), 0.0
        self._written_at = time.monotonic()
        self._kept_batch: Any = None
        foreign = View(pl_module, None, 0).landscape is None
        self._by_batches = foreign and counts_batches(trainer, pl_module)
        self._directory = logged_folder(trainer)
        self._is_unnumbered = not trainer.loggers
        alike = [p for p in trainer.callbacks if isinstance(p, Probe) and p._stem == self._stem]
        self._number = alike.index(self) + 1
        if not has_lazy_parameters(pl_module):
            with self.caught(trainer, pl_module):
                self.begin(trainer, pl_module)

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure at time 0, before the first step, or where a run goes on at an event."""
        step = present_step(trainer, self._by_batches)
        if self.has_begun and self.next_event(self.measured_step) == step:
            view = self.view(trainer, pl_module, batch, batch_idx)
            self._measure_now(trainer, pl_module, view, early=True)
        event = self.next_event(self.measured_step)
        due = self.has_begun and self.active and event is not None and event <= step + 1
        # the training step may write into its batch, or take something out of it
        self._kept_batch = None
        if due:
            with self.caught(trainer, pl_module):
                self._kept_batch = keep(batch)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure if the step has advanced to or past an event."""
        if not self.has_begun and self.active:
            with self.caught(trainer, pl_module):
                self.begin(trainer, pl_module)
        event = self.next_event(self.measured_step)
        if event is not None and present_step(trainer, self._by_batches) >= event:
            batch = batch if self._kept_batch is None else self._kept_batch
            view = self.view(trainer, pl_module, batch, batch_idx)
            self._measure_now(trainer, pl_module, view)

    def _measure_now(self, trainer: Any, pl_module: Any, view: View, early: bool = False) -> None:
        # several events at once only where one batch makes several steps
        first, last = (bisect_right(self._steps, k) for k in (self.measured_step, view.step))
        due = self._steps[first:last]
        with self.timed(), self.caught(trainer, pl_module, early):
            self._require_same_parameters(view)
            scalars = self.measure(view, due)
            self.measured_step = view.step
            self.log_scalars(trainer, scalars)
            if time.monotonic() - self._written_at > _SECONDS_BETWEEN_WRITES:
                self.write(trainer)
        # where there was no energy too: the time is over
        self.measured_step = view.step

    def log_scalars(self, trainer: Any, scalars: Mapping[str, float]) -> None:
        """Give scalars to all loggers, as ``<name>/<scalar>``, at the optimizer step."""
        named = {f"{self.name}/{name}": value for name, value in scalars.items()}
        probes = [callback for callback in trainer.callbacks if isinstance(callback, Probe)]
        log_scalars(trainer, named, self.attributes.get("time_step", 1.0), probes)

    def view(self, trainer: Any, pl_module: Any, batch: Any = None, batch_idx: int = 0) -> View:
        """Return the run at this moment."""
        step = present_step(trainer, self._by_batches)
        view = View(pl_module, batch, step, self.loss_fn, batch_idx)
        view.agree = self.agree
        return view

    def _require_same_parameters(self, view: View) -> None:
        before, now = self.attributes.get("N"), view.shape[1]
        if view.landscape is None and before is not None:
            remedy = "a parameter was frozen or unfrozen, so start another run there"
            require(now == before, "moving parameters", now, f"were {before} at the start", remedy)

    def _skip_the_past(self, step: int) -> None:
        """Leave out the times before ``step`` at which the probe was not there."""
        missed = [past for past in self._steps if self.measured_step < past < step]
        self.measured_step = max(self.measured_step, step - 1)
        if missed:
            self.warn(
                f"it joins the run at step {step}; the {len(missed)} of its times before that are "
                "not in the record"
            )

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
        self.agree()
        for name, value in {step: torch.tensor(view.step), **row}.items():
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
        nothing = not self.results or not self._steps
        if self._directory is None or not trainer.is_global_zero or nothing:
            return
        from lightning_landscape.results.copies import mean_of_copies
        from lightning_landscape.results.exact import with_exact
        from lightning_landscape.results.figures import publish
        from lightning_landscape.results.registry import guarded

        dataset = mean_of_copies(self.dataset().assign_attrs(self.recorded_attributes()))
        if final:
            dataset = with_exact(dataset)
        if self._is_unnumbered:
            self._directory, self._is_unnumbered = claimed_folder(trainer), False
        self._record = path = self._directory / f"{self.name}.nc"
        records.write(dataset, path)
        with guarded(dataset, "figure"):  # of two images of one step TensorBoard shows the first
            ends = not final and self.active and self.next_event(self.measured_step) is None
            publish(dataset, path, [] if ends else trainer.loggers, self.measured_step, final)

    def recorded_attributes(self) -> dict[str, Any]:
        """Return the attributes of the record: what `describe` said, and the configuration file."""
        assert self._directory is not None
        config = self._directory.parent / "config.yaml"
        known = {"config": config.read_text()} if config.is_file() else {}
        return {**self.attributes, **known}

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Finish, and say what share of the run's time the probe has taken."""
        if self.active:
            with self.timed(), self.caught(trainer, pl_module):
                self.finish(trainer, pl_module)
        if trainer.is_global_zero:
            share = 100 * self.seconds / (time.perf_counter() - self._started_at)
            sentence = f"{self.name}: {self.seconds:.3g} s, {share:.2g} % of the run"
            record = f"; record in {self._record}" if self._record else ""
            ours = View(pl_module, None, 0).landscape is not None
            (logger.info if ours else rank_zero_info)(sentence + record)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Write what was measured before the run failed or was interrupted."""
        self._write_or_say(trainer)

    def _refuse_or_say_changed(self, view: View) -> None:
        sentence = f"its settings have changed on resume: {self._changed}"
        if self.strict or view.landscape is not None:
            raise UsageError(f"{self.name}: {sentence}; give it those of the checkpoint")
        self.warn(f"{sentence}; it starts anew from here")
