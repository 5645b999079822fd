"""The price of seeing U at every step, against the step itself: at most 5 %."""

import pytest
import torch

from lightning_landscape.data import RandomData
from lightning_landscape.dynamics import Langevin
from lightning_landscape.energies import FullyConnected, NetworkEnergy
from lightning_landscape.observables.series import EnergySeries

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
