"""The probes of a diagnosis, each within a share of the run."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_landscape.callbacks.all_data import Data
from lightning_landscape.callbacks.diagnosis.class_balance import ClassBalance
from lightning_landscape.callbacks.diagnosis.edge import EdgeOfStability
from lightning_landscape.callbacks.diagnosis.part import Part, affordable, late
from lightning_landscape.callbacks.diagnosis.preconditioning import Preconditioning
from lightning_landscape.callbacks.diagnosis.step_noise import StepNoise
from lightning_landscape.callbacks.lifecycle import counts_batches, end_of_run
from lightning_landscape.callbacks.probes.gaps import GapDistribution
from lightning_landscape.callbacks.probes.hessian import HessianSpectrum
from lightning_landscape.callbacks.probes.noise_spectrum import NoiseSpectrum
from lightning_landscape.callbacks.probes.stationarity import Stationarity
from lightning_landscape.callbacks.probes.wide_networks.criticality import Criticality
from lightning_landscape.callbacks.probes.wide_networks.tangent_kernel import OutputFn
from lightning_landscape.callbacks.times import Times, thinned
from lightning_landscape.callbacks.view import LossFn, View
from lightning_landscape.energies.energy import HasGaps
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.errors import UsageError, require

__all__ = ["parts_of_run", "parts_of_start"]

_GROUPS = 8  # parts of a batch, or mini-batches, whose gradients the noise scale compares
_MOST_PAIRS = 400  # pairs of configurations one step apart
_LOOKS = 12  # at the end of the run, at most
_PRODUCTS = 15  # Hessian-vector products of a look at the sharpness, for each eigenvalue, at most
_TYPICAL = 4  # of them, where the look before it was near
_CERTIFICATE = 20.0  # steps: more products of the first look, and their check
_BUDGET: dict[str, Any] = {
    "k": 3,
    "random_vectors": 4,
    "steps": 15,
    "max_products": 60,
    "max_share": float("inf"),
}  # of the spectrum
# prices of looks, in gradients
_PAIR = 0.5
_START = 2.0
_CLASSES = 2.0
_SPLIT = 2.5
_OWN = 0.3


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
        max_share: gradients of all of them over those of the run, by which looks are planned.
        loss_fn: the energy of a foreign module.
        data: of a foreign project, what the sharpness is measured on.
        output_fn: the scores of a foreign module.
        start: whether the run starts from an initial network; else the spectrum at its start is
            a part too.
    """
    edge = _Edge(
        max_products=_PRODUCTS,
        max_share=_Edge.weight * max_share,
        loss_fn=loss_fn,
        data=data,
        name="diagnosis_edge",
    )
    noise = _Noise(_Noise.weight * max_share, loss_fn=loss_fn, name="diagnosis_gradient_noise")
    classes = _Classes(
        _Classes.weight * max_share, start, output_fn=output_fn, name="diagnosis_classes"
    )
    pairs = _Pairs(_Pairs.weight * max_share, second=False, name="diagnosis_stationarity")
    initial = [_Start(_Start.weight * max_share, loss_fn, last=1, per_decade=1)] if start else []
    found: list[Part] = [edge, noise, pairs, _Gaps(name="diagnosis_gaps"), *initial, classes]
    if not start:
        found.append(_Spectrum(loss_fn=loss_fn, data=data, name="diagnosis_spectrum", **_BUDGET))
        found.append(_Alignment(k=3, groups=_GROUPS, loss_fn=loss_fn, name="diagnosis_noise"))
        found.append(_Preconditioning(loss_fn=loss_fn, name="diagnosis_preconditioning"))
    return found


class _Edge(Part, EdgeOfStability):
    """The edge of stability, in the last third of the run."""

    question = "Is the learning rate near the edge?"
    weight = 0.5
    tolerance = 0.1  # of the residual, whose square is that of the eigenvalue

    def afford(self, steps: list[int], view: View, end: float) -> list[int]:
        """Return as many steps of the last third as a share of the run pays for."""
        if math.isinf(end):
            return super().afford(steps, view, end)
        each = self.cost_of_look(view)
        self.price = each + _CERTIFICATE
        return late(end, affordable(self, _LOOKS, self.max_share, end, each))

    def cost_of_look(self, view: View) -> float:
        """Return what one measurement costs where the one before it was near, in steps."""
        edge = self._edge()
        eigenvalues = 1 if edge is not None and edge.is_plain else 2
        products = view.product_cost * (eigenvalues * _TYPICAL + 1)
        return (1 + products) * view.steps_per_gradient


class _Spectrum(Part, HessianSpectrum):
    """The spectrum of the Hessian, at the first step."""

    question = "How curved is the floor?"

    def events(self, time_step: float) -> list[int]:
        """Return the step before the first."""
        return [0]


class _Alignment(Part, NoiseSpectrum):
    """The noise of mini-batches beside the curvature, at the first step."""

    question = "Is the noise along the curvature?"

    @property
    def _rests(self) -> bool:
        return super()._rests and not self._windows.open

    def events(self, time_step: float) -> list[int]:
        """Return the step before the first."""
        return [0]


