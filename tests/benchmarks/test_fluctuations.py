"""The price of seeing U at every step, against the step itself: at most 5 %."""

import time

import pytest
import torch

from lightning_landscape.callbacks import TemperatureFluctuations
from lightning_landscape.data import RandomData
from lightning_landscape.dynamics import Langevin
from lightning_landscape.energies import FullyConnected, NetworkEnergy
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.observables.accumulators.series import EnergySeries
from lightning_landscape.testing.probe import bare_trainer

_STEPS = 512  # two portions and one transform of the series


def stepping(replicas):
    """Steps of the 737-parameter network on 40 patterns; returns their energies."""
    net = FullyConnected([10, 16, 16, 16, 1], replicas=replicas, activation="tanh")
    energy = NetworkEnergy(net, RandomData(samples=40, dimension=10))
    dynamics = Langevin(energy.parameters(), lr=0.01, temperature=1e-4)

    def closure():
        dynamics.zero_grad()
        values = energy()
        values.sum().backward()
        return values.detach()

    return lambda: torch.stack([dynamics.step(closure) for _ in range(_STEPS)])


@pytest.mark.parametrize("replicas", [1, 64])
def test_the_series_costs_at_most_5_percent_of_the_steps(compare, replicas):
    """Moments, blocks, spectrum and histogram of what the blocks of a run hand over."""
    steps = stepping(replicas)
    blocks, series = steps().split(100), EnergySeries(torch.ones(replicas))

    def fed():
        for block in blocks:
            series.add(block)

    compare(
        f"taking in U of {_STEPS} steps, {replicas} replicas",
        fed,
        steps,
        against="the steps",
        at_most=0.05,
    )


class Unwritten(TemperatureFluctuations):
    def write(self, trainer, final=False):
        pass


@pytest.mark.parametrize("replicas", [1, 64])
def test_the_whole_probe_costs_at_most_5_percent_of_a_run(benchmark, replicas, tmp_path):
    """Energies, looks and lags with the budget of the default; the clock is the probe's own.

    The record is left out: it is written once a minute, in 0.2 s.
    """
    steps = 4000

    def run():
        probe = Unwritten(equilibration=10, last=40)
        net = FullyConnected([10, 16, 16, 16, 1], replicas=replicas, activation="tanh")
        energy = NetworkEnergy(net, RandomData(samples=40, dimension=10))
        module = LandscapeModule(energy, lambda p: Langevin(p, lr=0.01, temperature=1e-4))
        start = time.perf_counter()
        bare_trainer([probe], steps, tmp_path).fit(module)
        return probe.seconds, time.perf_counter() - start

    benchmark.pedantic(run, rounds=1)
    shares = sorted(with_it / (total - with_it) for with_it, total in (run() for _ in range(3)))
    assert shares[1] < 0.05, shares
