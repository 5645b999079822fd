"""The verb explore as users call it."""

import os
import pickle
import re
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml

from lightning_landscape import records
from lightning_landscape.__main__ import main
from lightning_landscape.cli import explore
from lightning_landscape.cli.runs import claim
from lightning_landscape.exploration import Database
from lightning_landscape.exploration.explorer import Explorer

CAMEL = {
    "experiment": "camel",
    "energy": {"class_path": "SixHumpCamel", "init_args": {"dtype": "float64"}},
    "quenches": 20,
    "searches": 40,
    "search": {"width": 1.5, "max_step": 0.2, "batch": 20},
}


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("camel.yaml").write_text(yaml.safe_dump(CAMEL))
    return "camel.yaml"


def found(run="logs/camel/version_0"):
    return Database.read(Path(run) / "probes/exploration.nc")


def test_it_prints_its_table_and_writes_record_and_figure(config, capsys):
    assert main(["explore", "--config", config]) == 0
    out = capsys.readouterr().out
    assert "Good-Turing coverage" in out and "report logs/camel/version_0" in out
    database = found()
    assert database.minima.energy[0] == pytest.approx(-1.031628, abs=1e-6)
    assert (database.quenches, database.searches) == (20, 40)
    assert database.attributes["energy"] == "SixHumpCamel"
    assert Path("logs/camel/version_0/figures/exploration.png").is_file()


def test_a_killed_exploration_is_resumed_to_the_same_record(config, monkeypatch):
    assert main(["explore", "--config", config, "--save_dir", "whole"]) == 0
    search, left = Explorer._search, [1]

    def killed(self, database, number):
        if not left.pop():
            raise KeyboardInterrupt
        left.append(0)
        search(self, database, number)

    folders = []
    with monkeypatch.context() as patch:
        patch.setattr(Explorer, "_search", killed)
        patch.setattr(explore, "claim", lambda *args: folders.append(claim(*args)) or folders[0])
        assert main(["explore", "--config", config]) == 130
    os.close(folders[0].lock)  # which the end of the process would do
    assert found().searches == 20
    assert main(["explore", "--config", config]) == 0
    whole, resumed = found("whole/camel/version_0"), found()
    for name in ("energy", "x", "spectrum", "seen"):
        for kind in ("minima", "transition_states"):
            pair = [getattr(getattr(d, kind), name) for d in (whole, resumed)]
            assert np.array_equal(*pair)


WELLS = {
    "class_path": "WithL2",
    "init_args": {
        "energy": {
            "class_path": "NetworkEnergy",
            "init_args": {
                "architecture": {
                    "class_path": "FullyConnected",
                    "init_args": {
                        "widths": [2, 2, 2],
                        "activation": "tanh",
                        "replicas": 2,
                        "dtype": "float64",
                    },
                },
                "data": {"class_path": "XOR"},
            },
        },
        "strength": [0.001, 1.0],
    },
}


def test_each_replica_has_a_landscape_a_record_and_rows_of_its_own(config, capsys):
    """Under the strong penalty theta = 0 is the only minimum, at ln 2."""
    small = CAMEL | {"energy": WELLS, "quenches": 5, "searches": 0}
    Path("penalties.yaml").write_text(yaml.safe_dump(small))
    assert main(["explore", "--config", "penalties.yaml", "--all"]) == 0
    out = capsys.readouterr().out
    assert "minima, λ = 0.001 " in out and "lowest energy, λ = 1 " in out
    probes = Path("logs/camel/version_0/probes")
    assert records.read(probes / "landscapes.nc").sizes["landscape"] == 2
    weak, strong = (Database.read(probes / f"exploration_{k}.nc") for k in range(2))
    assert weak.minima.energy[0] < 0.5 and strong.minima.energy == pytest.approx([np.log(2)])


class Pool(ThreadPoolExecutor):
    """Threads that take and return what other processes could."""

    def submit(self, task, *args):
        return super().submit(task, *pickle.loads(pickle.dumps(args)))


class Threads:
    count = 2

    def executor(self):
        return Pool(self.count)


def test_several_workers_find_what_one_process_finds(config, monkeypatch):
    small = CAMEL | {"energy": WELLS, "quenches": 5, "searches": 0}
    Path("penalties.yaml").write_text(yaml.safe_dump(small))
    assert main(["explore", "--config", "penalties.yaml"]) == 0
    monkeypatch.setattr(explore, "workers", lambda *_: Threads())
    command = ["explore", "--config", "penalties.yaml", "--new", "--engine", "tcp://host:8786"]
    assert main(command) == 0
    for k in range(2):
        file = f"probes/exploration_{k}.nc"
        one, two = (Database.read(Path(f"logs/camel/version_{v}") / file) for v in range(2))
        assert (one.minima.x == two.minima.x).all()


def test_a_killed_worker_is_one_sentence(config, monkeypatch, capsys):
    class Killed(Threads):
        def executor(self):
            pool = super().executor()
            monkeypatch.setattr(explore, "_explore", killed)
            return pool

    def killed(*_):
        raise BrokenExecutor

    Path("penalties.yaml").write_text(yaml.safe_dump(CAMEL | {"energy": WELLS}))
    monkeypatch.setattr(explore, "workers", lambda *_: Killed())
    assert main(["explore", "--config", "penalties.yaml"]) == 2
    assert "one of them was killed" in capsys.readouterr().err


def test_landscapes_of_other_sizes_are_explored_by_the_same_command(config, capsys):
    """Networks of two widths under strong penalties, and a surface."""
    narrow = yaml.safe_dump(WELLS).replace("0.001", "2.0")
    wide = re.sub(r"(- 2\n +)- 2", r"\1- 3", narrow, count=1)
    energies = [*map(yaml.safe_load, (narrow, wide)), CAMEL["energy"]]
    small = CAMEL | {"energy": energies, "quenches": 5, "searches": 0}
    Path("widths.yaml").write_text(yaml.safe_dump(small))
    assert main(["explore", "--config", "widths.yaml"]) == 0
    probes = Path("logs/camel/version_0/probes")
    names = records.read(probes / "landscapes.nc")["landscape"].values.tolist()
    assert names == [f"N = {N}, λ = {s}" for N in (12, 17) for s in (2, 1)] + ["N = 2"]
    assert records.read(probes / "exploration_4.nc").attrs["of"] == "N = 2"
    assert Path("logs/camel/version_0/figures/landscapes.png").is_file()
    assert "minima, N = 17, λ = 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--searches=-1", "searches = -1"),
        ("--search.kick=0", "kick = 0"),
        ("--energy.dtype=float32", "float64"),
        ("--replica=3", "replica = 3"),
        ("--processes=-1", "processes = -1"),
    ],
)
def test_mistakes_are_one_sentence(config, capsys, option, sentence):
    assert main(["explore", "--config", config, option]) == 2
    assert sentence in capsys.readouterr().err
    assert not Path("logs").exists()
