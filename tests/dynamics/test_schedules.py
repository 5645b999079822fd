"""Temperatures as functions of time, and the arguments they refuse."""

import math

import pytest
import torch

from lightning_landscape.dynamics import Anneal, Constant, Cycle, Langevin, Quench
from lightning_landscape.errors import UsageError


def test_constant_is_constant_and_says_so():
    assert [Constant(0.7)(t) for t in (0.0, 1e9)] == [0.7, 0.7]
    assert Constant(0.7).constant
    assert not any(s.constant for s in (Quench(1, 0, 5), Anneal(1, 0, 5), Cycle(1, 0, 5)))


def test_a_quench_jumps_at_its_time():
    quench = Quench(initial=2.0, final=0.5, at=3.0)
    assert [quench(t) for t in (0, 2.999, 3.0, 100)] == [2.0, 2.0, 0.5, 0.5]
    assert Quench(2.0, 0.5, at=0)(0.0) == 0.5


@pytest.mark.parametrize("h", [0.1, 0.05, 1 / 3, 0.007])
def test_changes_happen_at_the_nearest_step_in_spite_of_rounding(h):
    quench, cycle = Quench(2.0, 0.5, at=123 * h), Cycle(2.0, 0.5, period=2 * 41 * h)
    # k h is rounded once here, and 123 h once there, in either direction
    assert [quench(k * h * (1 + 1e-15)) for k in (122, 123)] == [2.0, 0.5]
    assert [quench(k * h * (1 - 1e-15)) for k in (122, 123)] == [2.0, 0.5]
    assert [cycle(k * h * (1 - 1e-15)) for k in (40, 41, 81, 82, 123)] == [2.0, 0.5, 0.5, 2.0, 0.5]


@pytest.mark.parametrize(("shape", "middle"), [("linear", 1.25), ("exponential", 1.0)])
def test_an_anneal_joins_its_ends(shape, middle):
    anneal = Anneal(2.0, 0.5, duration=8.0, shape=shape)
    assert [anneal(t) for t in (0, 4.0, 8.0, 50.0)] == pytest.approx([2.0, middle, 0.5, 0.5])


def test_an_exponential_anneal_cools_at_a_constant_relative_rate():
    anneal = Anneal(2.0, 0.5, duration=8.0, shape="exponential")
    rates = [math.log(anneal(t + 0.1) / anneal(t)) / 0.1 for t in (0.0, 3.0, 7.5)]
    assert rates == pytest.approx([math.log(0.25) / 8] * 3)


def test_a_cycle_returns():
    cycle = Cycle(first=1.0, second=0.2, period=10.0)
    assert [cycle(t) for t in (0, 4.99, 5, 9.99, 10, 15, 1e6, 1e6 + 5)] == [
        1,
        1,
        0.2,
        0.2,
        1,
        0.2,
        1,
        0.2,
    ]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Constant(-0.1), "temperature"),
        (lambda: Constant(math.nan), "temperature"),
        (lambda: Quench(-1, 0, 1), "initial"),
        (lambda: Quench(1, -1, 1), "final"),
        (lambda: Quench(1, 1, -1), "at"),
        (lambda: Anneal(1, -1, 1), "final"),
        (lambda: Anneal(1, 0, 0), "duration"),
        (lambda: Anneal(1, 0, 1, "exponential"), "shape"),
        (lambda: Anneal(1, 0.1, 1, "cosine"), "shape"),
        (lambda: Cycle(1, -1, 1), "second"),
        (lambda: Cycle(1, 1, 0), "period"),
    ],
)
def test_schedules_refuse_what_is_no_temperature(make, named):
    with pytest.raises(UsageError, match=f"^{named} ="):
        make()


@pytest.mark.parametrize(
    ("make", "factor"),
    [
        (lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.5), 0.25),
        (lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda k: 0.9**k), 0.9**4),
        (lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 8), 0.5),
    ],
    ids=["step", "lambda", "cosine"],
)
def test_torch_schedules_step_sizes_of_replicas(make, factor, tmp_path):
    """Each replica's own one; in a checkpoint they are plain numbers, and resume as they were."""
    x = torch.nn.Parameter(torch.ones(4, 3))
    dynamics = Langevin([x], lr=[0.1, 0.2])
    schedule = make(dynamics)
    for _ in range(4):
        x.grad = torch.zeros_like(x)
        dynamics.step()
        schedule.step()
    expected = factor * torch.tensor([0.1, 0.1, 0.2, 0.2], dtype=torch.float64)
    torch.testing.assert_close(dynamics.param_groups[0]["lr"] + 0, expected)
    torch.save(dynamics.state_dict(), tmp_path / "state.pt")
    resumed = Langevin([x], lr=[0.1, 0.2])
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    make(resumed)  # a scheduler made afterwards may set them too
    before = x.detach().clone()
    x.grad = torch.ones_like(x)
    resumed.step()
    assert (before - x).mean(1).tolist()[0] > 0


def test_a_schedule_that_needs_one_step_size_is_refused():
    x = torch.nn.Parameter(torch.ones(2, 3))
    dynamics = Langevin([x], lr=[0.1, 0.2])
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(dynamics, patience=0)
    schedule.step(1.0)
    with pytest.raises(UsageError, match=r"lr = one for each of 2 replicas: .* StepLR"):
        schedule.step(1.0)
