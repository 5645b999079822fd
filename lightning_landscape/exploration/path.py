"""Paths from one minimum to another through all transition states between them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import shortest_path
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.errors import require, require_whole
from lightning_landscape.exploration.band import elastic_band
from lightning_landscape.exploration.database import Database
from lightning_landscape.exploration.explorer import Explorer
from lightning_landscape.theory.landscapes.lowest_path import lowest_path

__all__ = ["find_path"]

Array = NDArray[np.float64]

_CONNECTED = 1e-9  # the cost of a pair that is connected; others cost their distance squared
_SEARCHES = 20  # from kicked minima, where bands lead nowhere
_STEPS = 100  # of a band: for the start of a search it need not converge


@checked
def find_path(
    explorer: Explorer,
    database: Database,
    start: Tensor,
    end: Tensor,
    images: int = 11,
    rounds: int = 10,
) -> tuple[list[int], list[int]] | None:
    """Find transition states until two configurations are connected; they are added.

    Round after round: of all chains of minima from the one to the other the one with the least sum
    of squared distances, where connected pairs cost nothing; bands over its gaps, all in one batch;
    searches for transition states from the maxima of the bands, each with the minima at its sides.
    A gap is tried once. New minima on the way divide the others, so that a path through many minima
    is found in pieces. Where no gap is left, the round is 20 searches from kicked minima.

    The database may hold symmetric copies as one minimum, see `Identity`; the path then leads from
    one copy to one of the other, and bands of clusters to the nearest copy. Cost: ``images`` times
    100 gradients a gap, and a search and two quenches for each maximum of a band.

    Args:
        explorer: searches and quenches.
        database: what is known; it may be empty.
        start: quenched first, shape (N,).
        end: the same.
        images: of each band.
        rounds: the largest number of them.

    Returns:
        the numbers of the minima and of the transition states along the lowest path that is known
        then; None if they are not connected.

    Raises:
        UsageError: an argument out of range, or an end that is in no basin of a minimum.

    Source: the missing-connection algorithm, Carr, Trygubenko, Wales 2005, J. Chem. Phys. 122,
    234903.

    >>> from lightning_landscape.energies import MuellerBrown
    >>> from lightning_landscape.exploration import Landscape
    >>> explorer = Explorer(Landscape(MuellerBrown(dtype="float64")), max_step=0.1)
    >>> database = explorer.empty()
    >>> ends = torch.tensor([[-0.6, 1.4], [0.6, 0.0]]).double()
    >>> _, states = find_path(explorer, database, *ends)
    >>> database.transition_states.energy[states].round(4).tolist()
    [-40.6648, -72.2489]
    """
    require_whole("rounds", rounds)
    a, b = explorer.add_minima(database, torch.stack([start, end]))
    require(min(a, b) >= 0, "start, end", (a, b), "must both be in the basin of a minimum")
    tried: set[tuple[int, int]] = set()
    for _ in range(rounds):
        states = database.transition_states
        if a == b or lowest_path(states.energy, states.ends, a, b) is not None:
            break
        gaps = _gaps(database, a, b, tried)
        if gaps:
            tried |= set(gaps)
            _search(explorer, database, gaps, images)
        else:
            explorer.run(database.quenches, database.searches + _SEARCHES, database)
    states = database.transition_states
    return lowest_path(states.energy, states.ends, a, b)


def _gaps(database: Database, a: int, b: int, tried: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the pairs that are not connected in the cheapest chain of minima from a to b."""
    x = database.minima.x
    squares = (x**2).sum(1)
    cost = np.maximum(squares[:, None] + squares - 2 * x @ x.T, 2 * _CONNECTED)
    for i, j in tried:
        cost[i, j] = cost[j, i] = np.inf
    for i, j in database.transition_states.ends:
        if min(i, j) >= 0:
            cost[i, j] = cost[j, i] = _CONNECTED
    np.fill_diagonal(cost, 0.0)
    _, before = shortest_path(cost, directed=False, indices=a, return_predecessors=True)
    gaps, node = [], b
    while node != a:
        last = int(before[node])
        if last < 0:  # all have been tried
            return []
        if cost[last, node] > _CONNECTED:
            gaps.append((last, node))
        node = last
    return gaps


def _search(
    explorer: Explorer, database: Database, gaps: list[tuple[int, int]], images: int
) -> None:
    x = torch.from_numpy(database.minima.x)
    first, second = x[[i for i, _ in gaps]], x[[j for _, j in gaps]]
    second = explorer.landscape.nearest_copy(second, first)
    bands = elastic_band(
        explorer.landscape, first, second, images, explorer.max_step / 2, steps=_STEPS, climb=False
    )
    tops = bands.maxima()
    if tops:
        starts = torch.stack([bands.x[b, i] for b, i in tops])
        modes = torch.stack([bands.tangent[b, i - 1] for b, i in tops])
        explorer.search_from(database, starts, modes)
