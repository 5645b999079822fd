"""A step reads nothing back from the device, so that a GPU is never waited for within a block.

The device "meta" takes the path of a GPU and holds no numbers: to read one raises.
"""

import itertools
import warnings
from functools import partial

import pytest
import torch

from lightning_landscape.data import RandomData
from lightning_landscape.dynamics import (
    FIRE,
    Langevin,
    LeimkuhlerMatthews,
    MetropolisLangevin,
    Underdamped,
    constrain,
)
from lightning_landscape.energies import FullyConnected, NetworkEnergy, SphericalPSpin


def glass():
    return SphericalPSpin(N=12, p=3, replicas=4)


def network():
    data = RandomData(samples=30, dimension=6)
    return NetworkEnergy(FullyConnected([6, 5, 1], replicas=4), data, "quadratic_hinge")


DYNAMICS = {
    "Langevin": partial(Langevin, lr=0.01, temperature=0.1),
    "temperatures": partial(Langevin, lr=0.01, temperature=[0.1, 0.2, 0.3, 0.4]),
    "successive noise": partial(LeimkuhlerMatthews, lr=0.01, temperature=0.1),
    "velocities": partial(Underdamped, lr=0.01, temperature=0.1),
    "FIRE": partial(FIRE, lr=0.01),
    "SGD": partial(torch.optim.SGD, lr=0.01, momentum=0.9),
}


IN_FLAT_SPACE = {
    "Metropolis": partial(MetropolisLangevin, lr=0.01, temperature=[0.1, 0.0, 0.2, 0.3]),
    "step sizes": partial(MetropolisLangevin, lr=[0.01, 0.02], temperature=0.1),
}


CASES = [*itertools.product(DYNAMICS, [glass, network]), *((k, network) for k in IN_FLAT_SPACE)]


def stepper(name, energy):
    dynamics = constrain((DYNAMICS | IN_FLAT_SPACE)[name](energy.parameters()), energy.constraint)
    device = next(energy.parameters()).device
    batch = torch.zeros(4, 10, dtype=torch.int64, device=device) if energy.samples else None

    def closure():
        dynamics.zero_grad()
        E = energy(batch)
        E.sum().backward()
        return E.detach()

    return lambda: dynamics.step(closure)


@pytest.mark.parametrize(("name", "make_energy"), CASES)
def test_a_step_reads_nothing_back(name, make_energy):
    step = stepper(name, make_energy().to("meta"))
    energies = [step() for _ in range(3)]
    assert torch.stack(energies).device.type == "meta"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("name", "make_energy"), CASES)
def test_a_step_does_not_wait_for_a_gpu(name, make_energy):
    step = stepper(name, make_energy().to("cuda"))
    for _ in range(3):  # what is made at the first step may wait
        step()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the mode is a prototype, as it says
        torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
