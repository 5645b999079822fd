"""Means over the samples of the disorder, and their standard errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["mean_and_error"]

Array = NDArray[np.float64]


def mean_and_error(samples: Dataset, name: str, runs: NDArray[np.intp]) -> tuple[Array, Array]:
    """Return the mean of X over n samples of the disorder, and its standard error.

    The variance between samples is at least 1/R of that between the R replicas of a sample, which
    is known from n times as many numbers. So the squared error is the larger one of

        s^2 / n  (s^2: variance between samples)  and  <variance in a sample> / (R n),

    which a few samples that agree by chance do not make too small.

    Args:
        samples: X and, if recorded, ``X_variance``, with ``run`` first; R in ``replicas``.
        name: X.
        runs: the n >= 2 samples of a point.
    """
    values, n = samples[name].to_numpy()[runs], len(runs)
    variance = values.var(0, ddof=1)
    if f"{name}_variance" in samples:
        within = samples[f"{name}_variance"].to_numpy()[runs].mean(0)
        variance = np.fmax(variance, within / samples.attrs["replicas"])  # nan of one replica
    return values.mean(0), np.sqrt(variance / n)
