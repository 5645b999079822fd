"""GradientNoise: the variance of the mini-batch gradient at logarithmic times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from lightning_landscape.callbacks.all_data import Data, Mode
from lightning_landscape.callbacks.probes._noise import NoiseProbe
from lightning_landscape.callbacks.probes._windows import Window
from lightning_landscape.callbacks.view import LossFn, SplitFn, View
from lightning_landscape.curvature.operators.parameters import blocks
from lightning_landscape.data.batches import Batches
from lightning_landscape.observables.gradient_noise import (
    Moments,
    SampleGradients,
    batch_kurtosis,
    temperature_of_sgd,
)
from lightning_landscape.rng import Stream

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["GradientNoise"]

_DIRECTIONS = 10


class GradientNoise(NoiseProbe):
    r"""Measure how strong the noise of mini-batches is, and of what shape.

    For each replica, at time 0 and on a log grid: the variance D of the gradient g_B of a
    mini-batch, its mean over parameters and over those of each layer; |grad E|^2 / N;
    the batch size at which they are equal, tr S / |grad E|^2, with S the covariance over single
    samples; the temperature T = lr D / 2 at which Langevin noise is as strong (in a foreign project
    where its one optimizer is SGD without momentum); and the excess
    kurtosis of g_B along 10 random directions, 0 where the noise is Gaussian. The factors of B, of
    the size of the data and of drawing with or without replacement are exact, see `batch_factor`;
    so is D where P is at most ``samples``.

    Energies are `NetworkEnergy`. In a foreign project the gradients are those of ``groups``
    consecutive mini-batches, which follow the time of the measurement, all at the parameters of
    that time: D has groups - 1 degrees of freedom and an endless set of samples is assumed. With
    ``data`` they are those of all its batches, in one random order, and the batches of the run are
    taken to be drawn from these data without replacement. Or ``split_fn`` cuts one batch. The
    kurtosis is left out, because so few numbers hold none. Under DDP the gradients of all ranks
    count.

    A measurement costs about three gradients of the samples for fully connected networks, some
    ten for others, and one backward pass a direction; in a foreign project one gradient of each
    mini-batch, and memory for ``groups`` of them and a copy of the parameters.

    Args:
        first: first time > 0 after time 0 (the step size times the number of steps; in a foreign
            project the number of steps).
        last: last time; later ones are not measured.
        per_decade: points in a factor of ten.
        batches: whose noise; None takes the run's own.
        samples: how many samples to take the gradients of, at most; others at each time.
        groups: in a foreign project, how many mini-batches, or parts of one, at most.
        seed: of random samples and directions.
        loss_fn: the energy of a foreign module, ``loss_fn(pl_module, batch)``; see `View`.
        split_fn: in a foreign project, makes smaller batches of one size of the current batch, or
            ``"samples"``, which cuts its tensors along their first axis. Either is refused unless
            the loss of the batch is the mean of those of the parts.
        data: of a foreign project: a DataLoader, or ``"train"`` or ``"val"``; see `AllData`.
        mode: of a foreign module: ``train`` leaves its modes as they are in training, so that
            dropout is a part of the noise; ``eval`` is that of evaluation.
        options: ``name`` and ``strict``, see `Probe`.

    Raises:
        UsageError: an argument is out of range, or the run has no data or no batches.

    Source: D: Baity-Jesi et al. 2018, arXiv:1803.06969; the batch size of equal signal and noise:
    McCandlish et al. 2018, arXiv:1812.06162, eq. 2.9.
    """

    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        **dict.fromkeys(
            ("D", "gradient_square", "noise_scale", "temperature_of_sgd"), ("t", "replica")
        ),
        "D_part": ("t", "replica", "part"),
        "kurtosis": ("t", "replica", "direction"),
    }
    reference = "Baity-Jesi et al. 2018, arXiv:1803.06969"

    def __init__(
        self,
        first: float = 1,
        last: float = 1_000_000,
        per_decade: int = 3,
        batches: Batches | None = None,
        samples: int = 10_000,
        groups: int = 8,
        seed: int = 0,
        loss_fn: LossFn | None = None,
        split_fn: SplitFn | None = None,
        data: Data | None = None,
        mode: Mode = "train",
        **options: Any,
    ) -> None:
        every = (first, last, per_decade, batches, samples, groups, seed, loss_fn, split_fn)
        super().__init__(*every, data, mode, **options)

    def prepare(self, view: View) -> str:
        """Say how many measurements there will be; the tables start with the first."""
        self.results = {}
        P = view.samples
        what = f"{min(P, self.samples)} samples" if P else f"{self.groups} batches or parts"
        if self.data is not None:
            what = "all data"
        return f"at most {len(self._steps)} measurements with the gradients of {what}"

    def measure_noise(
        self, view: View, source: SampleGradients, window: Window | None
    ) -> dict[str, float]:
        """Append the noise at this time."""
        factor = self.factor(view, source, window)
        moments = source.moments()
        if view.landscape is None:
            view.agree()
            moments = moments.over_ranks()
        row = self._strength(moments, factor, view, self.total(view) / source.size)
        if view.landscape is not None:
            row["kurtosis"] = self._shape(source, view)
        row["noise_scale"] *= source.size
        if (lr := view.step_size_of_sgd) is not None:
            row["temperature_of_sgd"] = temperature_of_sgd(lr, row["D"])
        self.append(view, row)
        return {
            "D": row["D"].mean().item(),
            "gradient_square": row["gradient_square"].mean().item(),
        }

    def _strength(self, moments: Moments, factor: float, view: View, P: float) -> dict[str, Tensor]:
        """Return D, in all and by part, and what the gradient itself is."""
        variance, N = moments.variance.cpu(), moments.mean.shape[1]
        total = variance.sum(1)
        # the mean of m samples contains noise of its own
        bias = total * (1 / moments.count - 1 / P)
        signal = moments.mean.square().sum(1).cpu() - bias
        parts = blocks(view.system, view.shape[0]).values()
        return {
            "D": factor * total / N,
            "D_part": factor * torch.stack([variance[:, part].mean(1) for part in parts], dim=1),
            "gradient_square": signal / N,
            "noise_scale": torch.where(signal > 0, total / signal, torch.nan),
        }

    def _shape(self, source: SampleGradients, view: View) -> Tensor:
        """Return the kurtosis of the mini-batch gradient along random directions, (R, k)."""
        like = view.parameters()[0]
        V = torch.empty(source.replicas, _DIRECTIONS, source.N, dtype=like.dtype)
        Stream(self.seed, "directions of the noise").normal_(V, view.step)
        return batch_kurtosis(source.projections(V.to(like.device)), **self._draws(view)).cpu()

    def describe(self, view: View) -> dict[str, Any]:
        """Return what the record says of the run."""
        self.parts = list(blocks(view.system, view.shape[0]))
        return super().describe(view)

    def dataset(self) -> Dataset:
        """Return D, gradient_square, noise_scale, temperature_of_sgd (t, replica) and by part."""
        dataset = super().dataset().assign_coords(part=self.parts)
        if "D" in dataset and "energy" in self.attributes:
            T = temperature_of_sgd(self.attributes["time_step"], self.results["D"])
            dataset["temperature_of_sgd"] = (("t", "replica"), T.numpy())
        return dataset
