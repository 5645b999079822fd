"""The summary of a spectrum by PyHessian itself, on any operator, with its true residuals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lightning_landscape.arguments import checked
from lightning_landscape.curvature.operators.base import ComposedOperator, CurvatureOperator
from lightning_landscape.curvature.operators.tangent import TangentOperator
from lightning_landscape.curvature.pyhessian.package import hessian
from lightning_landscape.curvature.quadrature import SpectralQuadrature
from lightning_landscape.curvature.random_vectors import Deflation
from lightning_landscape.curvature.results import Eigenpairs, Estimate, Traces
from lightning_landscape.curvature.row import both_ends, estimated_row, leading
from lightning_landscape.curvature.summary import Budget
from lightning_landscape.rng import Stream

__all__ = ["summary_by_pyhessian"]

Measures = tuple[list[list[float]], list[list[float]]]
"""Nodes and weights of each run of PyHessian's density."""

# its default
_TOLERANCE = 1e-3


@checked
def summary_by_pyhessian(operator: CurvatureOperator, budget: Budget) -> dict[str, Tensor]:
    """Return what PyHessian finds of R spectra, in the names of `spectrum_summary`.

    Power iteration, Hutchinson's trace and quadrature are its own, on products of the operator, so
    that spheres, replicas and distributed runs are seen as by our engine. Of the k eigenvalues of
    largest modulus the positive ones become ``highest`` and the negative ones ``lowest``; nan fills
    the places that it does not look for. Their true residuals are added, and ``converged`` says
    whether they are below 1e-3 of the eigenvalue. ``trace_of_square`` comes from the quadrature;
    traces of parts are not known to it, and nothing is exact.

    Args:
        operator: R symmetric matrices of size N.
        budget: PyHessian takes k as ``top_n``, max_products / k as ``maxIter`` of each eigenvalue,
            ``random_vectors`` as ``maxIter`` of the trace and ``n_v`` of the density, and
            ``steps``.

    Cost: R times `Budget.by_pyhessian` products at most: the replicas go one by one.

    >>> from lightning_landscape.curvature import DenseOperator
    >>> H = DenseOperator(torch.diag(torch.tensor([8.0, 4.0, -2.0, 1.0])))
    >>> found = summary_by_pyhessian(H, Budget(k=3, steps=4))
    >>> [round(value, 2) for value in found["highest"][0].tolist()]
    [8.0, 4.0, nan]
    """
    before = operator.products
    pairs, measures, traces = [], [], []
    for r in range(operator.replicas):
        seed = Stream(budget.seed, "pyhessian").key(r)
        H = _peer_of(_OfReplica(operator, r), seed)
        k = min(budget.k, operator.N)
        H.eigenvalues(max(1, budget.max_products // k), _TOLERANCE, k)
        assert H.pairs is not None
        pairs.append(_by_ends(H.pairs, budget.k))
        traces.append(torch.tensor(H.trace(budget.random_vectors), dtype=torch.float64))
        measures.append(H.density(min(budget.steps, operator.N), budget.random_vectors))
    spent = operator.products - before
    found = _together(pairs, spent)
    quadrature = _quadrature(operator, measures, traces)
    row = estimated_row(found, quadrature, budget.k, isinstance(operator, TangentOperator))
    if budget.eigenvectors:
        row |= both_ends(operator.lift(found.eigenvectors), budget.k, "_vector")
    row["products"] = torch.tensor(spent)
    return row


class _OfReplica(ComposedOperator):
    """One replica of an operator; a product is done for all of them."""

    def __init__(self, A: CurvatureOperator, replica: int) -> None:
        super().__init__(A)
        self.replicas, self._replica = 1, replica

    def multiply(self, V: Tensor) -> Tensor:
        block = V.new_zeros(self.A.replicas, *V.shape[1:])
        block[self._replica] = V[0]
        return self.A.matmat(block)[self._replica, None]


class _Form(nn.Module):
    """E = x.Hx / 2 at x = 0: an energy with this Hessian, for whoever takes modules."""

    def __init__(self, H: CurvatureOperator) -> None:
        super().__init__()
        self.H = H
        self.x = nn.Parameter(torch.zeros(H.N, dtype=H.dtype, device=H.device))

    def forward(self, inputs: Tensor) -> Tensor:
        return _Value.apply(self.x, self.H)


class _Value(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, H: CurvatureOperator) -> Tensor:
        ctx.save_for_backward(x)
        ctx.H = H
        return x.new_zeros(())

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return g * _Gradient.apply(*ctx.saved_tensors, ctx.H), None


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, H: CurvatureOperator) -> Tensor:
        ctx.H = H
        return torch.zeros_like(x)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None]:
        return (ctx.H @ v[None])[0], None


