"""What a run needs is said before its first step, and is true."""

import re
from collections import namedtuple
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml

from lightning_landscape import dynamics
from lightning_landscape.__main__ import main
from lightning_landscape.cli import estimate
from lightning_landscape.energies import Quadratic
from lightning_landscape.modules import LandscapeModule

CONFIG = {
    "experiment": "large",
    "model": {
        "energy": {"class_path": "Quadratic", "init_args": {"spectrum": [1.0] * 200}},
        "optimizer": {"class_path": "Langevin", "init_args": {"lr": 0.1, "temperature": 0.3}},
    },
    "trainer": {
        "max_steps": 8,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "callbacks": [
            {
                "class_path": "AgingCorrelation",
                "init_args": {"waiting_times": [0, 0.1, 0.2, 0.3, 0.4], "first": 0.1, "last": 0.4},
            }
        ],
    },
}
FIT = ["fit", "--config", "large.yaml"]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("large.yaml").write_text(yaml.safe_dump(CONFIG))


def said(caplog):
    (sentence,) = (m for m in caplog.messages if m.startswith("the run needs about "))
    memory, unit, files, unit_of_files = re.search(
        r"about (\S+) (MB|GB) of memory, (\S+) (MB|GB) of files, .* for 8 steps and what the",
        sentence,
    ).groups()
    size = {"MB": 1e6, "GB": 1e9}
    return float(memory) * size[unit], float(files) * size[unit_of_files]


def test_memory_and_files_are_as_said(caplog):
    with caplog.at_level("INFO", logger="lightning_landscape"):
        assert main([*FIT, "--model.energy.replicas=8000"]) == 0
    memory, files = said(caplog)
    assert memory == pytest.approx(estimate._peak(), rel=0.3)
    found = sum(p.stat().st_size for p in Path("logs").rglob("*") if p.is_file())
    # what is needed on the way: in the end two checkpoints are without snapshots
    assert found < files < 3e8


def test_what_does_not_fit_on_the_disk_is_refused(monkeypatch, capsys):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(estimate.shutil, "disk_usage", lambda path: usage(1000))
    assert main(FIT) == 2
    assert "trainer.logger = logs/large/version_0: needs " in capsys.readouterr().err
    assert not Path("logs").exists()


@pytest.mark.parametrize("optimizer", ["Langevin", "torch.optim.SGD"])
def test_a_step_far_longer_than_the_radius_of_the_sphere_is_refused(optimizer, capsys):
    system = ["--model.energy=SphericalPSpin", "--model.energy.N=16"]
    step = [f"--model.optimizer={optimizer}", "--model.optimizer.lr=1e9"]
    assert main([*FIT, *system, *step]) == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert re.match(r"error: model.optimizer.lr = 1\d*.0: a step would be .* radii", sentence)
    assert not Path("logs").exists()


@pytest.mark.parametrize("name", ["Langevin", "LeimkuhlerMatthews", "Underdamped", "SGD", "Adam"])
def test_steps_that_are_timed_leave_no_trace(name):
    kind = getattr(dynamics, name, None) or getattr(torch.optim, name)
    heat = {"temperature": 0.3} if hasattr(dynamics, name) else {}
    module, other = (
        LandscapeModule(Quadratic([1.0, 3.0], replicas=4), partial(kind, lr=0.1, **heat))
        for _ in range(2)
    )
    assert estimate._seconds_of_a_step(module, 0, whole=True) > 0
    for each in (module, other):
        for _ in range(3):
            each.dynamics.zero_grad()
            each.energy().sum().backward()
            each.dynamics.step()
    assert torch.equal(module.energy.configuration(), other.energy.configuration())


def test_a_step_is_timed_with_its_gradient_and_without_what_is_prepared(monkeypatch):
    now, prepared = [0.0], []
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: now[0])

    class Slow(torch.optim.SGD):
        def step(self, closure=None):
            now[0] += 0.02
            return super().step(closure)

    def wait(*_):
        now[0] += 0.03 if prepared else 0.9
        prepared.append(True)

    module = LandscapeModule(Quadratic([1.0, 3.0]), partial(Slow, lr=0.1))
    module.energy.register_forward_hook(wait)
    assert estimate._seconds_of_a_step(module, 0, whole=True) == pytest.approx(0.05)
    assert estimate._seconds_of_a_step(module, 0, whole=False) == pytest.approx(0.03)
