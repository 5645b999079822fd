"""NoiseSpectrum: the covariance of the mini-batch gradient, compared with the Hessian."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from lightning_landscape.callbacks.all_data import Data, Mode
from lightning_landscape.callbacks.probes._noise import NoiseProbe
from lightning_landscape.callbacks.probes._windows import Window
from lightning_landscape.callbacks.view import LossFn, SplitFn, View
from lightning_landscape.curvature.lanczos import lanczos
from lightning_landscape.data.batches import Batches
from lightning_landscape.errors import require
from lightning_landscape.observables.gradient_noise import (
    SampleGradients,
    alignment,
    batch_kurtosis,
    subspace_overlap,
)

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["NoiseSpectrum"]

_MAX_PRODUCTS = 300
_BY_RANK = ("eigenvalues", "residuals", "converged", "curvatures", "overlap", "kurtosis")
_NUMBERS = ("trace", "cosine", "cosine_error", "trace_of_product", "trace_of_product_error")


class NoiseSpectrum(NoiseProbe):
    r"""Measure the covariance C of the mini-batch gradient and how it aligns with the Hessian H.

    For each replica, at time 0 and on a log grid: the k highest eigenvalues of C with residuals
    and convergence flags, and tr C; the k highest of H, ``curvatures``; the overlap of the spaces
    of the j leading eigenvectors of both, j = 1 … k, see `subspace_overlap`; the cosine
    tr(HC) / (|H| |C|) with its standard error, see `alignment`; and the excess kurtosis of the
    gradient along each eigenvector of C. C is never formed.

    Energies are `NetworkEnergy`, of which C is that of the samples taken, at most ``samples``, and
    H that of all. In a foreign project C is that of ``groups`` consecutive mini-batches, which
    follow the time of the measurement, at the parameters of that time, and H is that of the first
    of them; with ``data`` both are those of all its batches; or ``split_fn`` cuts one batch. C then
    has the rank groups - 1, and there is no kurtosis. Under DDP both are means over the ranks. The
    first H is verified, see `HessianOperator.verify`; C is symmetric by construction.

    A measurement costs about 40 products with each of C and H, and 2 k + ``random_vectors`` more of
    each, 1.5 gradients of all samples a product; in a foreign project C costs one gradient of each
    mini-batch, all of which are kept, and its products none.

    Args:
        first: first time > 0 after time 0 (the step size times the number of steps; in a foreign
            project the number of steps).
        last: last time; later ones are not measured.
        per_decade: points in a factor of ten.
        k: how many eigenvalues.
        random_vectors: how many for the cosine.
        batches: whose noise; None takes the run's own.
        samples: how many samples to take the gradients of, at most; others at each time.
        groups: in a foreign project, how many mini-batches, or parts of one, at most.
        seed: of random samples and vectors.
        loss_fn: the energy of a foreign module, ``loss_fn(pl_module, batch)``; see `View`.
        split_fn: in a foreign project, makes smaller batches of one size of the current batch, or
            ``"samples"``, which cuts its tensors along their first axis. Either is refused unless
            the loss of the batch is the mean of those of the parts.
        data: of a foreign project: a DataLoader, or ``"train"`` or ``"val"``; see `AllData`.
        mode: of a foreign module: ``train`` leaves its modes as they are in training; ``eval`` is
            that of evaluation.
        options: ``name`` and ``strict``, see `Probe`.

    Raises:
        UsageError: an argument is out of range, or the run has no data or no batches.

    Source: Zhu et al. 2019, arXiv:1803.00195; Thomas et al. 2020, arXiv:1906.07774.
    """

    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        **dict.fromkeys(_BY_RANK, ("t", "replica", "rank")),
        **dict.fromkeys(_NUMBERS, ("t", "replica")),
    }

    def __init__(
        self,
        first: float = 1,
        last: float = 10_000,
        per_decade: int = 1,
        k: int = 10,
        random_vectors: int = 10,
        batches: Batches | None = None,
        samples: int = 10_000,
        groups: int = 16,
        seed: int = 0,
        loss_fn: LossFn | None = None,
        split_fn: SplitFn | None = None,
        data: Data | None = None,
        mode: Mode = "train",
        **options: Any,
    ) -> None:
        every = (first, last, per_decade, batches, samples, groups, seed, loss_fn, split_fn)
        super().__init__(*every, data, mode, **options)
        require(k >= 1, "k", k, "must be at least 1")
        several = "must be at least 2, for a standard error"
        require(random_vectors >= 2, "random_vectors", random_vectors, several)
        self.k, self.random_vectors = k, random_vectors
        self._verified = False

    def prepare(self, view: View) -> str:
        """Say what the measurements will cost; the tables start with the first."""
        N = view.shape[1]
        require(self.k <= N, "k", self.k, f"must be at most N = {N}")
        self.results = {}
        most = 2 * (_MAX_PRODUCTS + 2 * self.k + self.random_vectors)
        return f"at most {len(self._steps)} times {most} products of 1.5 gradients"

    def measure_noise(
        self, view: View, source: SampleGradients, window: Window | None
    ) -> dict[str, float]:
        """Append covariance and alignment at this time."""
        factor, H = self.factor(view, source, window), self.hessian(view)
        if not view.is_whole and not self._verified:
            H.verify()
            self._verified = True
        C = view.mean_of(factor * source.covariance())
        trace = view.reduce(factor * source.moments().variance.sum(1), "mean")
        noise, curvature = (
            lanczos(A, self.k, "highest", max_products=_MAX_PRODUCTS, seed=self.seed)
            for A in (C, H)
        )
        leading = torch.cat([noise.eigenvectors, curvature.eigenvectors], dim=1)
        aligned = alignment(C, H, leading, self.random_vectors, seed=self.seed)
        row = {
            "eigenvalues": noise.eigenvalues,
            "residuals": noise.residuals,
            "converged": noise.converged,
            "trace": trace.cpu(),
            "curvatures": curvature.eigenvalues,
            "overlap": subspace_overlap(noise.eigenvectors, curvature.eigenvectors).cpu(),
            "cosine": aligned.cosine,
            "cosine_error": aligned.cosine_error,
            "trace_of_product": aligned.trace,
            "trace_of_product_error": aligned.trace_error,
        }
        if view.landscape is not None:
            along = source.projections(noise.eigenvectors)
            row["kurtosis"] = batch_kurtosis(along, **self._draws(view)).cpu()
        self.append(view, row)
        return {
            "highest": row["eigenvalues"][:, 0].mean().item(),
            "cosine": row["cosine"].mean().item(),
        }

    def dataset(self) -> Dataset:
        """Return eigenvalues, overlaps and kurtosis (t, replica, rank), the rest (t, replica)."""
        return super().dataset().assign_attrs(random_overlap=1 / self.attributes["N"])