class _Preconditioning(Part, Preconditioning):
    """What preconditioners save, at the first step."""

    question = "Would a preconditioner help?"


class _Start(Part, Criticality):
    """How signals pass the layers, at time 0."""

    question = "Does the signal get through at initialization?"
    weight = 0.1

    def __init__(self, max_share: float, loss_fn: LossFn | None, **options: Any) -> None:
        super().__init__(loss_fn=loss_fn, name="diagnosis_criticality", **options)
        self._share = max_share

    def afford(self, steps: list[int], view: View, end: float) -> list[int]:
        """Return the step before the first, where a share of the run pays for it."""
        each = _START * _steps_per_gradient(view, self.samples)
        return steps[: affordable(self, 1, self._share, end, each)]

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
    weight = 0.1

    def __init__(self, max_share: float, start: bool, **options: Any) -> None:
        super().__init__(per_decade=3, **options)
        self._share, self._start = max_share, start

    def afford(self, steps: list[int], view: View, end: float) -> list[int]:
        """Return time 0 of an initial network, and the last of the others."""
        self.price = each = _CLASSES * _steps_per_gradient(view, self.samples)
        reached = [step for step in steps if 0 < step <= end]
        first = [0][: affordable(self, 1, self._share, end, each)] if self._start else []
        left = self._share - each * len(first) / end
        return first + _last(reached, left, end, each)


class _Noise(Part, StepNoise):
    """The noise of gradients at as many of the last times as a share of the run pays for.

    Of a foreign project: the gradients that a step is made of, where there are several; or else
    parts of the current batch, where samples can be told apart; or else consecutive batches.
    """

    question = "Is the batch larger than useful?"
    weight = 0.15

    def __init__(self, max_share: float, **options: Any) -> None:
        super().__init__(groups=_GROUPS, split_fn="samples", **options)
        self._share, self._cannot_split = max_share, False

    @property
    def _rests(self) -> bool:
        return super()._rests and not self._windows.open

    @property
    def sees_steps(self) -> bool:
        """Whether the gradients of the steps are to be taken."""
        return not self._why_not[0]

    def begin(self, trainer: Any, pl_module: Any) -> None:
        """Take whole batches where samples see each other."""
        of_ours = View(pl_module, None, 0).landscape is not None
        self._cannot_split = any(isinstance(m, _BatchNorm) for m in pl_module.modules())
        if of_ours:
            self.split_fn = None
        super().begin(trainer, pl_module)

    def prepare(self, view: View) -> str:
        """Say how many measurements there will be."""
        return super(StepNoise, self).prepare(view)

    def afford(self, steps: list[int], view: View, end: float) -> list[int]:
        """Return as many steps of the last third as a share of the run pays for."""
        self.price = each = self._cost(view)
        reached = [step for step in steps if step <= end]
        if math.isinf(end):
            return _last(reached, self._share, end, each)
        chosen = late(end, int(min(_LOOKS, self._share * end / each)))
        if reached and not chosen:
            self.warn(f"nothing is measured: the run is too short for {each:.3g} gradients")
        return chosen

    def _cost(self, view: View) -> float:
        if view.landscape is not None:
            return 3 * view.steps_per_gradient
        if self.sees_steps:
            return _OWN
        return _GROUPS if self._takes_consecutive(view) else _SPLIT

    def _takes_consecutive(self, view: View) -> bool:
        return view.landscape is None and self._cannot_split and not self.sees_steps

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Measure; where the batch cannot be cut into samples, wait for whole ones from now on."""
        try:
            found = super().measure(view, due)
        except UsageError:
            if view.landscape is not None or self._cannot_split:
                raise
            self._cannot_split = True
            found = super().measure(view, due)
        if view.landscape is None and not self._takes_consecutive(view):
            self.attributes["batch_size"] = view.samples_per_step
        return found

    def describe(self, view: View) -> dict[str, Any]:
        """Return what the record says of the run.

        Where whole batches are compared they are the unit of the noise scale, and of B.
        """
        described = super().describe(view) | {"probe": "GradientNoise"}
        if not self._takes_consecutive(view):
            return described
        return described | {"batch_size": view.batches_per_step, "batch_unit": "mini-batches"}


class _Pairs(Part, Stationarity):
    """Stationarity at regular times that a run of any length can afford."""

    question = "Is it stationary?"
    weight = 0.15

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

    def thin(self, ahead: list[int], most: int) -> list[int]:
        """Return at most so many of the steps ahead, in pairs."""
        starts = [step for step in ahead if step in self._starts]
        kept = thinned(starts, min(most // 2, len(starts))) if most >= 2 else []
        self._starts = set(kept)
        return sorted(self._starts | {step + 1 for step in kept})


def _steps_per_gradient(view: View, samples: int) -> float:
    """Return what a gradient of so many samples of a run of ours costs in steps, at most."""
    if view.batches is None:
        return 1.0
    return min(samples, view.samples) / view.batches.batch_size


def _last(steps: list[int], share: float, end: float, each: float) -> list[int]:
    """Return as many of the last steps as a share of the run pays for, at ``each`` gradients."""
    run = min(end, max(steps, default=0))
    most = int(min(share * run / each, len(steps)))
    return steps[-most:] if most else []
