"""How the number of different points has grown with the searches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from lightning_landscape.results.registry import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["panels", "rarefied"]

_POINTS = 60
_KINDS = {"minimum": "minima, of quenches", "transition_state": "transition states, of searches"}


def panels(dataset: Dataset) -> list[Panel]:
    """Return the numbers of points against those of searches, where there were two."""
    enough = any(int(dataset[f"{kind}_seen"].sum()) > 1 for kind in _KINDS)
    return [_draw] if enough else []


def rarefied(seen: ArrayLike, searches: ArrayLike) -> NDArray[np.float64]:
    r"""Return the mean number of different points in some of the searches, in random order.

        S(n) = \sum_i [1 - C(Q - s_i, n) / C(Q, n)],   Q = \sum_i s_i,

    exactly, for point i seen s_i times. Its slope at n = Q is the share of points seen once.

    Args:
        seen: s_i.
        searches: n, at most Q, shape (m,).

    Source: Hurlbert 1971, Ecology 52, 577.

    >>> rarefied([2, 1], [1, 2, 3]).round(4).tolist()
    [1.0, 1.6667, 2.0]
    """
    s = np.asarray(seen, float)[np.asarray(seen) > 0, None]
    n, Q = np.asarray(searches, float), s.sum()
    rest = Q - s - n
    possible = rest > -0.5
    missing = gammaln(Q - s + 1) - gammaln(np.where(possible, rest, 0) + 1)
    missing = missing - gammaln(Q + 1) + gammaln(Q - n + 1)
    return np.where(possible, 1 - np.exp(missing), 1.0).sum(0)


def _draw(dataset: Dataset, axes: Axes) -> None:
    """The curves, which flatten where little is missing."""
    for k, (kind, label) in enumerate(_KINDS.items()):
        seen = dataset[f"{kind}_seen"].to_numpy()
        Q = int(seen.sum())
        if Q < 2:
            continue
        n = np.unique(np.geomspace(1, Q, _POINTS).round())
        covered = 1 - (seen == 1).sum() / Q
        axes.plot(n, rarefied(seen, n), color=f"C{k}", label=f"{label}: coverage {covered:.3g}")
        axes.plot(Q, (seen > 0).sum(), "o", color=f"C{k}")
    axes.set(xlabel="searches with an end", ylabel="different points", xscale="log")
    axes.legend(loc="upper left")
