"""The row of tensors that `spectrum_summary` returns, by name."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.curvature.quadrature import (
    SpectralQuadrature,
    symmetric_log_edges,
)
from lightning_landscape.curvature.results import Eigenpairs

__all__ = ["ZERO", "bins", "both_ends", "columns", "estimated_row", "leading"]

# Eigenvalues of this fraction of the largest modulus count as zero.
ZERO = 1e-4
_DECADES, _BINS_PER_DECADE = 5, 4
_BINS = 2 * _DECADES * _BINS_PER_DECADE + 1


def estimated_row(
    pairs: Eigenpairs, quadrature: SpectralQuadrature, k: int, linear: bool
) -> dict[str, Tensor]:
    """Return the row of estimates, see `spectrum_summary`.

    Args:
        pairs: as many from each end, descending; nan where one is missing.
        quadrature: of the same matrices.
        k: how many of each end the row has room for.
        linear: whether the bins are linear.
    """
    traces, values = quadrature.traces, pairs.eigenvalues
    found = torch.cat([values.nan_to_num(0.0), quadrature.nodes_and_weights[0].flatten(1)], 1)
    scale = found.abs().max()
    density = quadrature.density(bins(scale, linear))
    below = quadrature.fraction_below(-ZERO * scale.item())
    row = {
        "separated": pairs.separated,
        "zero": -ZERO * scale,
        "negative": below.value,
        "negative_lower": below.lower,
        "negative_upper": below.upper,
        "edges": density.edges,
        "fraction": density.fraction,
        "fraction_scatter": density.scatter,
        "resolution": density.resolution,
        "part_trace": columns([e.value for e in traces.parts.values()], values),
        "part_trace_error": columns([e.error for e in traces.parts.values()], values),
    }
    for name, estimate in (("trace", traces.trace), ("trace_of_square", traces.trace_of_square)):
        row |= {name: estimate.value, f"{name}_error": estimate.error}
    evidence = {"": values, "_residual": pairs.residuals, "_converged": pairs.converged}
    for suffix, value in evidence.items():
        row |= both_ends(value, k, suffix)
    return row


def both_ends(values: Tensor, k: int, suffix: str) -> dict[str, Tensor]:
    """Return what belongs to the eigenvalues of both ends, (R, 2 j, …), from each end inwards."""
    highest, lowest = values.chunk(2, dim=1)
    return {
        f"highest{suffix}": leading(highest, k),
        f"lowest{suffix}": leading(lowest.flip(1), k),
    }


def leading(values: Tensor, k: int) -> Tensor:
    """The first k of each row; where there are fewer, nan (not converged, for flags)."""
    found = values[:, :k]
    missing = torch.nan if values.is_floating_point() else False
    room = [0, 0] * (values.dim() - 2) + [0, k - found.shape[1]]
    return torch.nn.functional.pad(found, room, value=missing)


def columns(parts: list[Tensor], like: Tensor) -> Tensor:
    """Return vectors (R,) as columns, (R, parts), also where there are none."""
    return torch.stack(parts, 1) if parts else like[:, :0]


def bins(scale: Tensor, linear: bool) -> Tensor:
    """Return the edges of bins for eigenvalues of moduli up to ``scale``."""
    # a little more than the largest modulus, so that rounding loses nothing
    largest = 1.02 * max(scale.item(), 1e-30)
    if linear:
        return torch.linspace(-largest, largest, _BINS + 1, dtype=torch.float64)
    return symmetric_log_edges(largest / 10**_DECADES, largest, _BINS_PER_DECADE)
