"""Sweeps: every point once, whatever is killed, and one catalogue of all of them."""

import math
import os
import random
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch
import yaml
from matplotlib.figure import Figure

from lightning_landscape import records
from lightning_landscape.__main__ import main
from lightning_landscape.cli.report import find_runs
from lightning_landscape.cli.sweep import engine
from lightning_landscape.cli.sweep.catalogue import Catalogue
from lightning_landscape.cli.sweep.laws import check_law
from lightning_landscape.cli.sweep.points import grid, part_of
from lightning_landscape.cli.sweep.work import Found, Outcome
from lightning_landscape.errors import UsageError
from lightning_landscape.results.quantities.sweep import curves
from lightning_landscape.results.registry import look_up
from lightning_landscape.studies import Processes
from lightning_landscape.studies.clusters import DaskWorkers, workers
from lightning_landscape.studies.processes import _settle_in

pytestmark = pytest.mark.usefixtures("no_figures")

CONFIG = {
    "experiment": "tiny",
    "model": {
        "energy": {"class_path": "SphericalPSpin", "init_args": {"N": 16, "replicas": 4}},
        "optimizer": {"class_path": "Langevin", "init_args": {"lr": 0.02, "temperature": 0.3}},
    },
    "trainer": {
        "max_steps": 60,
        "accelerator": "cpu",
        "callbacks": [
            {
                "class_path": "EnergyRelaxation",
                "init_args": {"first": 0.2, "last": 1, "per_decade": 2},
            }
        ],
    },
    "checkpoint": {"every_n_train_steps": 10},
}
TEMPERATURES = ["--over", "model.optimizer.temperature=0.2,0.4"]
SEEDS = ["--over", "model.energy.seed=0:2"]


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    """A folder to work in, with tiny.yaml, and workers that start at once."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    monkeypatch.setattr(Processes, "executor", forked)
    return tmp_path / "logs" / "sweeps" / "tiny"


def forked(self):
    return ProcessPoolExecutor(self.count, get_context("fork"), _settle_in)


def sweep(*options):
    return main(["sweep", "--config", "tiny.yaml", *options])


def catalogue(folder):
    return records.read(folder / "probes" / "sweep.nc")


# points


def test_points_are_all_combinations():
    points = grid(["a.lr=0.1,1e-3", "a.x=[1, 2],3", "b.seed=3:5"])
    assert len(points) == 8
    assert points[1].values == {"a.lr": 0.1, "a.x": [1, 2], "b.seed": 4}
    assert points[4].arguments == ["--a.lr=0.001", "--a.x=[1, 2]", "--b.seed=3"]
    assert len({point.label for point in grid(["a.x=a/b,a_b"])}) == 2  # both are a_b as a folder


def test_parts_cover_every_point_once():
    points = grid(["seed=0:7"])
    parts = [part_of(points, f"{k}/3") for k in range(3)]
    assert sorted(p.label for part in parts for p in part) == [p.label for p in points]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "over = : is missing"),
        (["--over", "seed"], "over = seed: must be key=value"),
        (["--over", "seed=4:2"], "empty range"),
        (["--over", "seed=0:10000000"], "over 100000 values"),
        (["--over", "seed=1,1"], "gives a value twice"),
        (["--over", "seed=1", "--over", "seed=2"], "over = seed: is given twice"),
        ([*SEEDS, "--part", "2/2"], "part = 2/2: must be k/n"),
        ([*SEEDS, "--part", "0/2", "--workers", "2"], "remove --engine and --workers"),
        ([*SEEDS, "--engine", "slurn"], "engine = slurn: is not known"),
        ([*SEEDS, "--workers", "0"], "must be at least 1"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_leaves_nothing(options, sentence, capsys, tmp_path):
    assert sweep(*options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line
    assert not (tmp_path / "logs").exists()


def test_a_dry_run_runs_nothing(config, capsys, tmp_path):
    assert sweep(*TEMPERATURES, *SEEDS, "--dry_run") == 0
    assert "missing  temperature=0.2,seed=1\n" in capsys.readouterr().out
    assert not (tmp_path / "logs").exists()


# runs


def test_parts_and_their_collection_make_one_catalogue(config, capsys):
    for part in ("0/2", "1/2"):
        assert sweep(*TEMPERATURES, *SEEDS, "--part", part) == 0
    assert not (config / "probes").exists()
    before = sorted(path.stat().st_mtime_ns for path in config.rglob("results.md"))
    assert sweep(*TEMPERATURES, *SEEDS, "--engine", "processes", "--workers", "1") == 0
    assert sorted(path.stat().st_mtime_ns for path in config.rglob("results.md")) == before
    found = catalogue(config)
    assert found["state"].to_numpy().tolist() == 4 * ["done"]
    assert found["temperature"].to_numpy().tolist() == [0.2, 0.2, 0.4, 0.4]
    # the numbers are those of the run's own record
    point = "temperature=0.4,seed=1"
    energy = records.read(config / point / "version_0" / "probes" / "energy_relaxation.nc")
    expected = energy["energy"].isel(t=-1).mean().item()
    measured = found["measured"].sel(point=point, quantity="E(t = 1)/N").item()
    assert measured == pytest.approx(expected, rel=1e-12)
    assert "points done" in capsys.readouterr().out
    assert find_runs(config.parents[1]) == [config]


def test_a_failing_point_stops_no_other_and_is_named(config, capsys):
    assert sweep("--over", "model.optimizer.temperature=-1,0.4", "--workers", "1",
                 "--engine", "processes") == 1  # fmt: skip
    said = capsys.readouterr().err
    assert "1 of 2 points failed" in said
    assert "temperature=-1: " in said
    assert "must be a number >= 0" in said
    assert catalogue(config)["state"].to_numpy().tolist() == ["failed", "done"]


def test_another_configuration_is_another_sweep(config, capsys):
    assert sweep(*SEEDS, "--part", "0/2") == 0
    assert sweep("--model.energy.N=32", *SEEDS, "--part", "0/2") == 2
    assert "holds a sweep of another configuration" in capsys.readouterr().err
    assert sweep("--over", "model.energy.seed=2:3", "--part", "0/1") == 0  # more points may come


@pytest.mark.parametrize("keep", ["records", "none"])
def test_what_a_finished_point_leaves(keep, config):
    options = ["--over", "model.energy.seed=0:1", "--engine", "processes", "--workers", "1"]
    options += ["--keep", keep]
    assert sweep(*options) == 0
    assert not list(config.rglob("*.ckpt"))
    assert not list(config.rglob("events.out*"))
    assert bool(list(config.glob("seed=*/version_0/probes/*.nc"))) == (keep == "records")
    first = catalogue(config)
    assert sweep(*options) == 0  # nothing is done again
    assert catalogue(config).identical(first)


def test_the_file_of_a_sweep_says_what_the_command_line_says(config, tmp_path):
    content = {"fit": "tiny.yaml", "over": {"model.energy.seed": [0, 1]}, "workers": 1}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content | {"engine": "processes"}))
    assert main(["sweep", "--config", "sweep.yaml"]) == 0
    assert catalogue(config)["seed"].to_numpy().tolist() == [0, 1]


# kills


def configurations(folder):
    paths = sorted(folder.rglob("last.ckpt"))
    return {p.parts[-4]: torch.load(p, weights_only=True)["state_dict"]["energy.x"] for p in paths}


@pytest.mark.parametrize(
    ("kills", "swept"),
    [
        pytest.param(2, SEEDS, id="two"),
        pytest.param(10, [*TEMPERATURES, *SEEDS], id="ten", marks=pytest.mark.slow),
    ],
)
def test_kills_of_driver_and_workers_lose_nothing(kills, swept, config, start):
    """At random moments: in the end every point was run once, to the bits of a run in peace."""
    options = ["--config", "tiny.yaml", *swept, "--model.block_size=1"]
    options += ["--engine", "processes", "--workers", "2", "--trainer.max_steps=200"]
    assert start("sweep", *options, "--experiment", "whole").wait(120) == 0
    moment = random.Random(5)
    for _ in range(kills):
        command = start("sweep", *options)
        time.sleep(moment.uniform(0.3, 2.0))
        os.kill(moment.choice(_family(command.pid)), 9)
        time.sleep(0.3)
        command.kill()
        command.wait()
    last = start("sweep", *options)
    assert last.wait(120) == 0, last.said
    expected, found = configurations(config.parent / "whole"), configurations(config)
    assert found.keys() == expected.keys()
    assert len(found) == (2 if kills == 2 else 4)
    assert all(x.equal(found[name]) for name, x in expected.items())
    assert {p.name for p in config.glob("*/version_*")} == {"version_0"}


def _family(pid):
    """A process and its children."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [pid, *map(int, file.read().split())]


