"""The path between two minima whose highest transition state is lowest."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import ArrayLike

from lightning_landscape.errors import require

__all__ = ["lowest_path"]


def lowest_path(
    barrier: ArrayLike, ends: ArrayLike, source: int, target: int
) -> tuple[list[int], list[int]] | None:
    """Return the minima and the transition states along the lowest path, or None if there is none.

    Of all paths the one whose highest transition state is lowest; among those the one with the
    fewest steps, and between two minima of it the lowest transition state.

    Cost: m log m for m transition states.

    Args:
        barrier: the energies of the transition states, shape (m,).
        ends: the numbers of the two minima of each, from 0, -1 where unknown, shape (m, 2).
        source: the number of the first minimum.
        target: the number of the last one.

    Returns:
        k + 1 minima, the source first, and the k transition states between them.

    Raises:
        UsageError: a negative number of a minimum, or one number of ends for each barrier.

    >>> lowest_path([5.0, 1.0, 2.0], [[0, 2], [0, 1], [2, 1]], source=0, target=2)
    ([0, 1, 2], [1, 2])
    """
    levels, pairs = np.asarray(barrier, float), np.asarray(ends, np.int64).reshape(-1, 2)
    m = len(pairs)
    require(len(levels) == m, "ends", f"of {m}", f"must be of {len(levels)}, as barrier")
    require(min(source, target) >= 0, "source, target", (source, target), "must be at least 0")
    neighbours: dict[int, dict[int, int]] = {}
    root: dict[int, int] = {}

    def top(node: int) -> int:
        while root.setdefault(node, node) != node:
            node = root[node]
        return node

    for state in np.argsort(levels, kind="stable").tolist():
        a, b = pairs[state].tolist()
        if min(a, b) >= 0 and a != b:
            neighbours.setdefault(a, {}).setdefault(b, state)
            neighbours.setdefault(b, {}).setdefault(a, state)
            root[top(a)] = top(b)
        if top(source) == top(target):
            return _fewest_steps(neighbours, source, target)
    return ([source], []) if source == target else None


def _fewest_steps(
    neighbours: dict[int, dict[int, int]], source: int, target: int
) -> tuple[list[int], list[int]]:
    before, waiting = {source: (-1, -1)}, deque([source])
    while target not in before:
        node = waiting.popleft()
        for other, state in neighbours.get(node, {}).items():
            if other not in before:
                before[other] = node, state
                waiting.append(other)
    minima, states = [target], list[int]()
    while minima[-1] != source:
        node, state = before[minima[-1]]
        minima.append(node)
        states.append(state)
    return minima[::-1], states[::-1]
