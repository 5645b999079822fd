"""TemperatureFluctuations: the energy at every step, and the curvature where it goes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.probes.fluctuations.look import (
    PRODUCTS,
    batch_temperature,
    batches_that_heat,
    departure,
    displacements,
    look,
)
from lightning_landscape.callbacks.probes.fluctuations.record import (
    fluctuation_record,
    invalid_rungs,
)
from lightning_landscape.callbacks.probes.fluctuations.step_energies import StepEnergies
from lightning_landscape.callbacks.times import affordable
from lightning_landscape.callbacks.view import EnergyFn, View
from lightning_landscape.clock import log_times
from lightning_landscape.errors import UsageError, require
from lightning_landscape.observables.accumulators.series import EnergySeries

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["TemperatureFluctuations"]

_SERIES = "series."

logger = logging.getLogger(__name__)


class TemperatureFluctuations(Probe):
    r"""Measure how U fluctuates at temperature T, and the curvature of where it goes.

    From ``equilibration`` to ``last`` it takes in the energy of every step: moments, histogram of
    U/T, power spectrum, autocorrelation time and drift over the window, see `EnergySeries`, and
    with them the dimensions 2 <U - U_min>/T, 2 Var U/T^2 and 2 d<U>/dT. At evenly spaced times of
    the window: the whole <U>, |grad U|^2, tr H, the leading eigenvalues, how many data are near
    the boundary and how many carry the energy, see `active_data`, and a sketch of the weights for
    the participation ratio of their covariance. At logarithmic lags: the displacement since
    ``equilibration`` along the k stiffest directions there and along k random ones orthogonal to
    them.

    The guard is `configurational_temperature_ratio`: <|grad U|^2> = T <tr H> in any equilibrium.
    Where it is off by more than 10 % and three errors, or high by 30 %, a warning says that the
    step size has invalidated the sampler. T is that of the dynamics, a number or one for each
    replica; replicas of equal T are averaged. Where it has none but draws mini-batches,
    T = lr D / 2 of plain SGD is measured at every look, see `GradientNoise`, and the mean over
    looks and replicas is the T of the record.

    With mini-batches the energy of a step is that of its batch; <U> and Var U of the record are
    then those of the whole energy at the looks. In a foreign project the energy of a step is the
    loss that ``training_step`` returns; where it returns none, or with a ``loss_fn``, the energy of
    `View` on the current batch is evaluated after one step in 20, and times are counted in those.

    Cost: of a step, 3 us for one replica and 5 us for 64. Of a look, ``random_vectors`` + 20 k
    products at most, 1.5 gradients each; if all looks together would exceed ``max_share`` of the
    gradients of the run, some are left out, as `HessianSpectrum` does. Memory: 2 k + 1
    configurations and 10 000 numbers for each replica.

    Args:
        equilibration: when the window begins (the step size times the number of steps; in
            a foreign project, or where replicas differ in step size, the number of steps).
        last: when it ends.
        measurements: how many looks at the curvature; at least 4 for a participation ratio.
        k: leading eigenvalues.
        random_vectors: how many for the trace, at least 2.
        segment: of the power spectrum, in steps, even.
        lowest_energy: U_min: 0 for a loss that the network can fit, see `dimension.from_mean`.
        boundary: data within this margin of the decision boundary are counted.
        temperature: T, where the module does not say.
        max_share: cost of all looks over that of the run; inf for no limit.
        loss_fn: the energy of a foreign module, ``loss_fn(pl_module, batch)``; see `View`.
        name, strict: see `Probe`.

    Raises:
        UsageError: an argument is out of range, or the temperature changes within the window.

    Source: Jules et al. 2023, arXiv:2304.01335.
    """

    def __init__(
        self,
        equilibration: float = 1_000,
        last: float = 10_000,
        measurements: int = 20,
        k: int = 3,
        random_vectors: int = 10,
        segment: int = 1024,
        lowest_energy: float = 0.0,
        boundary: float = 1.0,
        temperature: float | None = None,
        max_share: float = 0.05,
        loss_fn: EnergyFn | None = None,
        **options: Any,
    ) -> None:
        super().__init__(None, loss_fn, **options)
        require(equilibration >= 0, "equilibration", equilibration, "must be 0 or later")
        later = f"must be later than equilibration = {equilibration}"
        require(last > equilibration, "last", last, later)
        require(measurements >= 1, "measurements", measurements, "must be at least 1")
        require(k >= 1, "k", k, "must be at least 1")
        several = "must be at least 2, for error bars"
        require(random_vectors >= 2, "random_vectors", random_vectors, several)
        even = segment >= 4 and segment % 2 == 0
        require(even, "segment", segment, "must be even and at least 4")
        require(boundary > 0, "boundary", boundary, "must be greater than 0")
        require(max_share > 0, "max_share", max_share, "must be greater than 0")
        self.equilibration, self.last, self.measurements = equilibration, last, measurements
        self.k, self.random_vectors, self.segment = k, random_vectors, segment
        self.lowest_energy, self.boundary = lowest_energy, boundary
        self.temperature, self.max_share = temperature, max_share
        self.series: EnergySeries | None = None

    # when

    def events(self, time_step: float) -> list[int]:
        """Return the steps of looks and of lags."""
        begin, end = round(self.equilibration / time_step), round(self.last / time_step)
        require(end > begin, "last", self.last, "must be at least a step after equilibration")
        self._window = range(begin, end)
        self._looks = {int(s) for s in np.linspace(begin, end, self.measurements + 1).round()[1:]}
        self._lags = {begin + round(lag) for lag in log_times(1, end - begin, per_decade=8)}
        return sorted({begin} | self._looks | self._lags)

    def afford(self, steps: list[int], view: View, end: float) -> list[int]:
        """Return ``steps`` without the looks that would exceed ``max_share`` of the run's cost."""
        reached = sorted(step for step in self._looks if step <= end)
        run = min(float(end), steps[-1])
        each = self._products * view.product_cost
        each *= view.steps_per_gradient
        most = affordable(self, len(reached), self.max_share, run, each)
        spread = np.linspace(0, len(reached), most + 1).round().astype(int)[1:] - 1
        self._looks = {reached[k] for k in spread} if reached else set()
        return [s for s in steps if s in self._looks | self._lags | {self._window.start}]

    @property
    def _products(self) -> int:
        """Products of the Hessian that a look takes, at most."""
        return self.random_vectors + PRODUCTS * self.k

    def begin(self, trainer: Any, pl_module: Any) -> None:
        """Count the window in steps, and go on with the series of a checkpoint."""
        super().begin(trainer, pl_module)
        self._energies = StepEnergies(trainer.global_step, self.loss_fn is not None)
        state = {
            name.removeprefix(_SERIES): value
            for name, value in self.results.items()
            if name.startswith(_SERIES)
        }
        self.series = EnergySeries(self._units(), self.segment, state) if state else None

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take in the energies of the steps since the last batch, and measure where it is due."""
        if self.active and self.has_begun:
            with self.timed(), self.caught(trainer, pl_module):
                view = self.view(trainer, pl_module, batch, batch_idx)
                self._take_in(view, trainer, outputs)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def _take_in(self, view: View, trainer: Any, outputs: Any) -> None:
        values = self._energies.take(view, trainer, outputs, self._window)
        if values is not None:
            first = view.step - len(values)
            begin = max(self._window.start - first, 0)
            inside = values[begin : max(self._window.stop - first, 0)]
            if len(inside):
                self._watch(view, inside)

    def _watch(self, view: View, values: Tensor) -> None:
        if self.series is None:
            self.results["temperature"] = self._first_temperatures(view)
            self.results["every"] = torch.tensor(self._energies.every)
            self.series = EnergySeries(self._units(), self.segment)
            state: dict[str, Any] = dict(self.series.metric_state)
            self.results |= {_SERIES + name: x for name, x in state.items()}
        self.series.add(values.double().cpu())

    def _temperatures(self, view: View) -> Tensor:
        T = view.temperature if self.temperature is None else self.temperature
        return torch.as_tensor(T).double().cpu().expand(view.shape[0]).clone()

    def _first_temperatures(self, view: View) -> Tensor:
        if self.temperature is not None or batches_that_heat(view) is None:
            return self._temperatures(view)
        with view.measuring():
            return batch_temperature(view).mean().expand(view.shape[0]).clone()

    def _units(self) -> Tensor:
        T = self.results["temperature"]
        return torch.where(T > 0, T, 1.0)

    # what

    def describe(self, view: View) -> dict[str, Any]:
        """Return what the record says of the run and of its dynamics."""
        rates = view.step_sizes
        known = {} if rates is None else {"lr": torch.as_tensor(rates).double().tolist()}
        mini_batches = {"mini_batches": int(view.batches is not None)}
        exchanges = {"exchanges": int("exchange" in view.rates)}
        return super().describe(view) | known | mini_batches | exchanges

    def prepare(self, view: View) -> str:
        """Start empty tables, and say what a measurement costs."""
        R, N = view.shape
        require(self.k <= N, "k", self.k, f"must be at most N = {N}")
        self.results = {name: torch.empty(0, dtype=torch.int64) for name in ("step", "lag_step")}
        kept = (2 * self.k + 1) * R * N * view.parameters()[0].element_size()
        return (
            f"at most {len(self._looks)} times {self._products} products; {kept / 1e6:.3g} MB of "
            "directions in each checkpoint"
        )

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Look at the curvature and at the displacement, as far as they are due."""
        self._require_one_temperature(view)
        if not view.configuration().isfinite().all():
            logger.warning("%s: step %d: a parameter is not finite", self.name, view.step)
            return {}
        scalars = {}
        if self._window.start in due:
            self.results |= departure(view, self.k)
        elif "origin" in self.results and self._lags & set(due):
            self.append(view, displacements(view, self.results), step="lag_step")
        if self._looks & set(due):
            row = look(view, self.k, self.random_vectors, self.boundary)
            self.append(view, row)
            scalars = {k: v.mean().item() for k, v in row.items() if v.ndim == 1}
        return scalars

    def _require_one_temperature(self, view: View) -> None:
        before = self.results.get("temperature")
        given = self.temperature is not None or batches_that_heat(view) is None
        if given and before is not None and not torch.equal(before, self._temperatures(view)):
            raise UsageError(
                f"equilibration = {self.equilibration}: the temperature still changes after it, so "
                "there is no equilibrium to measure; let the window begin when it is constant"
            )

    # where

    def recorded_attributes(self) -> dict[str, Any]:
        """The temperature is that of the window, not that of the approach to it."""
        known = self.results.get("temperature")
        window = {} if known is None else {"temperature": known.tolist()}
        return {**super().recorded_attributes(), **window}

    def dataset(self) -> Dataset:
        """Return what was measured, by replica, and the numbers of each temperature (rung)."""
        tables = {k: v for k, v in self.results.items() if not k.startswith(_SERIES)}
        tables |= self.series.results() if self.series is not None else {}
        return fluctuation_record(tables, self.attributes, self.lowest_energy)

    def finish(self, trainer: Any, pl_module: Any) -> None:
        """Write the final record, and warn where the step size has invalidated the sampler."""
        super().finish(trainer, pl_module)
        if trainer.is_global_zero:
            for T, ratio, error in invalid_rungs(self.dataset()):
                logger.warning(
                    "%s: T = %g: <|grad U|^2> is %.3g +- %.2g times T <tr H>, so this is not the "
                    "state exp(-U/T): lower lr, wait longer, or use larger batches",
                    self.name,
                    T,
                    ratio,
                    error,
                )
