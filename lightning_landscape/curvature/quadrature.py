"""Spectral densities with their resolution, and bounds of cumulative densities that hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.curvature.random_vectors import Deflation
from lightning_landscape.curvature.results import Estimate, Traces
from lightning_landscape.errors import require

__all__ = ["Bracket", "Density", "SpectralQuadrature", "symmetric_log_edges"]

_MATRICES_AT_ONCE = 2**24


@dataclass(frozen=True)
class Bracket:
    """Bounds of a number, each (R,) or (R, X), float64.

    Attributes:
        lower: the number is not below, at the confidence asked for.
        value: the estimate, half-way between the bounds of the quadrature.
        upper: the number is not above, at the confidence asked for.
    """

    lower: Tensor
    value: Tensor
    upper: Tensor


@dataclass(frozen=True)
class Density:
    """A histogram of eigenvalues.

    Attributes:
        edges: of the bins, (B + 1,).
        fraction: of the N eigenvalues in each bin, (R, B).
        scatter: the standard error of ``fraction`` over the random vectors, (R, B). It is no error
            bar of the density: the error of the quadrature, of the order of one node's weight
            where a bin is narrower than ``resolution``, is not in it and often dominates. For
            bounds that hold use `SpectralQuadrature.fraction_below`.
        resolution: the distance of neighbouring nodes in the bin, (R, B); inf beyond the nodes.
            The density says nothing of structure finer than this: merge narrower bins.
    """

    edges: Tensor
    fraction: Tensor
    scatter: Tensor
    resolution: Tensor

    @property
    def density(self) -> Tensor:
        """Fraction per unit of eigenvalue, (R, B)."""
        return self.fraction / self.edges.diff()


@dataclass(frozen=True)
class SpectralQuadrature:
    r"""The spectra of R matrices as weighted nodes, one Gauss quadrature for each random vector.

    Attributes:
        alpha: diagonals of the tridiagonal matrices, (R, n, m), float64.
        beta: norms of the remainders, (R, n, m): off-diagonals, and the last coupling.
        N: size of the matrices.
        deflation: the eigenvalues that were treated exactly.
        traces: tr H, tr H^2, the diagonal and the traces of parts, from the same random vectors.
    """

    alpha: Tensor
    beta: Tensor
    N: int
    deflation: Deflation
    traces: Traces

    @property
    def products(self) -> int:
        """Matrix-vector products per replica that went into it, those of the deflation aside."""
        return self.alpha.shape[1] * self.alpha.shape[2]

    @cached_property
    def nodes_and_weights(self) -> tuple[Tensor, Tensor]:
        """Nodes and weights, (R, n, m); weights of a random vector sum to its share of N, D/N."""
        nodes, weights = _gauss(_tridiagonal(self.alpha, self.beta[..., :-1]))
        return nodes, weights * self._share[:, None, None]

    @property
    def _share(self) -> Tensor:
        return self.deflation.dimension / self.N

    def trace_of(self, function: Callable[[Tensor], Tensor]) -> Estimate:
        """Return tr f(H), shape (R,), for an elementwise ``function`` f of the eigenvalues.

        Exact in the mean for polynomials up to degree 2 steps - 1; for others the error of the
        quadrature, which the standard error does not know, falls as fast as f is smooth.
        """
        nodes, weights = self.nodes_and_weights
        exact = torch.where(self.deflation.used, function(self.deflation.values), 0.0).sum(1)
        return Estimate.of(self.N * (weights * function(nodes)).sum(2), exact)

    def fraction_below(self, x: float | Tensor, sigmas: float = 2.0) -> Bracket:
        r"""Return bounds of the fraction of eigenvalues below ``x``: F(x), the cumulative density.

        Of all measures with the moments that m Lanczos steps know, those with the least and the
        greatest mass below x are the Gauss-Radau quadratures with a node at x, which counts as
        above or below (Chebyshev, Markov, Stieltjes). The gap, the weight of that node, is the
        resolution; it closes where no eigenvalue is near. The mean over n vectors of random signs
        still scatters, with a standard error of at most `\sigma = \sqrt{2 F (1 - F)/(n N)}`
        however small n is: the interval ends at the F that are ``sigmas`` times their sigma away
        from the bounds of the quadrature (Wilson's score interval).

        The scatter between the vectors alone says nothing about the resolution: with many
        eigenvalues near x it can be a hundred times smaller than the error.

        Args:
            x: one number or a grid, (X,).
            sigmas: how many standard errors of the random vectors to allow for; 2 for 95 %.

        Cost: a dense eigenproblem of size m + 1 for each replica, vector and x (0.6 ms at m = 100).

        Source: G. Golub and G. Meurant, Matrices, Moments and Quadrature (Princeton 2010), ch. 6.
        """
        grid = torch.as_tensor(x, dtype=torch.float64)
        R, n, m = self.alpha.shape
        step = max(1, _MATRICES_AT_ONCE // (R * n * (m + 1) ** 2))
        bounds = [self._mass_below(points) for points in grid.reshape(-1).split(step)]
        least, most = (torch.cat(bound, dim=1) for bound in zip(*bounds, strict=True))
        D, share = self.deflation.dimension[:, None], self._share[:, None]
        variance = 2 * sigmas**2 / (n * D)
        low, high = self._locked_below(grid.reshape(-1))
        shape = (R, *grid.shape)
        return Bracket(
            (low + share * _score_interval(least, variance)[0]).reshape(shape),
            ((low + high + share * (least + most)) / 2).reshape(shape),
            (high + share * _score_interval(most, variance)[1]).reshape(shape),
        )

    def density(self, edges: Tensor) -> Density:
        """Return the histogram of the nodes in the bins between ``edges``, (B + 1,), ascending."""
        edges = edges.double()
        require(bool((edges.diff() > 0).all()), "edges", edges.tolist(), "must be ascending")
        nodes, weights = self.nodes_and_weights
        per_vector = _histogram(nodes, weights, edges)
        locked = self.deflation.used.double() / self.N
        exact = _histogram(self.deflation.values, locked, edges)
        estimate = Estimate.of(per_vector, exact)
        spacing = _spacing(nodes, (edges[1:] + edges[:-1]) / 2).mean(1)
        return Density(edges, estimate.value, estimate.error, spacing)

    def _mass_below(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Least and greatest mass below each x in the complement, of 1, mean over the vectors."""
        nodes, weights = _gauss(_radau(self.alpha, self.beta, x))
        at = (nodes - x[:, None]).abs().argmin(-1, keepdim=True)
        upper = weights.cumsum(-1).gather(-1, at)[..., 0]
        lower = upper - weights.gather(-1, at)[..., 0]
        return lower.mean(1).clamp(min=0), upper.mean(1).clamp(max=1)

    def _locked_below(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Fraction of N deflated below x, at least and at most, given their residuals, (R, X)."""
        values, width = self.deflation.values[..., None], self.deflation.residuals[..., None]
        used = self.deflation.used[..., None]
        surely, perhaps = (values + width < x) & used, (values - width < x) & used
        return surely.double().sum(1) / self.N, perhaps.double().sum(1) / self.N


@checked
def symmetric_log_edges(smallest: float, largest: float, per_decade: int = 5) -> Tensor:
    """Return bin edges on a logarithmic axis of either sign, with one bin (-smallest, smallest).

    Args:
        smallest: |eigenvalue| below which all are taken together, > 0.
        largest: the outermost edges are at +largest and -largest.
        per_decade: bins in a factor of ten.

    >>> symmetric_log_edges(0.1, 10, per_decade=1).tolist()
    [-10.0, -1.0, -0.1, 0.1, 1.0, 10.0]
    """
    require(0 < smallest < largest, "smallest", smallest, f"must lie in (0, largest = {largest})")
    low, high = math.log10(smallest), math.log10(largest)
    bins = math.ceil(per_decade * (high - low) - 1e-9)
    edges = torch.logspace(low, high, bins + 1, dtype=torch.float64)
    return torch.cat([-edges.flip(0), edges])


def _tridiagonal(alpha: Tensor, beta: Tensor) -> Tensor:
    return alpha.diag_embed() + beta.diag_embed(1) + beta.diag_embed(-1)


def _gauss(T: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes, ascending, and weights of the quadratures with Jacobi matrices T (…, m, m)."""
    nodes, vectors = torch.linalg.eigh(T)
    return nodes, vectors[..., 0, :].square()


def _score_interval(F: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """The two f with (F - f)^2 = variance f (1 - f)."""
    centre = (F + variance / 2) / (1 + variance)
    half = (variance * F * (1 - F) + variance.square() / 4).sqrt() / (1 + variance)
    return centre - half, centre + half


def _radau(alpha: Tensor, beta: Tensor, x: Tensor) -> Tensor:
    """Jacobi matrices of size m + 1 with an eigenvalue at each x, (R, n, X, m + 1, m + 1).

    The new diagonal entry is x + beta_m^2 / d_m, with the last pivot d_m of T - x. A pivot of
    zero passes through in IEEE arithmetic; at the last one x is already a node, and the other
    new node is sent far away instead of to infinity.
    """
    reach = alpha.abs().amax(-1, keepdim=True) + beta.amax(-1, keepdim=True) + x.abs()
    tiny = 1e-8 * reach.clamp(min=1e-300)
    correction = torch.zeros_like(reach)
    for j in range(alpha.shape[-1]):
        pivot = alpha[..., j, None] - x - correction
        if j == alpha.shape[-1] - 1:
            pivot = torch.where(pivot.abs() < tiny, tiny, pivot)
        coupling = beta[..., j, None].square()
        correction = torch.where(coupling > 0, coupling / pivot, 0.0)  # 0 / 0 where it has ended
    entry = x + correction
    diagonal = torch.cat([alpha[..., None, :].expand(*entry.shape, -1), entry[..., None]], -1)
    return _tridiagonal(diagonal, beta[..., None, :].expand(*entry.shape, -1))


def _histogram(nodes: Tensor, weights: Tensor, edges: Tensor) -> Tensor:
    """Sum the weights (…, m) of the nodes in each bin, (…, B); outside the edges they are lost."""
    bins = torch.bucketize(nodes, edges, right=True)
    sums = weights.new_zeros(*nodes.shape[:-1], len(edges) + 1)
    return sums.scatter_add_(-1, bins, weights)[..., 1:-1]


def _spacing(nodes: Tensor, x: Tensor) -> Tensor:
    """Distance between the nodes on either side of each x, (…, X); inf outside the nodes."""
    beyond = torch.full_like(nodes[..., :1], torch.inf)
    padded = torch.cat([-beyond, nodes, beyond], -1)
    right = torch.searchsorted(padded, x.expand(*nodes.shape[:-1], -1).contiguous())
    return padded.gather(-1, right) - padded.gather(-1, right - 1)
