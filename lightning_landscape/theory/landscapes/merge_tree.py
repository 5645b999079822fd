"""The tree in which basins merge as the energy rises: the exact disconnectivity graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_landscape.errors import require

__all__ = ["MergeTree", "merge_tree"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class MergeTree:
    """n minima as leaves 0 … n-1, and a node for every merger of two basins, lowest first.

    Attributes:
        height: the energies of leaves and nodes, shape (n + m,).
        parent: the node into which each goes, shape (n + m,); -1 for a root.
        barrier: of each minimum the energy at which its basin joins that of a lower minimum, shape
            (n,); infinite for the lowest of each connected part.
    """

    height: Array
    parent: Integers
    barrier: Array

    def groups(self, energy: float) -> Integers:
        """Return the number of the superbasin of each minimum at this energy, shape (n,).

        Minima above the energy are in none, -1. Superbasins are numbered from 0 in the order of
        their first minimum.
        """
        n, tops = len(self.barrier), []
        for node in range(n):
            below = self.height[node] <= energy
            while below and self.parent[node] >= 0 and self.height[self.parent[node]] <= energy:
                node = int(self.parent[node])
            tops.append(node if below else -1)
        numbers = {top: k for k, top in enumerate(dict.fromkeys(t for t in tops if t >= 0))}
        return np.array([numbers.get(top, -1) for top in tops], dtype=np.int64)


def merge_tree(energy: ArrayLike, barrier: ArrayLike, ends: ArrayLike) -> MergeTree:
    """Join the minima by the transition states in the order of their energies.

    A transition state that connects copies of one minimum, or basins that are joined already,
    changes nothing; so does one with an unknown end. Cost: m log m for m transition states.

    Args:
        energy: of the minima, shape (n,).
        barrier: the energies of the transition states, shape (m,).
        ends: the numbers of the two minima of each, from 0, -1 where unknown, shape (m, 2).

    Raises:
        UsageError: an end is no minimum.

    Source: Becker, Karplus 1997, J. Chem. Phys. 106, 1495, of which this is the limit of
    infinitely many levels.

    >>> tree = merge_tree([0.0, 1.0, 0.5], [3.0, 2.0], [[0, 1], [1, 2]])
    >>> tree.height.tolist(), tree.parent.tolist(), tree.barrier.tolist()
    ([0.0, 1.0, 0.5, 2.0, 3.0], [4, 3, 3, 4, -1], [inf, 2.0, 3.0])
    """
    E, levels = np.asarray(energy, dtype=float), np.asarray(barrier, dtype=float)
    pairs, n = np.asarray(ends, dtype=np.int64).reshape(-1, 2), len(E)
    highest = int(pairs.max(initial=-1))
    require(highest < n, "ends", highest, f"must be below {n}, the number of minima")
    height, parent, lowest = E.tolist(), [-1] * n, list(range(n))
    joins, root = np.full(n, np.inf), list(range(n))  # root: towards the present top of each node

    def top(node: int) -> int:
        while root[node] != node:
            root[node] = root[root[node]]
            node = root[node]
        return node

    for state in np.argsort(levels, kind="stable"):
        if pairs[state].min() < 0:
            continue
        a, b = (top(int(end)) for end in pairs[state])
        if a == b:
            continue
        node, level = len(height), float(levels[state])
        low, high = sorted((lowest[a], lowest[b]), key=lambda k: (E[k], k))
        joins[high] = level
        parent[a] = parent[b] = root[a] = root[b] = node
        height.append(level)
        parent.append(-1)
        lowest.append(low)
        root.append(node)
    return MergeTree(np.array(height), np.array(parent, dtype=np.int64), joins)