# engines


def test_without_dask_a_pool_serves(monkeypatch):
    monkeypatch.setattr("lightning_landscape.studies.clusters.find_spec", lambda name: None)
    assert isinstance(workers(None, 2), Processes)


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(distributed, "Client", _no_client)
    with pytest.raises(UsageError, match="engine = tcp://nowhere:1: no scheduler answers"):
        DaskWorkers("tcp://nowhere:1", 1).executor()


def _no_client(*args, **kwargs):
    raise OSError("timed out")


def test_the_page_of_the_workers_is_named(monkeypatch, capsys):
    class Pool(ThreadPoolExecutor):
        page = "http://host:8787/status"

    class Threads:
        count = 2

        def executor(self):
            return Pool(2)

    monkeypatch.setattr(engine, "work", lambda task: Outcome("done", 1.0))
    (point,) = grid(["energy.seed=0:1"])
    outcomes = engine.carry_out([(point, None)], Threads(), 1, lambda *_: None)
    assert outcomes[point.label].state == "done"
    assert "workers: http://host:8787/status" in capsys.readouterr().out


@pytest.mark.slow
def test_dask_does_a_task_again_whose_worker_was_killed(tmp_path):
    pytest.importorskip("distributed")

    def die_once(path=tmp_path / "died"):  # goes by value, since a worker has not this module
        if not path.exists():
            path.touch()
            os.kill(os.getpid(), 9)
        return os.getpid()

    executor = DaskWorkers("local", 1).executor()
    try:
        assert executor.submit(die_once).result(300) > 0
    finally:
        executor.shutdown()


