"""Traces and the diagonal from random vectors (Hutchinson), with standard errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.curvature.operators.vectors import dots, norms
from lightning_landscape.curvature.random_vectors import Deflation, chunks, unit_vectors
from lightning_landscape.curvature.results import Eigenpairs, Estimate, Traces
from lightning_landscape.errors import require

if TYPE_CHECKING:
    from lightning_landscape.curvature.operators.base import CurvatureOperator

__all__ = ["HutchinsonSamples", "hutchinson"]


@checked
def hutchinson(
    operator: CurvatureOperator,
    random_vectors: int = 100,
    *,
    deflate: Eigenpairs | None = None,
    parts: Mapping[str, slice] | None = None,
    memory: int = 2**30,
    seed: int = 0,
) -> Traces:
    r"""Return tr H, tr H^2, the diagonal and traces of diagonal blocks from the same vectors.

    `\mathrm{tr} H = E[v \cdot Hv]`, `\mathrm{tr} H^2 = E|Hv|^2`,
    `H_{ii} = E[v_i (Hv)_i]` for random signs v. One sample of the trace has the variance
    `2 \sum_{i \ne j} H_{ij}^2`: small compared with (tr H)^2 for a trained network, not where
    positive and negative eigenvalues cancel. The number of vectors is fixed beforehand, because a
    rule that watches the running mean stops on coincidences.

    Args:
        operator: R symmetric matrices of size N.
        random_vectors: number of random vectors.
        deflate: eigenpairs to be treated exactly (those converged), without variance.
        parts: named ranges of coordinates, for example layers.
        memory: cap on the vectors in flight, in bytes.
        seed: of the random vectors.

    Cost: one product per random vector.

    Raises:
        UsageError: fewer than 2 random vectors, which would leave no standard error.

    Source: M. Hutchinson, Commun. Stat. Simul. Comput. 18, 1059 (1989); the diagonal: C. Bekas,
    E. Kokiopoulou and Y. Saad, Appl. Numer. Math. 57, 1214 (2007).

    >>> from lightning_landscape.curvature import DenseOperator
    >>> hutchinson(DenseOperator(torch.arange(10.0).diag())).trace.value
    tensor([45.], dtype=torch.float64)
    """
    several = "must be at least 2, or there is no standard error"
    require(random_vectors >= 2, "random_vectors", random_vectors, several)
    deflation = Deflation(operator, deflate)
    samples = HutchinsonSamples(deflation, parts or {})
    for chunk in chunks(operator, random_vectors, vectors=3, memory=memory):
        q = unit_vectors(operator, chunk, deflation, seed)
        samples.add(q, operator.matmat(q))
    return samples.result()


class HutchinsonSamples:
    """Quadratic forms of random unit vectors q in the complement, of dimension D, of the deflated.

    D q.Hq is one sample of the trace in the complement. Normalising the projected vector leaves
    the mean as it is (to order 1/N^2) and takes the fluctuation of its length out.

    Args:
        deflation: what is treated exactly.
        parts: named ranges of coordinates.
    """

    def __init__(self, deflation: Deflation, parts: Mapping[str, slice]) -> None:
        self.deflation, self.parts = deflation, dict(parts)
        self._samples: dict[str, list[Tensor]] = {}
        self._mean = self._squares = torch.zeros_like(deflation.vectors[:, :0].sum(1).double())
        self._count = 0

    def add(self, q: Tensor, w: Tensor) -> None:
        """Take in the random unit vectors ``q`` and their products ``w`` = Hq, both (R, k, N)."""
        self._append("trace", dots(q, w))
        self._append("square", norms(w).square())
        for name, part in self.parts.items():
            self._append(f"part {name}", dots(q[..., part], w[..., part]))
        for q_i, w_i in zip(q.unbind(1), w.unbind(1), strict=True):
            self._welford((q_i * w_i).double())

    def _append(self, name: str, sample: Tensor) -> None:
        scaled = self.deflation.dimension[:, None] * sample
        self._samples.setdefault(name, []).append(scaled)

    def _welford(self, sample: Tensor) -> None:
        """Running mean and sum of squared deviations of the diagonal, (R, N)."""
        self._count += 1
        deviation = sample - self._mean
        self._mean = self._mean + deviation / self._count
        self._squares = self._squares.addcmul(deviation, sample - self._mean)

    def result(self) -> Traces:
        """Return the estimates from the vectors so far."""
        known = self.deflation
        shares = known.vectors.double().square() * known.values[..., None].to(self._mean.device)
        squares = known.values.square() + known.residuals.square()  # |Hy|^2
        return Traces(
            trace=self._estimate("trace", known.values.sum(1)),
            trace_of_square=self._estimate("square", squares.sum(1)),
            diagonal=self._diagonal(shares.sum(1)),
            parts={
                name: self._estimate(f"part {name}", shares[..., part].sum((1, 2)).cpu())
                for name, part in self.parts.items()
            },
        )

    def _estimate(self, name: str, exact: Tensor) -> Estimate:
        return Estimate.of(torch.cat(self._samples[name], 1), exact)

    def _diagonal(self, exact: Tensor) -> Estimate:
        D = self.deflation.dimension[:, None].to(exact)
        n = self._count
        variance = self._squares / (n - 1) / n if n > 1 else self._squares * torch.nan
        return Estimate(exact + D * self._mean, D * variance.sqrt())
