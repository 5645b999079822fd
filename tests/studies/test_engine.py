"""The engine on a toy: order, resume after a kill, workers that are killed, damaged files."""

import os
import select
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import pytest
import xarray

from lightning_landscape import records
from lightning_landscape.errors import UsageError
from lightning_landscape.studies import Experiment, Processes, Study, checkpoint, processes
from lightning_landscape.studies.checkpoint import RoundCheckpoint
from lightning_landscape.studies.table import columns, results

STEPS = 4


@dataclass(frozen=True)
class Point:
    """One point of the toy."""

    k: int

    @property
    def key(self):
        return ("toy", self.k)


def count(before, each, share, stage):
    """Add up powers of seed + 2, one per step; ``before`` is called before every step."""
    found = []
    for seed in share:
        name = f"seed {seed}"
        state = stage.load(name) or {"step": 0, "total": 0}
        for step in range(state["step"], STEPS):
            before(each, seed, step)
            state = {"step": step + 1, "total": state["total"] + (seed + 2) ** (each.k + step)}
            stage.save(name, lambda state=state: state)
        found.append({"point": each.k, "seed": seed, "total": state["total"]})
    return found


class Toy(Study):
    """Points 0, 1, 2, …, of five seeds each, until the sum of all totals is large enough."""

    name, seeds, dims = "toy", 5, {}

    def __init__(self, before=lambda *_: None, enough=20_000):
        self.before, self.enough = before, enough

    def next(self, recorded):
        if sum(result["total"] for result in recorded) >= self.enough:
            return None
        return Point(len(recorded) // self.seeds)

    @property
    def compute(self):
        return partial(count, self.before)

    def dataset(self, recorded):
        return xarray.Dataset(columns(recorded, self.dims))

    def line(self, each, new):
        return f"point {each.k}: {sum(result['total'] for result in new)}"


class Threads:
    """Workers of another kind than processes."""

    def __init__(self, count):
        self.count = count

    def executor(self):
        return ThreadPoolExecutor(self.count)


def run(study, path, workers=None, tell=lambda line: None):
    Experiment(study, workers or Processes(1)).run(path, {"config": "a: 1"}, tell)
    return records.read(path)


@pytest.fixture
def whole(tmp_path):
    return run(Toy(), tmp_path / "whole.nc")


def test_rounds_follow_one_another_until_what_is_recorded_suffices(tmp_path):
    lines = []
    dataset = run(Toy(), tmp_path / "toy.nc", tell=lines.append)
    exact = [[sum((s + 2) ** (k + i) for i in range(STEPS)) for s in range(5)] for k in range(5)]
    sums = [sum(row) for row in exact]
    rounds = next(n for n in range(1, 6) if sum(sums[:n]) >= 20_000)
    assert dataset["total"].values.tolist() == [x for row in exact[:rounds] for x in row]
    assert dataset["point"].values.tolist() == [k for k in range(rounds) for _ in range(5)]
    assert lines == [f"point {k}: {sums[k]}" for k in range(rounds)]
    assert dataset.attrs == {"config": "a: 1"}


@pytest.mark.parametrize("workers", [Threads(2), Threads(3), Threads(9)])
def test_shares_come_back_in_the_order_of_the_seeds(tmp_path, whole, workers):
    xarray.testing.assert_identical(run(Toy(), tmp_path / "toy.nc", workers), whole)


def test_what_is_enough_is_not_computed_again(tmp_path, whole):
    def never(*_):
        raise AssertionError

    xarray.testing.assert_identical(run(Toy(never), tmp_path / "whole.nc"), whole)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("workers", [Processes(1), Threads(2)])
@pytest.mark.parametrize(("k", "seed", "step"), [(0, 0, 0), (1, 2, 3), (2, 4, 1)])
def test_killed_inside_a_round_it_resumes_where_it_was(
    tmp_path, monkeypatch, whole, workers, k, seed, step
):
    """No step that was kept is done twice, and the record is that of a run that was not killed."""
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN_WRITES", 0)
    done = []

    def kill(each, s, i):
        if (each.k, s, i) == (k, seed, step):
            raise Killed
        done.append((each.k, s, i))

    path = tmp_path / "toy.nc"
    with pytest.raises(Killed):
        run(Toy(kill), path, workers)
    again = []
    dataset = run(Toy(lambda each, s, i: again.append((each.k, s, i))), path, workers)
    xarray.testing.assert_identical(dataset, whole)
    assert not set(done) & set(again) and (k, seed, step) in again
    assert not list(tmp_path.glob("*.round"))


@pytest.mark.parametrize("content", [b"", b"no such file\x00" * 9, None])
def test_a_damaged_or_foreign_checkpoint_is_ignored_with_a_sentence(
    tmp_path, caplog, whole, content
):
    path = tmp_path / "toy.0.round"
    foreign = RoundCheckpoint(path, "another round")
    foreign.end("seed 0", {"step": STEPS, "total": -1}, supersedes="")
    if content is not None:
        path.write_bytes(content or path.read_bytes()[:-40])
    xarray.testing.assert_identical(run(Toy(), tmp_path / "toy.nc"), whole)
    assert sum("toy.0.round: ignored, because" in record.message for record in caplog.records) == 1


class Dying(Executor):
    """Does as many tasks as it lives, then breaks, as a pool whose process is killed."""

    def __init__(self, life):
        self.life = life

    def submit(self, function, /, *args, **kwargs):
        future = Future()
        if self.life <= 0:
            future.set_exception(BrokenProcessPool())
        else:
            future.set_result(function(*args, **kwargs))
        self.life -= 1
        return future


class Mortal:
    """Workers whose executors live as long as ``lives`` say, one after the other."""

    def __init__(self, lives, count=3):
        self.lives, self.count = iter(lives), count

    def executor(self):
        return Dying(next(self.lives))


def test_the_share_of_a_killed_worker_is_computed_again(tmp_path, whole, caplog):
    """And only that: every step of every seed is done once."""
    done = []
    study = Toy(lambda each, s, i: done.append((each.k, s, i)))
    dataset = run(study, tmp_path / "toy.nc", Mortal([1, 4, 100]))
    xarray.testing.assert_identical(dataset, whole)
    assert len(done) == len(set(done)) == whole.sizes["run"] * STEPS
    assert caplog.text.count("a worker was killed") == 2


def test_workers_that_are_killed_again_and_again_are_one_sentence(tmp_path):
    with pytest.raises(UsageError, match="processes = 3: workers were killed 3 times in one round"):
        run(Toy(), tmp_path / "toy.nc", Mortal([1, 1, 0]))


def test_a_mistake_in_a_round_is_not_tried_again(tmp_path):
    tries = []

    def fail(each, seed, step):
        tries.append(seed)
        raise UsageError("lr = 9: is too large")

    with pytest.raises(UsageError, match="lr = 9"):
        run(Toy(fail), tmp_path / "toy.nc", Threads(2))
    assert tries.count(0) == 1 and tries.count(3) <= 1


@pytest.fixture
def forked(monkeypatch):
    """Two processes that start at once, with all modules of this one."""
    monkeypatch.setattr(processes, "get_context", lambda method: get_context("fork"))
    return Processes(2)


def die_once(mark, each, seed, step):
    if (each.k, seed, step) == (1, 3, 2) and not mark.exists():
        mark.touch()
        os._exit(9)


def test_a_process_that_is_killed_is_replaced(tmp_path, whole, forked, caplog):
    mark = tmp_path / "mark"
    xarray.testing.assert_identical(
        run(Toy(partial(die_once, mark)), tmp_path / "toy.nc", forked), whole
    )
    assert "a worker was killed" in caplog.text
    assert mark.exists()


def hold_a_pool(workers, output):
    with workers.executor() as pool:
        os.write(output, bytes(pool.map(abs, [-1, -2])))
        time.sleep(60)


def test_processes_end_with_a_parent_that_is_killed(forked):
    """They have its output open: it ends when all of them have."""
    output, end = os.pipe()
    parent = get_context("fork").Process(target=hold_a_pool, args=(forked, end))
    parent.start()
    os.close(end)
    assert os.read(output, 3) == b"\x01\x02"
    parent.kill()
    assert select.select([output], [], [], 20)[0], "a process has survived its parent"
    assert os.read(output, 3) == b""
    parent.join()
    os.close(output)


def test_a_number_of_processes_below_one_is_refused():
    with pytest.raises(UsageError, match="processes = 0"):
        Processes(0)


def test_results_come_back_from_the_columns_that_they_were_written_to():
    recorded = [
        {"x": 1, "y": [1.0, 2.0], "z": [[1.0], [2.0]]},
        {"x": 2, "y": [3.0, 4.0], "z": [[3.0], [4.0]]},
    ]
    dims = {"y": ("t",), "z": ("tw", "s")}
    dataset = xarray.Dataset(columns(recorded, dims), {"t": [0.0, 1.0]})
    assert dataset["z"].dims == ("run", "tw", "s")
    assert results(dataset.assign(other=("t", [0.0, 0.0]))) == recorded