def test_a_job_queue_gets_the_arguments_that_are_given():
    jobqueue = pytest.importorskip("dask_jobqueue")
    slurm = DaskWorkers("slurm", 1, {"queue": "long", "walltime": "09:00:00"})
    given = {"cores": 1, "processes": 1, "memory": "4GB"} | slurm.options
    with jobqueue.SLURMCluster(**given, scheduler_options={"dashboard": False}) as cluster:
        script = cluster.job_script()
    assert "#SBATCH -p long" in script
    assert "#SBATCH -t 09:00:00" in script


# the record


def test_seeds_are_averaged_and_other_options_are_curves(tmp_path):
    points = grid(["temperature=0.2,0.4", "energy.N=16,24", "energy.seed=0:2"])
    made = Catalogue(tmp_path / "sweep.nc", points, {})
    here = np.random.default_rng(0).normal(size=(2, 2, 2))  # T, N, seed
    for point, measured in zip(points, here.flatten(), strict=True):
        made.add(point, Outcome("done", 1.0, found=[Found("E", measured, 0.1, math.nan, math.nan)]))
    dataset = made.dataset()
    small, large = curves(dataset, "E")  # against the temperature, which comes first
    assert (small.label, large.label) == ("N = 16, ", "N = 24, ")
    assert small.mean == pytest.approx(here[:, 0].mean(-1))
    assert large.error == pytest.approx(here[:, 1].std(-1, ddof=1) / 2**0.5)
    (panel,) = look_up("Sweep").panels(dataset)
    axes = Figure().add_subplot()
    panel(dataset, axes)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["N = 16", "N = 24"]


# laws


def swept(tmp_path, law, quantity, exact=math.nan):
    """A catalogue of E = quantity(N, T) at some N, T and seeds, with errors of 0.01 or 0.02."""
    points = grid(["energy.N=16,32,64,128", "temperature=0.2,0.4", "energy.seed=0:2"])
    made = Catalogue(tmp_path / "sweep.nc", points, {}, law)
    for point in points:
        N, T, seed = point.values.values()
        error = 0.01 if N < 100 else 0.02
        E = quantity(N, T) + (error, -error)[seed]
        found = Found("E", E, error, exact, math.nan)
        made.add(point, Outcome("done", 1.0, found=[found]))
    made.write()
    return records.read(tmp_path / "sweep.nc")


