"""Logarithmic grids of time, and the next event on them."""

import itertools
import math

import pytest

from lightning_landscape.clock import log_times, next_event, to_steps
from lightning_landscape.errors import UsageError


def test_a_grid_is_logarithmic_and_keeps_its_ends():
    times = log_times(0.02, 30.0, per_decade=7)
    ratios = [b / a for a, b in itertools.pairwise(times)]
    assert times[0] == 0.02 and times[-1] == 30.0
    assert max(ratios) - min(ratios) < 1e-12
    assert max(ratios) <= 10 ** (1 / 7) + 1e-12  # at least as dense as asked
    assert (30 / 0.02) ** (1 / (len(ratios) - 1)) > 10 ** (1 / 7)  # and no denser than needed


@pytest.mark.parametrize(("decades", "points"), [(1, 11), (3, 31), (0.05, 2)])
def test_whole_decades_have_the_points_asked_for(decades, points):
    assert len(log_times(1, 10**decades, per_decade=10)) == points


def test_one_moment_is_a_grid_of_one():
    assert log_times(2, 2) == [2.0]
    assert all(type(t) is float for t in log_times(1, 100))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((0.0, 1.0), "first"),
        ((2.0, 1.0), "last"),
        ((1.0, 2.0, 0), "per_decade"),
        ((math.nan, 1.0), "first"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(arguments, named):
    with pytest.raises(UsageError, match=rf"^{named} ="):
        log_times(*arguments)


def test_steps_are_the_nearest_sorted_and_single():
    assert to_steps([0.31, 0.1, 0.29, 0.0], time_step=0.1) == [0, 1, 3]


def test_steps_survive_rounding_of_the_times():
    # 0.1 * 3 is 0.30000000000000004: the third step all the same
    assert to_steps([0.1 * k for k in range(1000)], time_step=0.1) == list(range(1000))


def test_the_next_event_is_strictly_later():
    steps = [0, 4, 9]
    assert [next_event(steps, s) for s in (-1, 0, 3, 4, 8)] == [0, 4, 4, 9, 9]
    assert next_event(steps, 9) is None
    assert next_event([], 0) is None
