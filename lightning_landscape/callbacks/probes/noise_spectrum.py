"""NoiseSpectrum: the covariance of the mini-batch gradient, beside the Hessian."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_landscape.callbacks.probes._noise import NoiseProbe
from lightning_landscape.callbacks.view import LossFn, View
from lightning_landscape.curvature.lanczos import lanczos
from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.operators.kept_graph import HessianOperator
from lightning_landscape.curvature.operators.of_energy import hessian_of
from lightning_landscape.data.batches import Batches
from lightning_landscape.errors import require
from lightning_landscape.observables.gradient_noise import (
    alignment,
    batch_kurtosis,
    subspace_overlap,
)

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["NoiseSpectrum"]

_MAX_PRODUCTS = 300
_BY_RANK = ("eigenvalues", "residuals", "converged", "curvatures", "overlap", "kurtosis")


class NoiseSpectrum(NoiseProbe):
    r"""Measure the covariance C of the mini-batch gradient and how it lies to the Hessian H.

    For each replica, at time 0 and on a log grid: the k highest eigenvalues of C with residuals
    and convergence flags, and tr C; the k highest of H, ``curvatures``; the overlap of the spaces
    of the j leading eigenvectors of both, j = 1 … k, see `subspace_overlap`; the cosine
    tr(HC) / (|H| |C|) with its standard error, see `alignment`; and the excess kurtosis of the
    gradient along each eigenvector of C. C is never formed.

    Energies are `NetworkEnergy`, of which C is that of the samples taken, at most ``samples``, and
    H that of all. In a foreign project the current batch is cut into ``groups`` parts, whose
    energies are those of `View`; C then has the rank groups - 1, and there is no kurtosis.

    A measurement costs about 40 products with each of C and H, and 2 k + ``probes`` more of each,
    1.5 gradients of all samples a product.

    Args:
        first: first time > 0 after time 0 (the step size times the number of steps; in a foreign
            project the number of steps).
        last: last time; later ones are not measured.
        per_decade: points in a factor of ten.
        k: how many eigenvalues.
        probes: random vectors of the cosine.
        batches: whose noise; None takes the run's own.
        samples: how many samples to take the gradients of, at most; others at each time.
        groups: in a foreign project, into how many parts to cut the current batch, at most.
        seed: of random samples and vectors.
        loss_fn: the energy of a foreign module, ``loss_fn(pl_module, batch)``; see `View`.

    Raises:
        UsageError: an argument is out of range, or the run has no data or no batches.

    Source: Zhu et al. 2019, arXiv:1803.00195; Thomas et al. 2020, arXiv:1906.07774.
    """

    def __init__(
        self,
        first: float = 1,
        last: float = 10_000,
        per_decade: int = 1,
        k: int = 10,
        probes: int = 10,
        batches: Batches | None = None,
        samples: int = 10_000,
        groups: int = 16,
        seed: int = 0,
        loss_fn: LossFn | None = None,
    ) -> None:
        super().__init__(first, last, per_decade, batches, samples, groups, seed, loss_fn)
        require(k >= 1, "k", k, "must be at least 1")
        require(probes >= 2, "probes", probes, "must be at least 2, for a standard error")
        self.k, self.probes = k, probes

    def prepare(self, view: View) -> str:
        """Say what the measurements will cost; the tables start with the first."""
        N = view.shape[1]
        require(self.k <= N, "k", self.k, f"must be at most N = {N}")
        self.results = {"step": torch.empty(0, dtype=torch.int64)}
        most = 2 * (_MAX_PRODUCTS + 2 * self.k + self.probes)
        return f"at most {len(self._steps)} times {most} products of 1.5 gradients"

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Append covariance and alignment at this time."""
        with view.measuring():
            source = self.source(view)
            factor, H = self.factor(view, source), self._hessian(view)
            C = factor * source.covariance()
            noise, curvature = (
                lanczos(A, self.k, "highest", max_products=_MAX_PRODUCTS, seed=self.seed)
                for A in (C, H)
            )
            leading = torch.cat([noise.eigenvectors, curvature.eigenvectors], dim=1)
            aligned = alignment(C, H, leading, self.probes, seed=self.seed)
            row = {
                "eigenvalues": noise.eigenvalues,
                "residuals": noise.residuals,
                "converged": noise.converged,
                "trace": factor * source.moments().variance.sum(1).cpu(),
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
        self.append({**row, "step": torch.tensor(view.step)})
        return {
            "noise/highest": row["eigenvalues"][:, 0].mean().item(),
            "noise/cosine": row["cosine"].mean().item(),
        }

    def _hessian(self, view: View) -> CurvatureOperator:
        if view.landscape is not None:
            return hessian_of(view.landscape)
        return HessianOperator(view.energy, view.parameters())

    def dataset(self) -> Dataset:
        """Return eigenvalues, overlaps and kurtosis (t, replica, rank), the rest (t, replica)."""
        from xarray import Dataset

        values: dict[str, Tensor] = {n: v for n, v in self.results.items() if n != "step"}
        t = self.results["step"].numpy() * self.attributes["time_step"]
        return Dataset(
            {
                name: (
                    ("t", "replica", "rank") if name in _BY_RANK else ("t", "replica"),
                    v.numpy(),
                )
                for name, v in values.items()
            },
            coords={"t": ("t", t, {"units": "step size x steps"})},
            attrs={"random_overlap": 1 / self.attributes["N"]},
        )
