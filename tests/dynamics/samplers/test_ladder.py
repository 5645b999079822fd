"""Ladders on the replica axis, and the approach to them from two sides."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from lightning_landscape.dynamics import Ladder, Langevin, TwoStarts
from lightning_landscape.errors import UsageError


def test_a_ladder_is_geometric_and_ends_where_it_should():
    ladder = Ladder(0.5, 0.01, rungs=8)
    ratios = [b / a for a, b in pairwise(ladder)]
    assert len(ladder) == 8 and (ladder[0], ladder[-1]) == (0.5, 0.01)
    assert ratios == pytest.approx([0.02 ** (1 / 7)] * 7)


def test_a_rung_is_a_group_of_successive_replicas():
    x = nn.Parameter(torch.zeros(6, 2))
    dynamics = Langevin([x], lr=Ladder(0.1, 0.4, 3), temperature=Ladder(1.0, 4.0, 3))
    assert dynamics.current_temperature.tolist() == pytest.approx([1, 1, 2, 2, 4, 4])
    assert dynamics.param_groups[0]["lr"].tolist() == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.4, 0.4])


def test_two_starts_cool_and_descend_and_then_stay():
    starts = TwoStarts(Ladder(0.1, 0.4, 2), chains=4, duration=8.0)
    begin, middle = starts(0.0).tolist(), starts(4.0).tolist()
    assert begin == pytest.approx([0.4, 0, 0.4, 0, 0.4, 0, 0.4, 0])
    assert middle == pytest.approx([0.2, 0, 0.2, 0, 0.4, 0, 0.4, 0])
    assert starts(8.0).equal(starts(1e9))
    assert starts(8.0).tolist() == pytest.approx([0.1] * 4 + [0.4] * 4)
    assert not starts.constant


def test_a_dynamics_follows_its_two_starts():
    """Nothing moves at T = 0 without a force; the others diffuse with 2 sum_t T lr."""
    x = nn.Parameter(torch.zeros(4, 50_000))
    starts = TwoStarts([0.1, 0.4], chains=2, duration=5)
    dynamics = Langevin([x], lr=[0.1, 0.1, 0.2, 0.2], temperature=starts)
    expected = torch.zeros(4, dtype=torch.float64)
    for step in range(8):
        expected += 2 * dynamics.param_groups[0]["lr"] * starts(step)
        x.grad = torch.zeros_like(x)
        dynamics.step()
        if step == 4:
            assert x[[1, 3]].abs().max() == 0 < x[[0, 2]].abs().min()
    measured = x.detach().double().square().mean(1)
    assert ((measured / expected - 1).abs() < 4 * (2 / 50_000) ** 0.5).all()


def test_a_schedule_for_other_replicas_is_refused_at_once():
    with pytest.raises(UsageError, match="4 replicas a temperature, but there are 6"):
        Langevin([nn.Parameter(torch.zeros(6, 1))], 0.1, TwoStarts([0.1, 0.2], 2, 10))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Ladder(0, 1, 3), "first"),
        (lambda: Ladder(1, math.inf, 3), "last"),
        (lambda: Ladder(1, 2, 1), "rungs"),
        (lambda: TwoStarts([0.1, 0.0], 2, 1), "temperatures"),
        (lambda: TwoStarts([], 2, 1), "temperatures"),
        (lambda: TwoStarts([0.1], 3, 1), "chains"),
        (lambda: TwoStarts([0.1], 2, 0), "duration"),
    ],
)
def test_what_is_no_ladder_is_refused(make, named):
    with pytest.raises(UsageError, match=f"^{named} ="):
        make()
