"""LinearResponse and FieldResponse: integrated response and correlation on a log grid."""

from __future__ import annotations

from typing import Any

import torch

from lightning_landscape.callbacks.probes.aging import AgingCorrelation, empty
from lightning_landscape.callbacks.times import Times
from lightning_landscape.callbacks.view import View
from lightning_landscape.dynamics.samplers.langevin import Langevin
from lightning_landscape.energies.field import WithField
from lightning_landscape.errors import UsageError, require
from lightning_landscape.observables.correlation import (
    displacement,
    overlap,
    replica_overlaps,
)
from lightning_landscape.observables.response import field_response, noise_response

__all__ = ["FieldResponse", "LinearResponse"]


class LinearResponse(AgingCorrelation):
    r"""Measure the integrated response of a Langevin run without a field, with C and Delta.

        chi(tw + t, tw) = <[x(tw + t) - x(tw)] . S> / N

    with S the noise between the two times in units of force; see `observables.noise_response`,
    exact at every step size. The run is the one without the probe, bit for bit: the dynamics only
    adds up the noise that it draws anyway. Needs `Langevin` at T > 0, ours or in a foreign
    project; for any other optimizer, and at long times, where this estimate scatters, take
    `FieldResponse`.

    Cost: one multiply-add a parameter and step, and twice the memory of `AgingCorrelation`, whose
    C, Delta and overlaps are measured too.

    Args:
        waiting_times: tw >= 0 in physical time (the step size times the number of steps; in a
            foreign project the number of steps).
        first: shortest t > 0.
        last: longest t.
        per_decade: points in a factor of ten.
        temperature_changes: set it to True to measure across a change of temperature on purpose.
        name, strict: see `Probe`.

    Raises:
        UsageError: a time is out of range, the dynamics is not `Langevin` or has no noise, or the
            temperature changes during the run and ``temperature_changes`` is False.
    """

    reference = "Warren, Allen 2012, arXiv:1207.4691"

    def begin(self, trainer: Any, pl_module: Any) -> None:
        """Ask the dynamics to add up its noise, from where it was when the run stopped."""
        for optimizer in trainer.optimizers:
            _check_noise(optimizer)
        super().begin(trainer, pl_module)
        T = torch.as_tensor(trainer.optimizers[0].current_temperature)
        self.attributes["temperature"] = T.tolist()  # a foreign module does not tell
        view, first = View(pl_module, None, trainer.global_step), 0
        score = self.results["score"] = self.results["score"].to(view.parameters()[0].device)
        for p in view.parameters():
            part = score[:, first : first + p.numel() // len(score)]
            first += part.shape[1]
            for optimizer in trainer.optimizers:
                optimizer.scores[p] = part.view(p.shape)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the final record; the dynamics need not add up any more."""
        for optimizer in trainer.optimizers:
            if type(optimizer) is Langevin:
                optimizer.scores.clear()
        super().on_train_end(trainer, pl_module)

    def prepare(self, view: View) -> str:
        """Allocate the tables and the sum of the noise."""
        cost = super().prepare(view)
        self.results["chi"] = torch.full_like(self.results["C"], torch.nan)
        self.results["score"] = torch.zeros_like(view.configuration())
        return f"{cost}; and as many sums of the noise as snapshots"

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Compare position and noise with those that were kept, and take those that are due."""
        x, scalars = view.configuration(), {}
        for i, j in (pair for step in due for pair in self._pairs[step]):
            if self._snapshot(i) not in self.results:
                continue
            start, before = (self.results[f(i)].to(x.device) for f in (self._snapshot, self._score))
            chi = noise_response(x, start, self.results["score"] - before)
            self.results["chi"][i, j] = chi
            scalars[f"chi/tw={self.tw_steps[i] * view.time_step:g}"] = chi.mean().item()
        scalars |= super().measure(view, due)
        for i, tw_step in enumerate(self.tw_steps):
            if tw_step in due:
                self.results[self._score(i)] = self.results["score"].clone()
            elif self._snapshot(i) not in self.results:
                self.results.pop(self._score(i), None)
        return scalars

    def _score(self, i: int) -> str:
        return f"score/{self.tw_steps[i]}"


class FieldResponse(AgingCorrelation):
    r"""Measure the integrated response of twins in opposite fields, with C and Delta.

        chi(tw + t, tw) = (x_+ - x_-) . epsilon / (2 h N)   up to O(h^2), under any optimizer

    in a run whose energy is `energies.WithField`, which holds the waiting times and the field.
    C and Delta are those of the point midway between the twins, which is where they would be
    without a field, up to O(h^2) too. The replica axis of the record is that of the energy inside.

    Cost: one snapshot of a twin for each waiting time, and a few passes over the configurations at
    each measurement; that of the twins themselves is told there.

    Args:
        first: shortest t > 0.
        last: longest t.
        per_decade: points in a factor of ten.
        temperature_changes: set it to True to measure across a change of temperature on purpose.
        name, strict: see `Probe`.

    Raises:
        UsageError: a time is out of range, the energy is not `WithField`, or the temperature
            changes during the run and ``temperature_changes`` is False.
    """

    def __init__(
        self,
        first: float = 1,
        last: float = 10000,
        per_decade: int = 5,
        temperature_changes: bool = False,
        **options: Any,
    ) -> None:
        super().__init__([0], first, last, per_decade, temperature_changes, **options)

    def begin(self, trainer: Any, pl_module: Any) -> None:
        """Take the waiting times from the energy."""
        energy = _twins(View(pl_module, None, trainer.global_step))
        self.waiting_times = Times.at(energy.waiting_times, "waiting_times")
        super().begin(trainer, pl_module)

    def prepare(self, view: View) -> str:
        """Allocate the tables."""
        energy, times = _twins(view), len(self.tw_steps)
        apart = "must be a step apart"
        require(2 * times == energy.copies, "waiting_times", energy.waiting_times, apart)
        super().prepare(view)
        R = energy.replicas // energy.copies
        self.results = empty(self._shapes(R, "chi", "C", "MSD"))
        snapshots = times * R * energy.N * view.configuration().element_size()
        return f"{times} snapshots, {snapshots / 1e6:.3g} MB; {len(self._pairs)} measurements"

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Compare the twins of each waiting time with each other and with where they parted."""
        energy = _twins(view)
        twins = view.configuration().unflatten(0, (len(self.tw_steps), 2, -1))
        scalars = {}
        for i, j in (pair for step in due for pair in self._pairs[step]):
            if self._snapshot(i) not in self.results:
                continue
            start = self.results[self._snapshot(i)].to(twins.device)
            plus, minus = twins[i]
            middle = (plus + minus) / 2  # of each twin alone, Delta would grow by (h chi)^2
            row = {
                "chi": field_response(plus, minus, energy.signs, energy.field),
                "C": overlap(middle, start),
                "MSD": displacement(middle, start),
            }
            for name, values in row.items():
                self.results[name][i, j] = values
                tw = self.tw_steps[i] * view.time_step
                scalars[f"{name}/tw={tw:g}"] = values.mean().item()
        for i, tw_step in enumerate(self.tw_steps):
            if tw_step in due:
                self.results[self._snapshot(i)] = twins[i, 0].clone()
                self.results["overlap"][i] = replica_overlaps(twins[i, 0])
        return scalars


def _check_noise(optimizer: Any) -> None:
    remedy = "take WithField as the energy and FieldResponse as the probe"
    if type(optimizer) is not Langevin or optimizer.exchange is not None:
        raise UsageError(
            f"optimizer = {type(optimizer).__name__}: only the independent noises of Langevin "
            f"tell the response without a field; {remedy}"
        )
    T = torch.as_tensor(optimizer.current_temperature)
    if not (T > 0).all():
        raise UsageError(
            f"temperature = {T.tolist()}: there is no noise to tell the response by; {remedy}"
        )


def _twins(view: View) -> WithField:
    if not isinstance(view.landscape, WithField):
        raise UsageError(
            f"energy = {type(view.landscape or view.system).__name__}: FieldResponse measures "
            "twins in a field; put WithField around the energy, or take LinearResponse"
        )
    return view.landscape
