"""A run is killed at any moment, by the kernel, and the same command completes it bit for bit."""

import os
import random
import signal
from pathlib import Path

import pytest
import torch
import xarray
import yaml

from lightning_landscape import records
from lightning_landscape.__main__ import main

CONFIG = {
    "experiment": "small",
    "model": {
        "energy": {"class_path": "Quadratic", "init_args": {"spectrum": [1.0, 3.0], "replicas": 2}},
        "optimizer": {"class_path": "Langevin", "init_args": {"lr": 0.02, "temperature": 0.3}},
    },
    "checkpoint": {"every_n_train_steps": 20},
    "trainer": {
        "max_steps": 100,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "callbacks": [
            {"class_path": "EnergyRelaxation", "init_args": {"first": 0.1, "last": 2}},
            {
                "class_path": "AgingCorrelation",
                "init_args": {"waiting_times": [1], "first": 0.1, "last": 1},
            },
        ],
    },
}
RUN = Path("logs/small/version_0")
FILES = [
    "config.yaml",
    "last.ckpt",
    "previous.ckpt",
    "energy_relaxation.nc",
    "energy_relaxation.png",
    "aging_correlation.nc",
    "results.md",
]


def run(folder, prepare=lambda: None, verb="fit"):
    """Run in a process of its own, prepared by a function; return its status and its CPU time."""
    save_dir = "--trainer.logger.save_dir" if verb == "fit" else "--save_dir"
    process = os.fork()
    if process == 0:
        status = 99
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1), os.dup2(nowhere, 2)
            prepare()
            status = main([verb, "--config", "small.yaml", f"{save_dir}={folder}"])
        finally:
            os._exit(status)
    _, status, usage = os.wait4(process, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same run, never killed, and the CPU time that it takes where all is imported."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as there:
        there.chdir(folder)
        Path("small.yaml").write_text(yaml.safe_dump(CONFIG))
        assert main(["fit", "--config", "small.yaml", "--trainer.logger.save_dir=imports"]) == 0
        status, seconds = run("logs")
    assert status == 0
    return folder / RUN, seconds


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(yaml.safe_dump(CONFIG))


def check_completed(whole):
    assert run("logs")[0] == 0
    assert os.listdir("logs/small") == ["version_0"]
    assert not list(RUN.rglob("*.unfinished"))
    names = {path.relative_to(RUN) for path in RUN.rglob("*") if "events" not in path.name}
    assert names == {p.relative_to(whole) for p in whole.rglob("*") if "events" not in p.name}
    ours, theirs = (torch.load(path / "checkpoints/last.ckpt") for path in (RUN, whole))
    assert ours["global_step"] == theirs["global_step"] == 100
    assert torch.equal(ours["state_dict"]["energy.x"], theirs["state_dict"]["energy.x"])
    for record in (whole / "probes").glob("*.nc"):
        ours, theirs = (records.read(path / "probes" / record.name) for path in (RUN, whole))
        xarray.testing.assert_identical(ours.drop_attrs(), theirs.drop_attrs())


def killed_at(name, moment, count):
    """Prepare a process that is killed when it writes the file ``name`` for the count-th time."""
    seen = [0]

    def kill_if_due(path, now):
        if Path(path).name == name and now == moment:
            seen[0] += 1
            if seen[0] == count:
                os.kill(os.getpid(), signal.SIGKILL)

    def prepare():
        replace = os.replace

        def replaced(source, target, **options):
            kill_if_due(target, "before")
            replace(source, target, **options)
            kill_if_due(target, "after")

        os.replace = replaced

    return prepare


def check_killed_while_it_writes(name, moment, whole):
    assert run("logs", killed_at(name, moment, 2 if name == "last.ckpt" else 1))[0] == -9
    if (RUN / "results.md").exists():  # all was written: the same command is a new run
        assert (name, moment) == ("results.md", "after")
        return
    check_completed(whole[0])


@pytest.mark.parametrize(
    ("name", "moment"), [("last.ckpt", "before"), ("aging_correlation.nc", "after")]
)
def test_a_run_killed_while_it_writes_a_file_is_completed(name, moment, whole):
    check_killed_while_it_writes(name, moment, whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_killed_while_it_writes_any_file_is_completed(name, moment, whole):
    check_killed_while_it_writes(name, moment, whole)


EXPLORATION = {
    "experiment": "small",
    "energy": {"class_path": "SixHumpCamel", "init_args": {"dtype": "float64"}},
    "quenches": 6,
    "searches": 6,
    "search": {"width": 1.5, "max_step": 0.2, "batch": 3},
}


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["explore", "jamming"])
def test_a_catalogue_that_is_being_written_when_the_kill_comes_is_completed(verb, small_jamming):
    """Before the second writing of the record takes effect, after it, and at the table's."""
    config = EXPLORATION if verb == "explore" else small_jamming(seeds=2, rounds=3, steps=20)
    Path("small.yaml").write_text(yaml.safe_dump(config))
    name = "exploration.nc" if verb == "explore" else "jamming.nc"
    assert run("whole", verb=verb)[0] == 0
    whole = records.read(f"whole/small/version_0/probes/{name}")
    kills = (name, "before", 2), (name, "after", 1), ("results.md", "before", 1)
    for file, moment, count in kills:
        assert run("logs", killed_at(file, moment, count), verb)[0] == -signal.SIGKILL
        known = records.read(RUN / "probes" / name)  # what there is, is whole
        assert known.attrs["probe"] == whole.attrs["probe"]
    assert run("logs", verb=verb)[0] == 0
    assert os.listdir("logs/small") == ["version_0"]
    assert not list(RUN.rglob("*.unfinished"))
    found = records.read(RUN / "probes" / name)
    xarray.testing.assert_identical(found.drop_attrs(), whole.drop_attrs())
    rows = [p.read_text().count("\n") for p in Path().rglob("version_0/results.md")]
    assert len(rows) == 2 and rows[0] == rows[1]


def check_killed_at_random(seed, kills, whole):
    """Kill after random CPU times, so that the load of the machine makes no difference."""
    source = random.Random(seed)
    for _ in range(kills):
        # a third of them in the last part of a run, where it writes
        share = source.choice([source.random(), source.random(), source.uniform(0.7, 1)])
        after = share * whole[1]
        status, _ = run("logs", lambda after=after: signal.setitimer(signal.ITIMER_PROF, after))
        assert status in (-signal.SIGPROF, 0)  # the kernel kills, as there is no handler
        if status == 0 or (RUN / "results.md").exists():
            return
    check_completed(whole[0])


def test_a_run_killed_again_and_again_is_completed(whole):
    check_killed_at_random(0, 2, whole)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_a_run_killed_at_forty_random_moments_is_completed(seed, whole):
    check_killed_at_random(seed, 4, whole)
