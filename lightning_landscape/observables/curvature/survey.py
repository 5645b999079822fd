"""One look at a spectrum: both ends, density, traces and index, exact or estimated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_landscape.errors import require
from lightning_landscape.observables.curvature.dense import spectrum
from lightning_landscape.observables.curvature.lanczos import lanczos
from lightning_landscape.observables.curvature.matrices import DenseOperator
from lightning_landscape.observables.curvature.operator import CurvatureOperator
from lightning_landscape.observables.curvature.quadrature import symmetric_log_edges
from lightning_landscape.observables.curvature.slq import stochastic_lanczos
from lightning_landscape.observables.curvature.tangent import TangentOperator

__all__ = ["Effort", "survey"]

# Eigenvalues of this fraction of the largest modulus count as zero.
_ZERO = 1e-4
_DECADES, _BINS_PER_DECADE = 5, 4
_BINS = 2 * _DECADES * _BINS_PER_DECADE + 1


@dataclass(frozen=True)
class Effort:
    """What a `survey` may spend.

    All eigenvalues are computed where N is at most ``dense_up_to``, or where the N products that
    this takes cost no more than the estimates would. The estimates are left out in the latter
    case, and where the matrices are known without products; otherwise they stand beside.

    Args:
        k: eigenvalues at each end.
        probes: random vectors of the density and the traces; they set the standard errors.
        steps: Lanczos steps for each; they set the resolution.
        max_products: budget of the eigenvalues at the ends, in matrix-vector products.
        dense_up_to: the size N up to which all eigenvalues are computed.
        seed: of the random vectors.

    Raises:
        UsageError: an argument is out of range.
    """

    k: int = 10
    probes: int = 10
    steps: int = 50
    max_products: int = 300
    dense_up_to: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("k", "steps"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "must be at least 1")
        require(self.probes >= 2, "probes", self.probes, "must be at least 2, for error bars")
        least = f"must be at least 2 k = {2 * self.k}"
        require(self.max_products >= 2 * self.k, "max_products", self.max_products, least)
        require(self.dense_up_to >= 0, "dense_up_to", self.dense_up_to, "must be at least 0")

    @property
    def estimate(self) -> int:
        """The most products that the estimates take, per replica."""
        return self.max_products + self.probes * self.steps

    def computes_all(self, N: int) -> bool:
        """Whether all N eigenvalues are computed."""
        return max(self.dense_up_to, self.estimate) >= N

    def estimates(self, N: int, known: bool) -> bool:
        """Whether anything is estimated, for matrices that are ``known`` without products."""
        return not self.computes_all(N) or not (known or self.estimate >= N)

    def products(self, N: int, known: bool) -> int:
        """The most products that a survey takes, per replica."""
        if self.computes_all(N):
            return 0 if known else N
        return self.estimate


def survey(
    operator: CurvatureOperator, effort: Effort, parts: Mapping[str, slice] | None = None
) -> dict[str, Tensor]:
    """Return what is to be known of R spectra, by name, float64 with the replica axis first.

    ``highest``, ``lowest``: k eigenvalues from each end inwards, (R, k), with ``_residual`` and
    ``_converged``; ``separated``, (R,): whether none can be missing among them. ``trace``,
    ``trace_of_square``, (R,), and ``part_trace``, (R, parts), with ``_error``. ``negative``, (R,):
    the fraction of eigenvalues below ``zero`` = -1e-4 of the largest modulus, between
    ``negative_lower`` and ``negative_upper``. ``fraction`` of the eigenvalues in the bins between
    ``edges``, (R, B), with ``fraction_error`` and ``resolution``: linear bins on the sphere,
    logarithmic ones on both sides of zero otherwise. ``eigenvalues``, (R, N), where all are
    computed. ``products`` spent.

    What is exact has the error 0; residuals of exact eigenvalues bound their rounding errors.

    Args:
        operator: R symmetric matrices of size N.
        effort: what may be spent, and so what is exact.
        parts: named ranges of coordinates, for example layers.

    >>> found = survey(DenseOperator(torch.diag(torch.arange(-1.0, 4.0))), Effort(k=1))
    >>> found["highest"].item(), found["negative"].item(), found["trace"].item()
    (3.0, 0.2, 5.0)
    """
    before, parts = operator.products, parts or {}
    linear = isinstance(operator, TangentOperator)
    known = operator.gradient_cost == 0
    row: dict[str, Tensor] = {}
    matrices = operator
    if effort.computes_all(operator.N):
        matrices = DenseOperator(operator.dense())
        row = _exact(matrices, effort.k, parts, linear)
    if effort.estimates(operator.N, known):
        row |= _estimated(matrices, effort, parts, linear)
    row["products"] = torch.tensor(operator.products - before)
    return row


def _exact(
    matrices: DenseOperator, k: int, parts: Mapping[str, slice], linear: bool
) -> dict[str, Tensor]:
    full = spectrum(matrices)
    values = full.eigenvalues
    scale = values.abs().max()
    edges = _edges(scale, linear)
    counts = torch.stack([torch.histogram(v, edges).hist for v in values])
    negative = full.fraction_below(-_ZERO * scale.item())
    diagonal = matrices.dense().diagonal(dim1=1, dim2=2).double().cpu()
    row = {
        "eigenvalues": values,
        "highest": _ends(values.flip(1), k),
        "lowest": _ends(values, k),
        "separated": torch.ones(len(values), dtype=torch.bool),
        "trace": values.sum(1),
        "trace_of_square": values.square().sum(1),
        "part_trace": _columns([diagonal[:, part].sum(1) for part in parts.values()], values),
        "zero": -_ZERO * scale,
        **dict.fromkeys(("negative", "negative_lower", "negative_upper"), negative),
        "edges": edges,
        "fraction": counts / values.shape[1],
    }
    for name in ("trace", "trace_of_square", "part_trace", "fraction"):
        row[f"{name}_error"] = torch.zeros_like(row[name])
    row["resolution"] = torch.zeros_like(row["fraction"])
    for name in ("highest", "lowest"):
        row[f"{name}_residual"] = full.error[:, None].expand_as(row[name]).clone()
        row[f"{name}_converged"] = row[name].isfinite()
    return row


def _estimated(
    operator: CurvatureOperator, effort: Effort, parts: Mapping[str, slice], linear: bool
) -> dict[str, Tensor]:
    k = min(effort.k, (operator.N - 1) // 2)
    budget = max(effort.max_products, 2 * k)
    pairs = lanczos(operator, k, "both", max_products=budget, seed=effort.seed)
    quadrature = stochastic_lanczos(
        operator, effort.probes, effort.steps, deflate=pairs, parts=parts, seed=effort.seed + 1
    )
    traces, values = quadrature.traces, pairs.eigenvalues
    scale = torch.maximum(values.abs().max(), quadrature.nodes_and_weights[0].abs().max())
    density = quadrature.density(_edges(scale, linear))
    below = quadrature.fraction_below(-_ZERO * scale.item())
    row = {
        "separated": pairs.separated,
        "zero": -_ZERO * scale,
        "negative": below.value,
        "negative_lower": below.lower,
        "negative_upper": below.upper,
        "edges": density.edges,
        "fraction": density.fraction,
        "fraction_error": density.error,
        "resolution": density.resolution,
        "part_trace": _columns([e.value for e in traces.parts.values()], values),
        "part_trace_error": _columns([e.error for e in traces.parts.values()], values),
    }
    for name, estimate in (("trace", traces.trace), ("trace_of_square", traces.trace_of_square)):
        row |= {name: estimate.value, f"{name}_error": estimate.error}
    evidence = {"": values, "_residual": pairs.residuals, "_converged": pairs.converged}
    for suffix, value in evidence.items():
        row[f"highest{suffix}"] = _ends(value[:, :k], effort.k)
        row[f"lowest{suffix}"] = _ends(value[:, k:].flip(1), effort.k)
    return row


def _ends(values: Tensor, k: int) -> Tensor:
    """The first k of each row; where there are fewer, nan (not converged, for flags)."""
    found = values[:, :k]
    missing = torch.nan if values.is_floating_point() else False
    return torch.nn.functional.pad(found, (0, k - found.shape[1]), value=missing)


def _columns(columns: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack(columns, 1) if columns else like[:, :0]


def _edges(scale: Tensor, linear: bool) -> Tensor:
    # a little more than the largest modulus, so that rounding loses nothing
    largest = 1.02 * max(scale.item(), 1e-30)
    if linear:
        return torch.linspace(-largest, largest, _BINS + 1, dtype=torch.float64)
    return symmetric_log_edges(largest / 10**_DECADES, largest, _BINS_PER_DECADE)
