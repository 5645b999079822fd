"""StepNoise: the noise of gradients from those that a step computes anyway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.callbacks.lifecycle import present_step
from lightning_landscape.callbacks.probes.gradient_noise import GradientNoise
from lightning_landscape.callbacks.view import View
from lightning_landscape.errors import require
from lightning_landscape.observables.gradient_noise.moments import Moments

__all__ = ["StepNoise"]


class StepNoise(GradientNoise):
    r"""Measure the noise of gradients from the batches that one step is the mean of.

    With gradient accumulation, or several ranks, a step moves by the mean of m gradients g_i, each
    of a batch of b samples, that are computed anyway. Their spread is the noise,

        tr Sigma = b / (m - 1) sum_i |g_i - g|^2,    |grad E|^2 = |g|^2 - tr Sigma / (m b),

    and ``noise_scale`` = tr Sigma / |grad E|^2 in samples, as by two batch sizes, b and m b. The
    record is that of `GradientNoise`. Gradients are those of the step that leads to the time of
    measurement, so the first time is 1. Both estimates are unbiased; the scale is nan where the
    signal is lost in the noise of the m gradients.

    It costs no gradient: a copy of one, and sums of its squares in float64. Among ranks a look
    adds two reductions of N numbers.

    Args:
        first: first time > 0, in steps.
        last: last time; later ones are not measured.
        per_decade: points in a factor of ten.
        options: ``name`` and ``strict``, see `Probe`.

    Raises:
        UsageError: the run has an `Energy`, optimizes by hand, scales its loss, or takes one batch
            a step.

    Source: McCandlish et al. 2018, arXiv:1812.06162, appendix A.1.
    """

    def __init__(
        self, first: float = 1, last: float = 1_000_000, per_decade: int = 3, **options: Any
    ) -> None:
        super().__init__(first, last, per_decade, **options)
        self._hooks: list[Any] = []
        self._one: Tensor | None = None
        self._moments: Moments | None = None

    def events(self, time_step: float) -> list[int]:
        """Return the steps of the grid, without 0, which no gradient leads to."""
        return [step for step in super().events(time_step) if step > 0]

    def begin(self, trainer: Any, pl_module: Any) -> None:
        """Look at how many batches make a step, and whether their gradients can be seen."""
        self._why_not = _why_not(trainer, pl_module)
        super().begin(trainer, pl_module)

    def prepare(self, view: View) -> str:
        """Refuse runs without a gradient to spare."""
        name, value, admissible = self._why_not
        require(not name, name, value, admissible, "use GradientNoise")
        self.results = {}
        return f"at most {len(self._steps)} measurements of the gradients of a step"

    @property
    def sees_steps(self) -> bool:
        """Whether the gradients of the steps are to be taken."""
        return True

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Let the parameters report their gradients in a step that is to be measured."""
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        if not (self.has_begun and self.active and self.sees_steps):
            return
        step = present_step(trainer, self._by_batches)
        if self.next_event(self.measured_step) == step + 1:
            with self.timed(), self.caught(trainer, pl_module):
                self._listen(pl_module)

    def _listen(self, module: Any) -> None:
        """Copy each gradient as it comes, before it is added or averaged over ranks."""
        parameters = [p for p in module.parameters() if p.requires_grad]
        sizes = [p.numel() for p in parameters]
        self._one = parameters[0].new_zeros(sum(sizes))
        places = self._one.split(sizes)
        self._hooks = [
            p.register_hook(_copy_to(place)) for p, place in zip(parameters, places, strict=True)
        ]

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Add the gradient of this batch to the moments."""
        if not self._hooks:
            return
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        with self.timed(), self.caught(trainer, pl_module):
            assert self._one is not None
            one = Moments.of(self._one.mul_(trainer.accumulate_grad_batches)[None, None])
            self._moments = one if self._moments is None else self._moments.merged(one)
            self._one = None

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Append what the gradients of this step say."""
        if not self.sees_steps:
            return super().measure(view, due)
        moments, self._moments = self._moments, None
        if moments is None:
            return {}
        self.attributes["batch_size"] = view.samples_per_step
        gathered: Any = _Gathered(moments, view.samples_in_batch)
        return self.measure_noise(view, gathered, None)

    def factor(self, view: View, source: Any, window: Any) -> float:
        """Return c in Cov(g) = c S, of the mean over the batches of a step."""
        if not self.sees_steps:
            return super().factor(view, source, window)
        return 1 / view.batches_per_step

    def describe(self, view: View) -> dict[str, Any]:
        """Return what the record says of the run."""
        described = super().describe(view) | {"probe": "GradientNoise"}
        return described | ({"gradients": "batches of a step"} if self.sees_steps else {})


class _Gathered:
    """The moments of gradients that are there already, of batches of ``size`` samples."""

    def __init__(self, moments: Moments, size: int) -> None:
        self._moments, self.size = moments, size

    def moments(self) -> Moments:
        return self._moments


def _copy_to(place: Tensor) -> Callable[[Tensor], None]:
    @torch.no_grad()
    def hook(gradient: Tensor) -> None:
        place.copy_(gradient.to_dense().flatten())

    return hook


def _why_not(trainer: Any, module: Any) -> tuple[str, Any, str]:
    """Return what of a run is in the way, its value and why, or empty texts."""
    if View(module, None, 0).landscape is not None:
        return "energy", type(module.energy).__name__, "has the gradients of its samples"
    if not module.automatic_optimization:
        return "automatic_optimization", False, "its backward passes may be several a step"
    if getattr(trainer.precision_plugin, "scaler", None) is not None:
        return "precision", trainer.precision, "scales the loss by a factor of its own"
    batches = trainer.accumulate_grad_batches * trainer.world_size
    if batches < 2:
        return "batches in a step", batches, "must be at least 2, for a spread"
    return "", None, ""
