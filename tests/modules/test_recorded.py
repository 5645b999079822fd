"""Steps as a CUDA graph: when they are recorded, and that they are the steps that are started."""

from functools import partial

import pytest
import torch
from pytorch_lightning import Trainer

from lightning_landscape.data import Batches, RandomData
from lightning_landscape.dynamics import (
    FIRE,
    Langevin,
    LeimkuhlerMatthews,
    MatchedLangevin,
    MetropolisLangevin,
    Underdamped,
)
from lightning_landscape.energies import FullyConnected, NetworkEnergy, SphericalPSpin
from lightning_landscape.modules import landscape
from lightning_landscape.modules.landscape import LandscapeModule
from lightning_landscape.modules.recorded import can_be_recorded

ON_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def glass():
    return SphericalPSpin(N=40, p=3, replicas=4, disorder="independent")


def network():
    data = RandomData(samples=30, dimension=6)
    return NetworkEnergy(FullyConnected([6, 5, 1], replicas=4), data, "quadratic_hinge")


CASES = {
    "glass": (glass, partial(Langevin, lr=0.02, temperature=0.3), None),
    "temperatures": (glass, partial(Langevin, lr=0.02, temperature=[0.0, 0.1, 0.2, 0.3]), None),
    "velocities": (glass, partial(Underdamped, lr=0.02, temperature=0.3), None),
    "sums": (glass, partial(LeimkuhlerMatthews, lr=0.02, temperature=0.3), None),
    "network": (network, partial(Langevin, lr=0.1, temperature=0.01), None),
    "batches": (network, partial(Langevin, lr=0.1, temperature=0.01), Batches(7)),
    "shared": (network, partial(Underdamped, lr=0.1, temperature=0.01), Batches(7, shared=True)),
    "momentum": (network, partial(torch.optim.SGD, lr=0.1, momentum=0.9), Batches(10)),
    "descent": (glass, partial(torch.optim.SGD, lr=0.02), None),
}


def run(make, dynamics, batches, record, monkeypatch, steps=47, accelerator="gpu"):
    monkeypatch.setattr(landscape, "can_be_recorded", record)
    module = LandscapeModule(make(), dynamics, batches, block_size=10)
    trainer = Trainer(
        max_steps=steps, accelerator=accelerator, devices=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module)
    return module.energy.configuration().cpu(), module.block_energies.cpu()


@pytest.mark.parametrize("name", [pytest.param(name, marks=ON_GPU) for name in CASES])
def test_recorded_steps_are_those_that_are_started(name, monkeypatch):
    replays, replay = [], torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(
        torch.cuda.CUDAGraph, "replay", lambda graph: (replays.append(1), replay(graph))[1]
    )
    recorded = run(*CASES[name], can_be_recorded, monkeypatch)
    assert len(replays) == 44
    started = run(*CASES[name], lambda *_: False, monkeypatch)
    assert len(replays) == 44
    assert all(a.equal(b) for a, b in zip(recorded, started, strict=True))


@pytest.mark.parametrize("name", ["glass", "velocities", "sums", "shared", "momentum"])
def test_where_recording_fails_the_same_steps_are_started(name, monkeypatch):
    """As on a CPU: keys and samples still come from where a recorded step would read them."""
    there = {"monkeypatch": monkeypatch, "steps": 27, "accelerator": "cpu"}
    with pytest.warns(UserWarning, match="cannot be recorded as a CUDA graph"):
        failed = run(*CASES[name], lambda *_: True, **there)
    started = run(*CASES[name], lambda *_: False, **there)
    assert all(a.equal(b) for a, b in zip(failed, started, strict=True))


@pytest.mark.parametrize("case", [pytest.param("glass", marks=ON_GPU)])
def test_after_a_change_steps_are_recorded_anew(case, monkeypatch):
    make, dynamics, batches = CASES[case]

    class Heats(LandscapeModule):
        def training_step(self, block, batch_idx):
            if self.trainer.global_step == 20:
                self.dynamics.temperature = 0.7
                self.dynamics.param_groups[0]["lr"] = 0.01
            super().training_step(block, batch_idx)

    monkeypatch.setitem(globals(), "LandscapeModule", Heats)
    recorded = run(make, dynamics, batches, can_be_recorded, monkeypatch)
    started = run(make, dynamics, batches, lambda *_: False, monkeypatch)
    assert all(a.equal(b) for a, b in zip(recorded, started, strict=True))


class OnGPU(torch.nn.Parameter):
    """A parameter that says that it is on a GPU."""

    is_cuda = True


@pytest.mark.parametrize(
    ("dynamics", "answer"),
    [
        (partial(Langevin, lr=0.1, temperature=0.1), True),
        (partial(Underdamped, lr=0.1, temperature=[0.1, 0.2]), True),
        (partial(torch.optim.SGD, lr=0.1), True),
        (partial(Langevin, lr=0.1, temperature=lambda t: 1 / (1 + t)), False),
        (partial(LeimkuhlerMatthews, lr=0.1, temperature=0.1), True),
        (partial(MatchedLangevin, lr=0.1), False),
        (partial(MetropolisLangevin, lr=0.1, temperature=0.1), False),
        (partial(FIRE, lr=0.1), False),
        (partial(torch.optim.Adam, lr=0.1), False),
    ],
)
def test_what_repeats_is_recorded(dynamics, answer):
    energy = network()
    assert not can_be_recorded(energy, dynamics(energy.parameters()))  # on a CPU
    for module in energy.modules():
        for name, p in list(module.named_parameters(recurse=False)):
            setattr(module, name, OnGPU(p.detach()))
    made = dynamics(energy.parameters())
    assert can_be_recorded(energy, made) is answer
    handle = energy.register_forward_hook(lambda *_: None)
    assert not can_be_recorded(energy, made)
    handle.remove()
    handle = next(energy.parameters()).register_hook(lambda g: g)
    assert not can_be_recorded(energy, made)
