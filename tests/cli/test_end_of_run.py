"""The end of a run is one transaction: whatever part exists, the same command completes it."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
import xarray
import yaml

from lightning_landscape import records
from lightning_landscape.__main__ import main
from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.probes.energy import EnergyRelaxation
from lightning_landscape.cli import interrupts, runs
from lightning_landscape.cli.interrupts import Interrupted
from lightning_landscape.modules.landscape import LandscapeModule

CONFIG = {
    "experiment": "small",
    "model": {
        "energy": {"class_path": "Quadratic", "init_args": {"spectrum": [1.0, 3.0], "replicas": 3}},
        "optimizer": {"class_path": "Langevin", "init_args": {"lr": 0.1, "temperature": 0.3}},
        "block_size": 10,
    },
    "checkpoint": {"every_n_train_steps": 50},
    "trainer": {
        "max_steps": 100,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "callbacks": [{"class_path": "EnergyRelaxation", "init_args": {"first": 0.1, "last": 10}}],
    },
}
RUN = Path("logs/small/version_0")
FIT = ["fit", "--config", "small.yaml"]


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


def enter(folder, patch):
    """Work in an empty folder, with the lock of each claimed run released by its death."""
    patch.chdir(folder)
    Path("small.yaml").write_text(yaml.safe_dump(CONFIG))
    patch.setattr(runs, "_lock", lambda path: os.open(os.devnull, os.O_RDONLY))


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch)


def die(*args, **kwargs):
    raise Killed


def same_record(one, other):
    ours, theirs = (records.read(p / "probes/energy_relaxation.nc") for p in (one, other))
    xarray.testing.assert_identical(ours.drop_attrs(), theirs.drop_attrs())
    assert {*ours.attrs} == {*theirs.attrs}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same run, never killed."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        enter(folder, patch)
        assert main(FIT) == 0
    return folder / RUN


@pytest.mark.parametrize(
    ("owner", "method"),
    [
        (Probe, "on_train_end"),  # the checkpoint at max_steps exists, no record
        (LandscapeModule, "on_train_end"),  # all but the figures and results.md
        (runs.RunFolder, "finish"),  # all but results.md
    ],
    ids=["before the records", "after the last checkpoint", "before results.md"],
)
def test_a_run_killed_at_its_end_is_completed(whole, monkeypatch, owner, method):
    with monkeypatch.context() as killing:
        killing.setattr(owner, method, die)
        killing.setattr(Probe, "on_exception", lambda *args: None)
        with pytest.raises(Killed):
            main(FIT)
    assert not (RUN / "results.md").exists()
    assert torch.load(RUN / "checkpoints/last.ckpt")["global_step"] == 100
    assert main(FIT) == 0
    same_record(RUN, whole)
    for name in ("results.md", "figures/energy_relaxation.png"):
        assert (RUN / name).stat().st_size > 100
    assert os.listdir("logs/small") == ["version_0"]


@pytest.mark.usefixtures("no_figures")
def test_a_run_that_a_callback_has_ended_does_no_more_steps(monkeypatch):
    stopping = [*FIT, "--trainer.max_steps=1000", "--trainer.callbacks+=StopWhenSatisfied"]
    stopping.append("--trainer.callbacks.below=1e9")
    with monkeypatch.context() as killing:
        killing.setattr(runs.RunFolder, "finish", die)
        with pytest.raises(Killed):
            main(stopping)
    reached = torch.load(RUN / "checkpoints/last.ckpt")["global_step"]
    assert reached < 100
    assert main(stopping) == 0
    assert torch.load(RUN / "checkpoints/last.ckpt")["global_step"] == reached
    assert records.read(RUN / "probes/energy_relaxation.nc")["t"][-1] <= 1


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_writes_what_there_is_and_says_how_to_go_on(whole, monkeypatch, capsys, signum):
    step = LandscapeModule._integrate

    def interrupted(module, energy, dynamics, at):
        if at == 33:
            os.kill(os.getpid(), signum)
        return step(module, energy, dynamics, at)

    with monkeypatch.context() as sending:
        sending.setattr(LandscapeModule, "_integrate", interrupted)
        assert main(FIT) == 128 + signum
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "interrupted at step 34; the same command resumes the run"
    assert torch.load(RUN / "checkpoints/last.ckpt")["global_step"] == 34
    assert records.read(RUN / "probes/energy_relaxation.nc")["t"][-1] <= 3.4
    assert main(FIT) == 0
    same_record(RUN, whole)


def test_a_signal_does_not_wait_for_a_long_measurement(monkeypatch, capsys):
    measure, patience = EnergyRelaxation.measure, 1

    def long_measurement(probe, view, due):
        if view.step == 33:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
        return measure(probe, view, due)

    monkeypatch.setattr(interrupts, "_PATIENCE", patience)
    monkeypatch.setattr(EnergyRelaxation, "measure", long_measurement)
    begun = time.monotonic()
    times = "--trainer.callbacks={class_path: EnergyRelaxation, init_args: {first: 3.3, last: 5}}"
    assert main([*FIT, times, "--checkpoint.every_n_train_steps=25"]) == 143
    assert time.monotonic() - begun < 20
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "interrupted; the same command resumes the run"
    assert torch.load(RUN / "checkpoints/last.ckpt")["global_step"] == 25


@pytest.mark.usefixtures("no_figures")
def test_the_signals_are_as_before_when_a_verb_has_ended():
    before = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)]
    assert main(FIT) == 0
    assert [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.mark.parametrize("verb", ["study", "spectrum", "report", "jamming"])
def test_a_signal_ends_every_verb_with_its_status(verb, monkeypatch, capsys):
    def interrupted(args):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(f"lightning_landscape.cli.{verb}.main", interrupted)
    assert main([verb]) == 143
    assert capsys.readouterr().err == "interrupted; the same command resumes the run\n"


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """The folder of a run with two checkpoints, at steps 50 and 60."""
    folder, step = tmp_path_factory.mktemp("interrupted"), LandscapeModule._integrate

    def stopping(module, energy, dynamics, at):
        if at == 55:
            raise Interrupted(signal.SIGTERM)
        return step(module, energy, dynamics, at)

    with pytest.MonkeyPatch.context() as patch:
        enter(folder, patch)
        patch.setattr(LandscapeModule, "_integrate", stopping)
        assert main([*FIT, "--checkpoint.every_n_train_steps=25"]) == 143
    return folder / RUN


@pytest.fixture
def checkpoints(interrupted):
    """Those of a copy of the interrupted run."""
    shutil.copytree(interrupted, RUN)
    return RUN / "checkpoints"


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", "half", "foreign"])
def test_a_damaged_checkpoint_is_replaced_by_the_one_before(whole, checkpoints, capsys, damage):
    last = checkpoints / "last.ckpt"
    if damage == "half":
        damage = last.read_bytes()[: last.stat().st_size // 2]
    last.unlink()
    if damage == "foreign":
        torch.save({"weights": torch.ones(3)}, last)
    else:
        last.write_bytes(damage)
    assert main([*FIT, "--checkpoint.every_n_train_steps=25"]) == 0
    assert "previous.ckpt, since last.ckpt cannot be read, at step 25" in capsys.readouterr().out
    same_record(RUN, whole)


@pytest.mark.usefixtures("no_figures")
def test_without_a_good_checkpoint_one_sentence_says_what_to_remove(checkpoints, capsys):
    for path in checkpoints.iterdir():
        path.unlink()
        path.write_text("")
    assert main([*FIT, "--checkpoint.every_n_train_steps=25"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"remove the folder {RUN / 'checkpoints'}" in said
    shutil.rmtree(checkpoints)
    assert main([*FIT, "--checkpoint.every_n_train_steps=25"]) == 0


@pytest.mark.usefixtures("checkpoints", "no_figures")
def test_a_configuration_edited_after_a_kill(whole, capsys):
    assert main([*FIT, "--model.optimizer.lr=0.2"]) == 2
    assert "differs in model.optimizer.init_args.lr (was 0.1, now 0.2)" in capsys.readouterr().err
    assert main([*FIT, "--model.energy.replicas=4"]) == 2
    assert "of another model.energy.init_args.replicas (was 3, now 4)" in capsys.readouterr().err
    assert os.listdir("logs/small") == ["version_0"]
    assert main(FIT) == 0  # only the interval of the checkpoints is another one
    assert "checkpoint.every_n_train_steps (was 25, now 50)" in capsys.readouterr().out
    same_record(RUN, whole)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--model.energy.replicas=4", "model.energy.init_args.replicas (was 3, now 4)"),
        ("--model.optimizer=torch.optim.SGD", "model.optimizer.class_path"),
        ("--trainer.callbacks.last=5", "trainer.callbacks.0.init_args.last (was 10.0, now 5.0)"),
    ],
)
def test_a_checkpoint_of_another_run_is_one_sentence(checkpoints, capsys, option, sentence):
    checkpoint = checkpoints / "last.ckpt"
    assert main([*FIT, "--experiment=other", f"--ckpt_path={checkpoint}", option]) == 2
    assert f"is the state of another {sentence}" in capsys.readouterr().err
    assert not Path("logs/other").exists()
