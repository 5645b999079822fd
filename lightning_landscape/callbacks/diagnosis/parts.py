"""The probes of a diagnosis, each within a share of the run."""

from __future__ import annotations

import math
import time
from typing import Any, ClassVar

import torch

from lightning_landscape import records
from lightning_landscape.callbacks.all_data import Data
from lightning_landscape.callbacks.diagnosis.class_balance import ClassBalance
from lightning_landscape.callbacks.diagnosis.edge import EdgeOfStability
from lightning_landscape.callbacks.lifecycle import counts_batches, end_of_run
from lightning_landscape.callbacks.places import claimed_folder
from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.probes.gaps import GapDistribution
from lightning_landscape.callbacks.probes.gradient_noise import GradientNoise
from lightning_landscape.callbacks.probes.hessian import HessianSpectrum
from lightning_landscape.callbacks.probes.stationarity import Stationarity
from lightning_landscape.callbacks.probes.wide_networks.criticality import Criticality
from lightning_landscape.callbacks.probes.wide_networks.tangent_kernel import OutputFn
from lightning_landscape.callbacks.times import Times
from lightning_landscape.callbacks.view import LossFn, View
from lightning_landscape.energies.energy import HasGaps
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.errors import require
from lightning_landscape.results.copies import mean_of_copies

__all__ = ["Part", "parts_of_run", "parts_of_start"]

_GROUPS = 8  # mini-batches whose gradients the noise scale compares
_MOST_PAIRS = 400  # pairs of configurations one step apart
_PAIR = 0.5  # what one costs, in gradients
_FIRST = 20.0  # steps: random numbers and the certificate of a look at the sharpness
_LOOKS = 12  # at the end of the run, at most
_PRODUCTS = 15  # Hessian-vector products of a look at the sharpness, for each eigenvalue
_BUDGET: dict[str, Any] = {
    "k": 3,
    "random_vectors": 4,
    "steps": 15,
    "max_products": 60,
    "max_share": float("inf"),
}  # of the spectrum
_SHARES = {"edge": 0.35, "noise": 0.15, "classes": 0.15, "pairs": 0.2, "start": 0.1}
# of what all may cost; the rest is for what does not count in gradients: records, imports, hooks
_START = 2.0  # gradients: two evaluations with tangents
_CLASSES = 10  # of a look at the classes, in the estimate of its cost
_BACKWARD = 2 / 3  # gradients: what a class costs


class Part(Probe):
    """A probe as a part of a diagnosis: what it cannot measure is said beside the table.

    Attributes:
        question: what it is to answer.
        said: why it, or a part of it, was left out.
    """

    question: ClassVar[str]
    said: str = ""

    def warn(self, sentence: str) -> None:
        """Keep the last sentence for the page."""
        self.said = sentence.rpartition("and the run goes on: ")[2]

    def write(self, trainer: Any, final: bool = False) -> None:
        """Write the record. Theory and figures, which may cost more than a short run, are left.

        `report` adds them.
        """
        self._written_at = time.monotonic()
        measured = self.measured_step >= 0 and "step" in self.results
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


def parts_of_start(output_fn: OutputFn | None = None, loss_fn: LossFn | None = None) -> list[Part]:
    """Return the probes that measure a network before its first step."""
    return [
        _Start(math.inf, loss_fn, last=1, per_decade=1),
        _Guesses(output_fn=output_fn, name="diagnosis_classes", last=1, per_decade=1),
    ]


def parts_of_run(
    max_share: float,
    loss_fn: LossFn | None = None,
    data: Data | None = None,
    output_fn: OutputFn | None = None,
    start: bool = True,
) -> list[Part]:
    """Return the probes that measure in a run.

    Args:
        max_share: gradients of all of them over those of the run.
        loss_fn: the energy of a foreign module.
        data: of a foreign project, what the sharpness is measured on.
        output_fn: the scores of a foreign module.
        start: whether the run starts from an initial network; else the spectrum at its start is
            a part too.
    """
    edge = _Edge(
        max_products=_PRODUCTS,
        max_share=_SHARES["edge"] * max_share,
        loss_fn=loss_fn,
        data=data,
        name="diagnosis_edge",
    )
    noise = _Noise(_SHARES["noise"] * max_share, loss_fn=loss_fn, name="diagnosis_gradient_noise")
    classes = _Classes(
        _SHARES["classes"] * max_share, start, output_fn=output_fn, name="diagnosis_classes"
    )
    pairs = _Pairs(_SHARES["pairs"] * max_share, second=False, name="diagnosis_stationarity")
    initial = [_Start(_SHARES["start"] * max_share, loss_fn, last=1, per_decade=1)] if start else []
    found: list[Part] = [edge, noise, pairs, _Gaps(name="diagnosis_gaps"), *initial, classes]
    if not start:
        found.append(_Spectrum(loss_fn=loss_fn, data=data, name="diagnosis_spectrum", **_BUDGET))
    return found


class _Edge(Part, EdgeOfStability):
    """The edge of stability, in the last third of the run."""

    question = "Is the learning rate near the edge?"

    def afford(self, steps: list[int], view: View, end: float) -> list[int]:
        """Return as many steps of the last third as a share of the run pays for."""
        if math.isinf(end):
            return super().afford(steps, view, end)
        each = self.cost_of_look(view) + _FIRST
        return _late(end, _affordable(self, _LOOKS, self.max_share, end, each))


class _Spectrum(Part, HessianSpectrum):
    """The spectrum of the Hessian, at the first step."""

    question = "How curved is the floor?"

    def events(self, time_step: float) -> list[int]:
        """Return the step before the first."""
        return [0]


