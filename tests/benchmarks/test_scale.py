"""Several ranks and many runs: the processor time of a rank over that of one process.

Two ranks are two forked processes of one thread each, in a gloo group. What counts is the time that
each of them computes, so that two busy cores are enough; the time of the wall wants idle ones.
"""

import multiprocessing
import time
from functools import partial

import pytest
import torch
import torch.distributed as dist
import yaml

from lightning_landscape.cli.fit import main
from lightning_landscape.dynamics import Langevin, constrain
from lightning_landscape.energies import SphericalPSpin
from lightning_landscape.modules.share import Share

HOT = partial(Langevin, lr=0.02, temperature=0.3)
ROUNDS = 5


def stepper(energy, dynamics):
    def step():
        dynamics.zero_grad()
        energy().sum().backward()
        dynamics.step()

    return step


def replicas(shared):
    """A block of 100 steps of 64 samples of a glass, whole or in shares, with their gathering."""
    energy = SphericalPSpin(N=64, p=3, replicas=64, disorder="independent")
    dynamics = constrain(HOT(energy.parameters()), energy.constraint)
    share = Share(energy, dynamics, HOT) if shared else None
    step = stepper(share.energy, share.dynamics) if share else stepper(energy, dynamics)

    def block():
        if share:
            share.begin()
        for _ in range(100):
            step()
        if share:
            share.end(torch.zeros(1, share.energy.replicas))

    return block


def couplings(shared):
    """20 steps of one glass, whole or divided."""
    energy = SphericalPSpin(N=256, p=3, replicas=16)
    if shared:
        energy.divide_couplings()
    step = stepper(energy, constrain(HOT(energy.parameters()), energy.constraint))

    def block():
        for _ in range(20):
            step()

    return block


def best(block):
    """The shortest processor time of a block."""
    block()
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        block()
        times.append(time.process_time() - start)
    return min(times)


def on_rank(rank, case, store, results):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    results.put(best(case(shared=True)))
    dist.barrier()


@pytest.mark.parametrize(
    ("case", "at_most"), [(replicas, 0.53), (couplings, 0.65)], ids=["replicas", "couplings"]
)
def test_a_rank_of_two_against_one_process(case, at_most, row, benchmark, tmp_path):
    torch.set_num_threads(1)
    alone = best(case(shared=False))
    fork = multiprocessing.get_context("fork")
    results, store = fork.SimpleQueue(), f"file://{tmp_path}/store"
    ranks = [fork.Process(target=on_rank, args=(r, case, store, results)) for r in range(2)]
    for rank in ranks:
        rank.start()
    slower = max(results.get() for _ in ranks)
    for rank in ranks:
        rank.join()
    benchmark.pedantic(lambda: None, rounds=1)
    row(
        f"{case.__name__} on 2 ranks, time of a rank",
        "one process",
        slower / alone,
        slower,
        at_most,
    )


def test_a_run_starts_at_once_in_a_warm_worker(row, benchmark, tmp_path, monkeypatch):
    """What a point of a sweep costs beside its steps: folder, set-up, checkpoint, table."""
    monkeypatch.chdir(tmp_path)
    config = {
        "model": {
            "energy": {"class_path": "SphericalPSpin", "init_args": {"N": 16, "replicas": 4}},
            "optimizer": {"class_path": "Langevin", "init_args": {"lr": 0.02}},
        },
        "trainer": {"max_steps": 1, "accelerator": "cpu", "enable_progress_bar": False},
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))

    def run():
        assert main(["fit", "--config", "tiny.yaml", "--new"]) == 0

    took = best(run)
    benchmark.pedantic(lambda: None, rounds=1)
    row("a run in a warm worker", "0.5 s", took / 0.5, took, at_most=1)