def _peer_of(H: CurvatureOperator, seed: int) -> hessian:
    nothing = torch.zeros(1), torch.zeros(1)
    cuda = H.device.type == "cuda"
    form = _Form(H)
    return hessian(form, lambda E, _: E, nothing, cuda=cuda, backend="pyhessian", seed=seed)


def _by_ends(pairs: Eigenpairs, k: int) -> Eigenpairs:
    """The positive eigenvalues and then the negative ones, both descending, in k places each."""
    values = pairs.eigenvalues[0]
    order = values.argsort(descending=True)
    positive, negative = order[values[order] >= 0], order[values[order] < 0]

    def placed(t: Tensor) -> Tensor:
        up, down = leading(t[:, positive], k), leading(t[:, negative.flip(0)], k)
        return torch.cat([up, down.flip(1)], 1)

    return replace(
        pairs,
        eigenvalues=placed(pairs.eigenvalues),
        eigenvectors=placed(pairs.eigenvectors),
        residuals=placed(pairs.residuals),
        converged=placed(pairs.converged),
    )


def _together(replicas: list[Eigenpairs], products: int) -> Eigenpairs:
    def of(name: str) -> Tensor:
        return torch.cat([getattr(pairs, name) for pairs in replicas])

    return Eigenpairs(
        eigenvalues=of("eigenvalues"),
        eigenvectors=of("eigenvectors"),
        residuals=of("residuals"),
        converged=of("converged"),
        separated=of("separated"),
        orthogonality=of("orthogonality"),
        asymmetry=of("asymmetry"),
        products=products,
        tolerance=_TOLERANCE,
    )


def _quadrature(
    operator: CurvatureOperator, measures: list[Measures], samples: list[Tensor]
) -> SpectralQuadrature:
    """The nodes and weights as tridiagonal matrices, for the same bounds as with our engine."""
    nodes, weights = (torch.tensor([m[i] for m in measures]).double() for i in (0, 1))
    alpha, beta = _jacobi(nodes, weights)
    square = Estimate.of(operator.N * (weights * nodes**2).sum(2), torch.zeros(len(nodes)))
    mean = torch.stack([s.mean() for s in samples])
    error = torch.stack([s.std() / len(s) ** 0.5 for s in samples])
    unknown = Estimate(torch.full_like(mean, torch.nan), torch.full_like(mean, torch.nan))
    traces = Traces(Estimate(mean, error), square, unknown, {})
    return SpectralQuadrature(alpha, beta, operator.N, Deflation(operator, None), traces)


def _jacobi(nodes: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Lanczos coefficients, (…, m - 1) each, of measures of m nodes and weights, (…, m).

    The bordered matrix (0, sqrt w; sqrt w, nodes) made tridiagonal, its first axis kept: W. Gragg
    and W. Harrod, Numer. Math. 44, 317 (1984). The coupling behind the last step is not known, so
    one step less than was done is kept.
    """
    from scipy.linalg import hessenberg

    m = nodes.shape[-1]
    bordered = torch.nn.functional.pad(nodes.diag_embed(), (1, 0, 1, 0))
    bordered[..., 0, 1:] = bordered[..., 1:, 0] = weights.clamp(min=0).sqrt()
    flat = bordered.flatten(0, -3).numpy()
    T = torch.from_numpy(np.stack([hessenberg(matrix) for matrix in flat]))
    T = T.view(*nodes.shape[:-1], m + 1, m + 1)
    alpha, beta = T.diagonal(0, -2, -1)[..., 1:], T.diagonal(-1, -2, -1)[..., 1:].abs()
    return alpha[..., :-1].contiguous(), beta.contiguous()
