"""A run ends when its networks fit, and not before."""

from functools import partial

import pytest
import torch

from lightning_landscape.callbacks import StopWhenSatisfied
from lightning_landscape.dynamics import DecayingAdam
from lightning_landscape.energies import Quadratic
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.testing.probe import bare_trainer


def steps(below, starts, folder, max_steps=2000):
    well = Quadratic([1.0], replicas=len(starts), dtype="float64")
    well.load_configuration(torch.tensor(starts).double().unsqueeze(1))
    module = LandscapeModule(well, partial(torch.optim.SGD, lr=0.1), block_size=10)
    trainer = bare_trainer([StopWhenSatisfied(below)], max_steps, folder)
    trainer.fit(module)
    return trainer.global_step


def test_a_run_ends_with_the_block_in_which_the_last_replica_fits(tmp_path):
    """E at step k is 0.9^2k x^2 / 2, seen at the last step of each block of 10."""
    ends = steps(1e-6, [1.0, 100.0], tmp_path)
    k = next(k for k in range(9, 2000, 10) if 0.9 ** (2 * k) * 100**2 / 2 < 1e-6)
    assert ends == k + 1


def test_a_run_that_never_fits_goes_to_its_end(tmp_path):
    assert steps(1e-300, [1.0], tmp_path, max_steps=50) == 50


def test_an_impossible_bound_is_refused():
    with pytest.raises(UsageError, match="below = 0"):
        StopWhenSatisfied(0.0)


def test_the_schedule_of_adam_leaves_the_clock_alone():
    """Its step size is no time: events stay where they are when it drops."""
    well = Quadratic([1.0], replicas=1)
    module = LandscapeModule(well, partial(DecayingAdam, lr=0.1, every=1, floor=1e-3))
    times = []
    for _ in range(3):
        well().sum().backward()
        module.dynamics.step()
        times.append(module.time_step)
    assert times == [1.0] * 3
