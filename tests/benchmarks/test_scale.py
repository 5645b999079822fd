"""Several ranks and many runs: the processor time of a rank over that of one process.

Two ranks are two forked processes of one thread each, in a gloo group. What counts is the time that
each of them computes, so that two busy cores are enough; the time of the wall wants idle ones.
"""

import multiprocessing
import os
import time
from functools import partial

import pytest
import torch
import torch.distributed as dist
import yaml

from lightning_landscape.__main__ import main as run_verb
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


TINY = {
    "experiment": "tiny",
    "model": {
        "energy": {"class_path": "SphericalPSpin", "init_args": {"N": 16, "replicas": 4}},
        "optimizer": {"class_path": "Langevin", "init_args": {"lr": 0.02}},
    },
    "trainer": {"max_steps": 1, "accelerator": "cpu", "enable_progress_bar": False},
}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The configuration of a run of one step, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    return "tiny.yaml"


def test_a_run_starts_at_once_in_a_warm_worker(row, benchmark, tiny):
    """What a point of a sweep costs beside its steps: folder, set-up, checkpoint, table."""

    def run():
        assert run_verb(["fit", "--config", tiny, "--new"]) == 0

    took = best(run)
    benchmark.pedantic(lambda: None, rounds=1)
    row("a run in a warm worker", "0.5 s", took / 0.5, took, at_most=1)


def test_a_sweep_takes_little_longer_than_its_runs(row, benchmark, tiny):
    """Of 32 runs of a minute each on two workers, from sweeps of 2 and of 10 runs of one step.

    What a sweep of runs of one step takes is all that it adds to runs: the start of the workers,
    and for each point its set-up, table, checkpoint and entry in the catalogue. It is the
    processor time of the command and its workers, half of it on each of two cores.
    """

    def sweep(points):
        before = sum(os.times()[:4])
        over = ["--over", f"model.energy.seed=0:{points}", "--experiment", f"of_{points}"]
        engine = ["--engine", "processes", "--workers", "2"]
        assert run_verb(["sweep", "--config", tiny, *over, *engine]) == 0
        return sum(os.times()[:4]) - before

    two, ten = sweep(2), sweep(10)
    benchmark.pedantic(lambda: None, rounds=1)
    added = (two + 30 * (ten - two) / 8) / 2  # of 32 points
    row("a sweep of 32 runs of a minute", "its runs", 1 + added / (16 * 60), added, at_most=1.03)
