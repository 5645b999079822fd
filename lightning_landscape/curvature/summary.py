"""The summary of a spectrum: both ends, density, traces and index, exact or estimated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lightning_landscape.arguments import Checked, checked
from lightning_landscape.curvature.dense import spectrum
from lightning_landscape.curvature.lanczos import lanczos
from lightning_landscape.curvature.operators.base import CurvatureOperator, require_symmetry
from lightning_landscape.curvature.operators.matrices import DenseOperator
from lightning_landscape.curvature.operators.tangent import TangentOperator
from lightning_landscape.curvature.parts import highest_of_parts
from lightning_landscape.curvature.quadrature import SpectralQuadrature
from lightning_landscape.curvature.results import Eigenpairs
from lightning_landscape.curvature.row import (
    ZERO,
    bins,
    both_ends,
    columns,
    estimated_row,
    leading,
)
from lightning_landscape.curvature.slq import stochastic_lanczos
from lightning_landscape.errors import require

__all__ = ["Budget", "spectrum_summary"]

# A single start vector sees one copy of a double eigenvalue, and can miss one of two close ones.
_BLOCK = 2
# of residuals, relative to the eigenvalue
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Budget(Checked):
    """What a `spectrum_summary` may spend.

    All eigenvalues are computed where N is at most ``dense_up_to``, or where the N products that
    this takes cost no more than the estimates would. The estimates are left out in the latter
    case, and where the matrices are known without products; otherwise both are returned.

    Args:
        k: eigenvalues at each end.
        random_vectors: how many for the density and the traces; they set the standard errors.
        steps: Lanczos steps for each; they set the resolution.
        max_products: budget of the eigenvalues at the ends, in matrix-vector products.
        dense_up_to: the size N up to which all eigenvalues are computed.
        seed: of the random vectors.
        eigenvectors: whether to return those of the eigenvalues at the ends too, 2 k R N numbers.
        layers: whether to return the k highest eigenvalues of the diagonal block of each part too,
            with ``max_products`` for each where not all eigenvalues are computed.

    Raises:
        UsageError: an argument is out of range.
    """

    k: int = 10
    random_vectors: int = 10
    steps: int = 50
    max_products: int = 300
    dense_up_to: int = 1000
    seed: int = 0
    eigenvectors: bool = False
    layers: bool = False

    def __post_init__(self) -> None:
        for name in ("k", "steps"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "must be at least 1")
        several = "must be at least 2, for error bars"
        require(self.random_vectors >= 2, "random_vectors", self.random_vectors, several)
        least = f"must be at least 2 k = {2 * self.k}"
        require(self.max_products >= 2 * self.k, "max_products", self.max_products, least)
        require(self.dense_up_to >= 0, "dense_up_to", self.dense_up_to, "must be at least 0")

    @property
    def estimate(self) -> int:
        """The most products that the estimates take, per replica."""
        return self.max_products + self.random_vectors * self.steps

    @property
    def by_pyhessian(self) -> int:
        """The most products that `summary_by_pyhessian` takes for one replica."""
        return self.estimate + self.random_vectors + self.k

    def computes_all(self, N: int) -> bool:
        """Whether all N eigenvalues are computed."""
        return max(self.dense_up_to, self.estimate) >= N

    def estimates(self, N: int, known: bool) -> bool:
        """Whether anything is estimated, for matrices that are ``known`` without products."""
        return not self.computes_all(N) or not (known or self.estimate >= N)

    def products(self, N: int, known: bool) -> int:
        """The most products that a spectrum_summary takes, per replica."""
        if self.computes_all(N):
            return 0 if known else N
        return self.estimate


@checked
def spectrum_summary(
    operator: CurvatureOperator, budget: Budget, parts: Mapping[str, slice] | None = None
) -> dict[str, Tensor]:
    """Return what is to be known of R spectra, by name, float64 with the replica axis first.

    ``highest``, ``lowest``: k eigenvalues from each end inwards, (R, k), with ``_residual`` and
    ``_converged``; ``separated``, (R,): whether none seems to be missing among them. ``trace``,
    ``trace_of_square``, (R,), and ``part_trace``, (R, parts), with ``_error``. ``negative``, (R,):
    the fraction of eigenvalues below ``zero`` = -1e-4 of the largest modulus, between
    ``negative_lower`` and ``negative_upper``. ``fraction`` of the eigenvalues in the bins between
    ``edges``, (R, B), with ``fraction_scatter`` over the random vectors and ``resolution``, see
    `Density`: linear bins on the sphere, logarithmic ones on both sides of zero otherwise.
    ``eigenvalues``, (R, N), where all are computed. ``part_highest``, (R, parts, k), where the
    budget includes it, see `highest_of_parts`. ``highest_vector`` and ``lowest_vector``,
    (R, k, N), where the budget includes them: unit eigenvectors in the coordinates of the
    configuration, their signs arbitrary. ``products``
    spent.

    What is exact has the error 0; residuals of exact eigenvalues bound their rounding errors, half
    the measured asymmetry of the matrix among them. Converged are those whose residual is at most
    1e-3 of the eigenvalue (or rounding error of the largest).

    Args:
        operator: R symmetric matrices of size N.
        budget: what may be spent, and so what is exact.
        parts: named ranges of coordinates, for example layers.

    Raises:
        UsageError: the products are not those of a symmetric matrix: their asymmetry is more than
            1 % of it.

    >>> found = spectrum_summary(DenseOperator(torch.diag(torch.arange(-1.0, 4.0))), Budget(k=1))
    >>> found["highest"].item(), found["negative"].item(), found["trace"].item()
    (3.0, 0.2, 5.0)
    """
    before, parts = operator.products, parts or {}
    linear = isinstance(operator, TangentOperator)
    known = operator.gradient_cost == 0
    row: dict[str, Tensor] = {}
    vectors, matrices = torch.empty(0), operator
    if budget.computes_all(operator.N):
        matrices = DenseOperator(operator.dense())
        row = _exact(matrices, budget.k, parts, linear)
    if budget.estimates(operator.N, known):
        pairs, quadrature = _estimated(matrices, budget, parts)
        row |= estimated_row(pairs, quadrature, budget.k, linear)
        vectors = pairs.eigenvectors
    elif budget.eigenvectors:
        vectors = _extreme(matrices, min(budget.k, operator.N))
    if budget.layers:
        most, seed = budget.max_products, budget.seed
        row |= highest_of_parts(matrices, parts, budget.k, max_products=most, seed=seed)
    if budget.eigenvectors:
        row |= both_ends(operator.lift(vectors), budget.k, "_vector")
    row["products"] = torch.tensor(operator.products - before)
    return row


def _exact(
    matrices: DenseOperator, k: int, parts: Mapping[str, slice], linear: bool
) -> dict[str, Tensor]:
    full = spectrum(matrices)
    values = full.eigenvalues
    norm = values.square().sum(1).sqrt().clamp(min=1e-300)
    require_symmetry((full.error / norm).max().item())
    scale = values.abs().max()
    edges = bins(scale, linear)
    counts = torch.stack([torch.histogram(v, edges).hist for v in values])
    negative = full.fraction_below(-ZERO * scale.item())
    diagonal = matrices.dense().diagonal(dim1=1, dim2=2).double().cpu()
    row = {
        "eigenvalues": values,
        "highest": leading(values.flip(1), k),
        "lowest": leading(values, k),
        "separated": torch.ones(len(values), dtype=torch.bool),
        "trace": values.sum(1),
        "trace_of_square": values.square().sum(1),
        "part_trace": columns([diagonal[:, part].sum(1) for part in parts.values()], values),
        "zero": -ZERO * scale,
        **dict.fromkeys(("negative", "negative_lower", "negative_upper"), negative),
        "edges": edges,
        "fraction": counts / values.shape[1],
    }
    for name in ("trace", "trace_of_square", "part_trace"):
        row[f"{name}_error"] = torch.zeros_like(row[name])
    for name in ("fraction_scatter", "resolution"):
        row[name] = torch.zeros_like(row["fraction"])
    for name in ("highest", "lowest"):
        row[f"{name}_residual"] = full.error[:, None].expand_as(row[name]).clone()
        size = row[name].abs()
        floor = 10 * torch.finfo(matrices.dtype).eps * values.abs().amax(1, keepdim=True)
        row[f"{name}_converged"] = full.error[:, None] <= _TOLERANCE * size + floor
    return row


def _extreme(matrices: CurvatureOperator, k: int) -> Tensor:
    """Eigenvectors of the k highest and the k lowest eigenvalues, descending, (R, 2 k, N)."""
    chosen = []
    for H in matrices.dense().double():
        Y = torch.linalg.eigh(H).eigenvectors.mT.flip(0)
        chosen.append(torch.cat([Y[:k], Y[-k:]]))
    return torch.stack(chosen).to(matrices.dtype)


def _estimated(
    operator: CurvatureOperator, budget: Budget, parts: Mapping[str, slice]
) -> tuple[Eigenpairs, SpectralQuadrature]:
    k = min(budget.k, (operator.N - 1) // 2)
    products = max(budget.max_products, 2 * k)
    pairs = lanczos(
        operator,
        k,
        "both",
        tolerance=_TOLERANCE,
        block=_BLOCK,
        max_products=products,
        seed=budget.seed,
    )
    require_symmetry(pairs.asymmetry.max().item())
    quadrature = stochastic_lanczos(
        operator,
        budget.random_vectors,
        budget.steps,
        deflate=pairs,
        parts=parts,
        seed=budget.seed + 1,
    )
    return replace(pairs, separated=pairs.separated & ~_missed(pairs, quadrature)), quadrature


def _missed(pairs: Eigenpairs, quadrature: SpectralQuadrature) -> Tensor:
    """Whether the random vectors, which see what was left in, met an eigenvalue further out, (R,).

    A node lies between eigenvalues, so one beyond those found proves that another is there.
    """
    nodes = quadrature.nodes_and_weights[0].flatten(1)
    width = nodes.amax(1) - nodes.amin(1)
    reach = pairs.residuals.amax(1) + 1e-6 * width
    highest, lowest = pairs.eigenvalues.chunk(2, dim=1)
    above = nodes.amax(1) > highest.amin(1) + reach
    return above | (nodes.amin(1) < lowest.amax(1) - reach)
