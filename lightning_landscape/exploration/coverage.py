"""How much of what there is to find has been found."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lightning_landscape.arguments import checked
from lightning_landscape.errors import require

__all__ = ["chao", "good_turing"]


@checked
def good_turing(seen: ArrayLike) -> float:
    """Return the estimated probability that the next search ends in a known point.

    1 - n_1 / sum of ``seen``, with n_1 the number of points seen exactly once: it says how much of
    the basins' volume is known, and nothing of how many small basins there are (`chao`).

    Args:
        seen: how often each point was the end of an independent search, shape (n,).

    Raises:
        UsageError: nothing has been seen.

    Source: Good 1953, Biometrika 40, 237.

    >>> good_turing([5, 3, 1, 1])
    0.8
    """
    counts = np.asarray(seen)
    total = int(counts.sum())
    require(total > 0, "seen", total, "must add up to at least 1")
    return 1 - int((counts == 1).sum()) / total


@checked
def chao(seen: ArrayLike) -> float:
    """Return a lower bound for the mean number of points, n + n_1 (n_1 - 1) / (2 (n_2 + 1)).

    With n_k the number of points seen exactly k times and n that of all seen.

    Args:
        seen: how often each point was the end of an independent search, shape (n,).

    Source: Chao 1984, Scand. J. Statist. 11, 265; bias-corrected form.

    >>> chao([5, 3, 1, 1])
    5.0
    """
    counts = np.asarray(seen)
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return int((counts > 0).sum()) + once * (once - 1) / (2 * (twice + 1))
