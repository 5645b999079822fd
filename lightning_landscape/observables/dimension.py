r"""How many stiff directions a landscape has, from its fluctuations at temperature T.

In a quadratic valley with n stiff directions <U> - U_min = nT/2 and Var U = nT^2/2, so that n can
be obtained from the mean, the variance, the heat capacity or the spread of the configurations. In
any other landscape these are four numbers, and only their agreement makes one of them a dimension.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lightning_landscape.arguments import Checked, checked
from lightning_landscape.errors import require, require_whole
from lightning_landscape.rng import Stream

__all__ = [
    "Sketch",
    "from_mean",
    "from_specific_heat",
    "from_variance",
    "participation_ratio",
]

Array = NDArray[np.float64]

_ROWS = 64  # of a sketch, drawn at a time


def from_mean(energy: ArrayLike, temperature: ArrayLike, lowest_energy: float = 0.0) -> Array:
    """Return N = 2 (<U> - U_min) / T.

    Args:
        energy: <U>.
        temperature: T > 0.
        lowest_energy: U_min. It has to be known: 0 for a loss that the network can fit; the
            lowest U of a run lies above it by an amount of the order of N T.

    >>> float(from_mean(0.05, 0.01))
    10.0
    """
    return 2 * (np.asarray(energy, float) - lowest_energy) / np.asarray(temperature, float)


def from_variance(variance: ArrayLike, temperature: ArrayLike) -> Array:
    """Return N = 2 Var U / T^2, for which no lowest energy has to be known.

    >>> float(from_variance(0.0005, 0.01))
    10.0
    """
    return 2 * np.asarray(variance, float) / np.asarray(temperature, float) ** 2


def from_specific_heat(
    energy: ArrayLike, error: ArrayLike, temperature: ArrayLike
) -> tuple[Array, Array, Array]:
    """Return geometric mean temperatures, N = 2 d<U>/dT and its error, between neighbours.

    With <U> of order T a difference over a factor of ten in T is the slope at their geometric
    mean to within the change of N over that factor.

    Args:
        energy: <U> at K temperatures, independent of each other.
        error: their standard errors.
        temperature: K different temperatures > 0.

    Returns:
        Three arrays of length K - 1, by rising temperature.

    Raises:
        UsageError: there are fewer than two temperatures, or two are equal.

    >>> T, N, error = from_specific_heat([0.01, 0.1], [0.001, 0.01], [0.001, 0.01])
    >>> N.round(6), error.round(3)
    (array([20.]), array([2.233]))
    """
    order = np.argsort(np.asarray(temperature, float))
    T, U, s = (np.asarray(v, float)[order] for v in (temperature, energy, error))
    distinct = len(T) >= 2 and bool((np.diff(T) > 0).all())
    require(distinct, "temperature", T.tolist(), "needs two or more, all different")
    noise = np.sqrt(s[1:] ** 2 + s[:-1] ** 2)
    return np.sqrt(T[1:] * T[:-1]), 2 * np.diff(U) / np.diff(T), 2 * noise / np.diff(T)


@checked
def participation_ratio(samples: Tensor, sketched: int | None = None) -> Tensor:
    r"""Return (tr C)^2 / tr C^2 of the covariance C of configurations, one for each replica.

    It is n where n directions fluctuate equally; otherwise it counts the widest ones: flat
    directions, which diffuse, rather than stiff ones. tr C^2 and (tr C)^2 are each estimated
    without bias from S independent samples, through their scalar products and without an N x N
    matrix. From correlated samples it sees only what they have explored.

    Args:
        samples: S >= 4 configurations, or their sketches, shape (S, R, N).
        sketched: the size of the `Sketch`, whose bias is then removed too; None where the samples
            are the configurations themselves.

    Returns:
        Shape (R,), float64.

    Cost: S^2 R N multiply-adds.

    Raises:
        UsageError: there are fewer than four samples.

    Source: Himeno, Yamada 2014, J. Multivariate Anal. 130, 27 (unbiased traces).

    >>> x = torch.randn(400, 1, 50, generator=torch.Generator().manual_seed(0))
    >>> round(participation_ratio(x).item())
    50
    """
    S = len(samples)
    require(S >= 4, "len(samples)", S, "must be at least 4")
    x = samples.double().transpose(0, 1)
    x = x - x.mean(1, keepdim=True)
    gram = x @ x.mT
    trace = gram.diagonal(dim1=1, dim2=2).sum(1) / (S - 1)
    square = gram.square().sum((1, 2)) / (S - 1) ** 2
    Q = gram.diagonal(dim1=1, dim2=2).square().sum(1) / (S - 1)
    scale = (S - 1) / (S * (S - 2) * (S - 3))
    of_square = scale * ((S - 1) * (S - 2) * square + trace**2 - S * Q)
    squared = scale * (2 * square + (S**2 - 3 * S + 1) * trace**2 - S * Q)
    if sketched is not None:  # invert the means over the Gaussian directions of the sketch
        m = sketched
        mixed = torch.tensor([[1 + 1 / m, 1 / m], [2 / m, 1.0]], dtype=torch.float64)
        of_square, squared = torch.linalg.solve(mixed, torch.stack([of_square, squared]))
    return squared / of_square


class Sketch(Checked):
    """Projections of configurations on random directions, from which their spread is estimated.

    A configuration of N numbers becomes m products with the same Gaussian directions of variance
    1/m, for all replicas and times. The directions are functions of the seed: nothing of size m N
    is stored. Where m >= N the configuration stays as it is.

    Args:
        N: size of a configuration.
        size: m.
        seed: of the directions.

    Cost: m N normals and R m N multiply-adds.
    """

    def __init__(self, N: int, size: int = 256, seed: int = 0) -> None:
        require_whole("N", N)
        require_whole("size", size, 2)
        self.N, self.size = N, min(N, size)
        self._stream = Stream(seed, "sketch")

    @property
    def sketched(self) -> int | None:
        """m, or None where nothing is projected."""
        return self.size if self.size < self.N else None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the sketches, (R, m), of configurations x, (R, N), on the CPU in float64."""
        if self.sketched is None:
            return x.double().cpu()
        parts = []
        for start in range(0, self.size, _ROWS):
            rows = torch.empty(min(_ROWS, self.size - start), self.N)
            directions = self._stream.normal_(rows, step=start).to(x)
            parts.append((x @ directions.mT).double().cpu())
        return torch.cat(parts, 1) / self.size**0.5