def test_the_limit_of_infinite_size_is_fitted(tmp_path):
    dataset = swept(tmp_path, "infinity", lambda N, T: -1 + T + 3 / N, exact=-0.8)
    # by hand: weighted least squares in 1/N; two seeds at +-s have the standard error s
    N = np.array([16, 32, 64, 128])
    A = np.stack([np.ones(4), 1 / N], 1) / np.array([0.01, 0.01, 0.01, 0.02])[:, None]
    statistical = np.linalg.inv(A.T @ A)[0, 0] ** 0.5
    assert dataset["law"].sel(quantity="E").to_numpy() == pytest.approx([-0.8, -0.6])
    assert dataset["law_error"].to_numpy() == pytest.approx(statistical, abs=1e-9)
    assert dataset["law_coefficients"][0, 0].to_numpy() == pytest.approx([-0.8, 3])
    cold, _ = (row for row in look_up("Sweep").rows(dataset) if "∞" in row.note)
    assert cold.note == "temperature = 0.2, N → ∞, χ² = 0.0 of 2"
    assert cold.exact == -0.8


def test_a_family_of_sizes_ends_with_its_limit_where_theory_knows_it(tmp_path):
    dataset = swept(tmp_path, None, lambda N, T: -1 + T + 3 / N, exact=-0.8)
    assert dataset["law"].sel(quantity="E").to_numpy() == pytest.approx([-0.8, -0.6])
    assert "law_text" not in dataset.attrs  # the next start, without --law, is the same sweep
    rows = [row for row in look_up("Sweep").rows(dataset) if "∞" in row.note]
    assert [row.exact for row in rows] == [-0.8, -0.8]
    (tmp_path / "sweep.nc").unlink()
    assert "law" not in swept(tmp_path, None, lambda N, T: -1 + T + 3 / N)


def test_powers_and_the_limit_of_zero_are_fitted(tmp_path):
    power = swept(tmp_path, "power", lambda N, T: 2 * N**0.5)
    assert power["law"].to_numpy().ravel() == pytest.approx([0.5, 0.5], abs=1e-4)
    zero = swept(tmp_path, "zero:2", lambda N, T: T + N**2 / 1000)
    assert zero["law"].to_numpy().ravel() == pytest.approx([0.2, 0.4])
    assert zero.attrs["law_text"] == "zero:2"  # another law replaces the first


def test_a_law_is_drawn(tmp_path):
    dataset = swept(tmp_path, "infinity", lambda N, T: -1 + T + 3 / N)
    (panel,) = look_up("Sweep").panels(dataset)
    axes = Figure().add_subplot()
    panel(dataset, axes)
    x, y = axes.lines[-1].get_data()
    assert y == pytest.approx(-0.6 + 3 / x)


@pytest.mark.parametrize("law", ["cubic", "power:2", "zero:-1", "infinity:x"])
def test_another_law_is_refused(law):
    with pytest.raises(UsageError, match="law = "):
        check_law(law)


@pytest.mark.parametrize("what", ["folders", "catalogue"])
def test_a_thousand_finished_points_are_looked_over_at_once(what, config, capsys):
    over = ["model.optimizer.temperature=0.2,0.4", "model.energy.seed=0:500"]
    points, part = grid(over), []
    if what == "folders":
        part = ["--part", "0/1"]
        for point in points:
            (config / point.label / "version_0" / "probes").mkdir(parents=True)
            (config / point.label / "version_0" / "results.md").write_text("")
    else:
        made = Catalogue(config / "probes" / "sweep.nc", points, {})
        for k, point in enumerate(points):
            made.add(point, Outcome("done", 1.0, found=[Found("E", k, 0.1, math.nan, math.nan)]))
        made.write()
    start = time.process_time()
    assert sweep(*(word for option in over for word in ("--over", option)), *part) == 0
    assert time.process_time() - start < 5
    assert "1000" in capsys.readouterr().out
