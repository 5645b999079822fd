"""A rank of a distributed run is killed: the others say so in one sentence, and the run resumes."""

import copy
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import yaml

from lightning_landscape.__main__ import main
from lightning_landscape.cli.checkpoints import step_of

pytestmark = pytest.mark.usefixtures("no_figures")

CONFIG = {
    "experiment": "small",
    "model": {
        "energy": {
            "class_path": "NetworkEnergy",
            "init_args": {
                "architecture": {
                    "class_path": "FullyConnected",
                    "init_args": {"widths": [8, 4, 1]},
                },
                "data": {
                    "class_path": "RandomData",
                    "init_args": {"samples": 16, "dimension": 8},
                },
                "loss": "quadratic_hinge",
            },
        },
        "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.01}},
        "batches": {"class_path": "Batches", "init_args": {"batch_size": 4}},
        "block_size": 10,
    },
    "checkpoint": {"every_n_train_steps": 20},
    "trainer": {
        "max_steps": 10**6,
        "accelerator": "cpu",
        "devices": 2,
        "strategy": "ddp",
        "enable_progress_bar": False,
        "callbacks": [{"class_path": "EnergyRelaxation", "init_args": {"first": 0.1, "last": 10}}],
    },
}
FIT = ["fit", "--config", "small.yaml"]
LAST = Path("logs/small/version_0/checkpoints/last.ckpt")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(yaml.safe_dump(CONFIG))


def free_port():
    with socket.socket() as any_free:
        any_free.bind(("127.0.0.1", 0))
        return str(any_free.getsockname()[1])


def run_as(rank, environment, arguments):
    """Run as a process that torchrun has started; what it says goes to said.<rank>."""
    os.environ.update(environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
    said = os.open(f"said.{rank}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.stdout, sys.stderr = (os.fdopen(k, "w", 1, closefd=False) for k in (1, 2))
    status = main([*FIT, *arguments])
    sys.stdout.flush()
    os._exit(status)


def started(*arguments, ranks=2):
    """Start the ranks of a run, as torchrun does."""
    environment = {
        "TORCHELASTIC_RUN_ID": "none",
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
    }
    fork = multiprocessing.get_context("fork")
    processes = [
        fork.Process(target=run_as, args=(rank, environment, arguments)) for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    return processes


def wait_for(holds, seconds=200):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("lost", [0, 1])
def test_the_other_rank_says_that_one_was_lost(lost):
    processes = started()
    wait_for(LAST.exists)
    processes[lost].kill()
    (other,) = (process for rank, process in enumerate(processes) if rank != lost)
    other.join(10)
    assert other.exitcode == 1
    said = Path(f"said.{1 - lost}").read_text()
    assert said.splitlines()[-1] == (
        f"error: rank {1 - lost}: another process of the run has ended; the same command resumes "
        "it from its last checkpoint"
    )
    assert "Traceback" not in said and said.count("\n") <= 6
    reached = torch.load(LAST)["global_step"]
    # the same command resumes, here with another number of devices
    (alone,) = started("--trainer.devices=1", f"--trainer.max_steps={reached + 5}", ranks=1)
    alone.join(60)
    assert alone.exitcode == 2  # max_steps is asked for
    (alone,) = started(
        "--trainer.devices=1", f"--trainer.max_steps={reached + 5}", "--continue", ranks=1
    )
    alone.join(60)
    assert alone.exitcode == 0
    assert torch.load(LAST)["global_step"] == reached + 5


def test_a_signal_to_one_rank_ends_all_with_a_checkpoint():
    processes = started()
    wait_for(LAST.exists)
    os.kill(processes[1].pid, signal.SIGTERM)
    for process in processes:
        process.join(10)
    assert [process.exitcode for process in processes] == [143, 143]
    assert "interrupted at step" in Path("said.0").read_text().splitlines()[-1]


def test_a_network_in_parts_is_killed_and_resumed():
    """Its checkpoints are folders; the same command continues from the last one."""
    parts = ["--trainer.strategy=sharded", "--trainer.max_steps=100"]
    processes = started(*parts, "--model.block_size=1")
    wait_for(LAST.is_dir, 60)
    processes[1].kill()
    processes[0].join(20)
    assert processes[0].exitcode == 1
    for rank, process in enumerate(started(*parts, "--model.block_size=1")):
        process.join(120)
        assert process.exitcode == 0, Path(f"said.{rank}").read_text()
    said = Path("said.0").read_text()
    assert "resuming logs/small/version_0 from its checkpoint last.ckpt, at step" in said
    assert step_of(LAST) == 100
    # what is in a folder is executed when it is read, so its place has to be named
    (other,) = started(*parts, f"--ckpt_path={LAST}", "--trainer.devices=1", ranks=1)
    other.join(60)
    assert other.exitcode == 2
    said = Path("said.0").read_text().splitlines()[-1]
    assert "is a folder, whose content is executed; give --allow file:///" in said


@pytest.mark.parametrize("lost", [0, 1])
def test_a_run_that_forks_its_ranks_says_that_one_was_lost(lost, start):
    config = copy.deepcopy(CONFIG)
    config["trainer"]["strategy"] = "replicas_fork"
    config["model"]["energy"]["init_args"]["architecture"]["init_args"]["replicas"] = 2
    Path("small.yaml").write_text(yaml.safe_dump(config))
    command = start(*FIT)
    wait_for(LAST.exists)
    ranks = Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text().split()
    os.kill(int(ranks[lost]), signal.SIGKILL)
    assert command.wait(10) == 1  # 1 s, also on a loaded machine
    lines = command.said.splitlines()
    assert "another process of the run has ended; the same command resumes it" in command.said
    assert len(lines) <= 6 and "Traceback" not in command.said
    wait_for(lambda: not Path(f"/proc/{ranks[1 - lost]}").exists(), 10)


def second_rank(first):
    """The process that Lightning has started for the second rank, once it has."""
    for child in Path(f"/proc/{first}/task/{first}/children").read_text().split():
        with suppress(OSError):  # of a process that was short
            if b"LOCAL_RANK=1" in Path(f"/proc/{child}/environ").read_bytes():
                return int(child)
    return None


@pytest.mark.slow
@pytest.mark.parametrize(("lost", "moment"), [(0, "at the start"), (1, "while it runs")])
def test_ranks_that_lightning_has_started(lost, moment):
    """The command line in interpreters of its own; the second rank is started by the first."""
    command = [sys.executable, "-m", "lightning_landscape", *FIT]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LIGHTNING")}
    with open("said", "w") as said:
        first = subprocess.Popen(command, stderr=said, stdout=said, env=environment)
    wait_for(lambda: second_rank(first.pid))
    second = second_rank(first.pid)
    if moment == "while it runs":
        wait_for(LAST.exists)
    os.kill((first.pid, second)[lost], signal.SIGKILL)
    if lost == 1:
        assert first.wait(60) == 1  # 5 s on an idle machine
    else:
        first.wait()
        wait_for(lambda: not Path(f"/proc/{second}").exists())  # it may import still
    lines = Path("said").read_text().splitlines()
    assert "another process of the run has ended" in lines[-1] and len(lines) <= 6
