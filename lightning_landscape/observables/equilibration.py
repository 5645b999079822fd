"""Tests of equilibrium from data: chains that start on different sides have to agree."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_landscape.arguments import checked
from lightning_landscape.errors import UsageError, require

__all__ = ["gelman_rubin", "two_starts"]


@checked
def two_starts(above: ArrayLike, below: ArrayLike) -> tuple[float, float]:
    """Return how far apart two groups of chains are, <x>_above - <x>_below, and its error.

    The mean over time of each chain is one number, and chains are independent; so the error comes
    from the scatter of the chains and nothing is assumed about correlations in time. A chain that
    is stuck shows in the error, two groups stuck in different places in the difference.

    Args:
        above: shape (chains, samples), at least two chains.
        below: shape (chains, samples), at least two chains.

    Raises:
        UsageError: fewer than two chains in a group, or a sample that is not finite.

    >>> two_starts([[1.0, 3.0], [2.0, 4.0]], [[2.0, 2.0], [3.0, 3.0]])
    (0.0, 0.70710...)
    """
    means = [_chains("above", above).mean(1), _chains("below", below).mean(1)]
    for name, m in zip(("above", "below"), means, strict=True):
        require(bool(np.isfinite(m).all()), name, "inf or nan", "must be finite")
        require(len(m) >= 2, name, f"{len(m)} chains", "needs at least 2 for an error bar")
    variance = sum(m.var(ddof=1) / len(m) for m in means)
    return float(means[0].mean() - means[1].mean()), float(variance**0.5)


@checked
def gelman_rubin(x: ArrayLike) -> float:
    """Return R-hat of chains split in halves: 1 where all sample one distribution, larger before.

        R-hat^2 = (n - 1)/n + B/W

    with W the mean variance within the 2 m half chains of n samples and B the variance of their
    means. Splitting each chain in halves detects a drift common to all chains as well. Near
    equilibrium R-hat^2 - 1 is about (2 tau - 1)/n for samples with the autocorrelation time tau:
    it falls below any threshold as the run grows (1.01 is a common one).

    Args:
        x: shape (chains, samples), at least four samples.

    Raises:
        UsageError: fewer than four samples, or one that is not finite.

    Source: Gelman, Carlin, Stern, Dunson, Vehtari, Rubin, Bayesian Data Analysis, 3rd ed.,
    section 11.4.

    >>> round(gelman_rubin([[0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]]), 3)  # sqrt(1/2)
    0.707
    """
    values = _chains("x", x)
    n = values.shape[1] // 2
    require(bool(np.isfinite(values).all()), "x", "inf or nan", "must be finite")
    require(n >= 2, "x", f"{values.shape[1]} samples", "needs at least 4 of each chain")
    halves: NDArray[np.float64] = np.concatenate([values[:, :n], values[:, -n:]])
    within = halves.var(axis=1, ddof=1).mean()
    between = halves.mean(axis=1).var(ddof=1)
    return float(np.sqrt((n - 1) / n + between / within)) if within > 0 else float("nan")


def _chains(name: str, x: ArrayLike) -> NDArray[np.float64]:
    try:
        return np.atleast_2d(np.asarray(x, dtype=np.float64))
    except (TypeError, ValueError):
        raise UsageError(
            f"{name} = {type(x).__name__}: must be numbers, (chains, samples)"
        ) from None