class _Start(Part, Criticality):
    """How signals pass the layers, at time 0."""

    question = "Does the signal get through at initialization?"

    def __init__(self, max_share: float, loss_fn: LossFn | None, **options: Any) -> None:
        super().__init__(loss_fn=loss_fn, name="diagnosis_criticality", **options)
        self._share = max_share

    def afford(self, steps: list[int], view: View, end: float) -> list[int]:
        """Return the step before the first, where a share of the run pays for it."""
        each = _START * _steps_per_gradient(view, self.samples)
        return steps[: _affordable(self, 1, self._share, end, each)]

    def events(self, time_step: float) -> list[int]:
        """Return the step before the first."""
        return [0]


class _Guesses(Part, ClassBalance):
    """How the classes are guessed, at time 0."""

    question = "Are classes guessed alike at initialization?"

    def events(self, time_step: float) -> list[int]:
        """Return the step before the first."""
        return [0]


class _Gaps(Part, GapDistribution):
    """Which patterns are satisfied, of a quadratic hinge."""

    question = "Is it over-parametrized?"

    def prepare(self, view: View) -> str:
        """Refuse other losses, which have no margin at which a pattern is satisfied."""
        energy = view.landscape
        hinge = energy is not None and isinstance(energy, HasGaps)
        if isinstance(energy, NetworkEnergy):
            with view.measuring(), torch.no_grad():
                losses = energy.gaps().clamp_min(0).square().mean(1) / 2
                hinge = torch.allclose(losses, energy(), rtol=1e-4)
        required = "is counted for a quadratic hinge, at whose margin a pattern is satisfied"
        require(hinge, "unsatisfied patterns", "not known", required)
        return super().prepare(view)


class _Classes(Part, ClassBalance):
    """The balance of the classes, at time 0 and as often as a share of the run pays for."""

    question = "Are classes treated alike?"

    def __init__(self, max_share: float, start: bool, **options: Any) -> None:
        super().__init__(per_decade=3, **options)
        self._share, self._start = max_share, start

    def afford(self, steps: list[int], view: View, end: float) -> list[int]:
        """Return time 0 of an initial network, and the last of the others."""
        gradient = _steps_per_gradient(view, self.samples)
        self.most_classes = max(_CLASSES, self._share * end / (2 * _BACKWARD * gradient))
        each = (1 + _BACKWARD * _CLASSES) * gradient
        reached = [step for step in steps if 0 < step <= end]
        first = [0][: _affordable(self, 1, self._share, end, each)] if self._start else []
        left = self._share - each * len(first) / end
        return first + _last(reached, left, end, each)


class _Noise(Part, GradientNoise):
    """The noise of gradients at as many of the last times as a share of the run pays for."""

    question = "Is the batch larger than useful?"

    def __init__(self, max_share: float, **options: Any) -> None:
        super().__init__(groups=_GROUPS, **options)
        self._share = max_share

    def afford(self, steps: list[int], view: View, end: float) -> list[int]:
        """Return as many steps of the last third as a share of the run pays for."""
        each = _GROUPS if view.landscape is None else 3 * view.steps_per_gradient
        reached = [step for step in steps if step <= end]
        if math.isinf(end):
            return _last(reached, self._share, end, each)
        chosen = _late(end, int(min(_LOOKS, self._share * end / each)))
        if reached and not chosen:
            self.warn(f"nothing is measured: the run is too short for {_GROUPS} gradients")
        return chosen

    def describe(self, view: View) -> dict[str, Any]:
        """Return what the record says of the run.

        In a foreign project a mini-batch is the unit of the noise scale, so it is that of B too.
        """
        described = super().describe(view)
        if view.landscape is not None:
            return described
        return described | {"batch_size": view.batches_per_step, "batch_unit": "mini-batches"}


class _Pairs(Part, Stationarity):
    """Stationarity at regular times that a run of any length can afford."""

    question = "Is it stationary?"

    def __init__(self, max_share: float, **options: Any) -> None:
        super().__init__(**options)
        self._share = max_share

    def begin(self, trainer: Any, pl_module: Any) -> None:
        """Choose the interval by the length of the run."""
        view = self.view(trainer, pl_module)
        by_batches = view.landscape is None and counts_batches(trainer, pl_module)
        end = end_of_run(trainer, by_batches)
        last = end * view.time_step if end < 1e9 else 1e4 * view.time_step
        most = min(_MOST_PAIRS, self._share * last / view.time_step / _PAIR)
        interval = max(2 * view.time_step, last / max(most, 1))
        self.times = Times.every(interval, max(last, interval), 0.0)
        super().begin(trainer, pl_module)


def _steps_per_gradient(view: View, samples: int) -> float:
    """Return what a gradient of so many samples of a run of ours costs in steps, at most."""
    if view.batches is None:
        return 1.0
    return min(samples, view.samples) / view.batches.batch_size


def _affordable(part: Part, times: int, share: float, run: float, each: float) -> int:
    """Return how many measurements of ``each`` steps a share of a run pays for; say if none."""
    most = int(min(times, share * run / each))
    if most < 1:
        part.warn(
            f"nothing is measured: one measurement costs up to {each:.3g} steps, more than its "
            f"part of max_share of the {run:.0f} steps of the run"
        )
    return most


def _late(end: float, most: int) -> list[int]:
    """Return steps evenly spread over the last third of a run, with room for batches after each."""
    return sorted({round(end * (2 + k / most) / 3) for k in range(most)})


def _last(steps: list[int], share: float, end: float, each: float) -> list[int]:
    """Return as many of the last steps as a share of the run pays for, at ``each`` gradients."""
    run = min(end, max(steps, default=0))
    most = int(min(share * run / each, len(steps)))
    return steps[-most:] if most else []
