"""The lowest path against all paths."""

from itertools import pairwise, permutations

import numpy as np
import pytest

from lightning_landscape.theory.landscapes import lowest_path


def best(levels, ends, n, source, target):
    """The lowest highest barrier, and the fewest steps, over all sequences of minima."""
    lowest = {}
    for level, (a, b) in zip(levels, ends, strict=True):
        if min(a, b) >= 0 and a != b:
            key = min(a, b), max(a, b)
            lowest[key] = min(level, lowest.get(key, np.inf))
    found = []
    others = [k for k in range(n) if k not in (source, target)]
    for length in range(len(others) + 1):
        for middle in permutations(others, length):
            chain = [source, *middle, target]
            steps = [(min(p), max(p)) for p in pairwise(chain)]
            if all(step in lowest for step in steps):
                found.append((max(lowest[step] for step in steps), len(steps)))
    return min(found, default=None)


@pytest.mark.parametrize("seed", range(8))
def test_against_all_paths(seed):
    rng = np.random.default_rng(seed)
    n, m = 5, 7
    levels, ends = rng.integers(0, 6, m).astype(float), rng.integers(-1, n, (m, 2))
    path, expected = lowest_path(levels, ends, 0, 4), best(levels, ends, n, 0, 4)
    if expected is None:
        assert path is None
        return
    minima, states = path
    assert minima[0] == 0 and minima[-1] == 4 and len(states) == len(minima) - 1
    for (a, b), state in zip(pairwise(minima), states, strict=True):
        assert sorted(ends[state]) == sorted((a, b))
    assert (levels[states].max(), len(states)) == expected


def test_a_minimum_is_connected_with_itself():
    assert lowest_path([], np.empty((0, 2)), 3, 3) == ([3], [])
    assert lowest_path([], np.empty((0, 2)), 3, 2) is None
