"""What the gap probe costs a run: at every log-spaced time less than 2 % of it."""

import time

import torch

from lightning_landscape.callbacks import GapDistribution
from lightning_landscape.data import RandomData
from lightning_landscape.energies import FullyConnected, NetworkEnergy
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.testing.probe import bare_trainer

STEPS = 3000


def test_the_gap_probe_takes_less_than_two_percent_of_a_run(tmp_path, benchmark):
    """16 networks of the jamming protocol, 10 measurements a decade; 10^4 steps would dilute it."""
    architecture = FullyConnected([12, 12, 12, 1], replicas=16, dtype="float64")
    energy = NetworkEnergy(architecture, RandomData(600, 12), "quadratic_hinge")
    module = LandscapeModule(energy, lambda params: torch.optim.Adam(params, lr=1e-3))
    module.dynamics.time_step = 1.0
    probe = GapDistribution(first=1, last=STEPS, per_decade=10)
    probe.write = lambda *_, **__: None  # half a second at the end of a run of any length
    trainer = bare_trainer([probe], STEPS, tmp_path)
    start = time.perf_counter()
    benchmark.pedantic(trainer.fit, args=(module,), rounds=1)
    share = probe.seconds / (time.perf_counter() - start)
    times = len(probe.results["step"])
    print(
        f"{times} measurements, {probe.seconds / times * 1e3:.2g} ms each, {share:.2%} of the run"
    )
    assert times > 30 and share < 0.02
