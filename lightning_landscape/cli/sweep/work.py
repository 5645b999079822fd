"""What a worker of a sweep does: one run of ``fit``, whose words go to a file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from lightning_landscape import records
from lightning_landscape.cli.runs import RESULTS
from lightning_landscape.errors import UsageError
from lightning_landscape.results.registry import guarded
from lightning_landscape.results.summary import rows

__all__ = ["Found", "Keep", "Outcome", "Task", "collect", "finished", "work"]

Keep = Literal["all", "records", "none"]
"""What a finished point leaves: all files; records and results; nothing but the catalogue."""

LOG = "log.txt"


@dataclass(frozen=True)
class Task:
    """A run to be done.

    Attributes:
        arguments: of ``fit``.
        folder: of the point, which will hold version_0.
        keep: what it leaves.
        has_ranks: whether it starts processes of its own, so that it needs one to itself.
    """

    arguments: tuple[str, ...]
    folder: Path
    keep: Keep
    has_ranks: bool


class Found(NamedTuple):
    """A row of the table of a run as numbers; nan where there is none."""

    quantity: str
    measured: float
    error: float
    exact: float
    deviation: float


@dataclass
class Outcome:
    """What became of a point.

    Attributes:
        state: ``done`` or ``failed``.
        seconds: how long it took, this time.
        sentence: what was wrong.
        found: the rows of its table.
    """

    state: str
    seconds: float = 0.0
    sentence: str = ""
    found: list[Found] = field(default_factory=list)


def work(task: Task) -> Outcome:
    """Run a point, or resume it; never raise for what is wrong with it.

    Its output goes to ``log.txt`` in its folder.
    """
    started = time.monotonic()
    if finished(task.folder) is None:
        status = _fit(task)
        if status != 0:
            return Outcome("failed", time.monotonic() - started, _sentence(task.folder, status))
    outcome = collect(task.folder)
    outcome.seconds = time.monotonic() - started
    _tidy(task)
    return outcome


def finished(folder: Path) -> Path | None:
    """Return the finished run of a point, or None."""
    return next((path.parent for path in sorted(folder.glob(f"version_*/{RESULTS}"))), None)


def collect(folder: Path) -> Outcome:
    """Return what a finished point has found, from its records."""
    run = finished(folder)
    if run is None:
        return Outcome("failed", sentence="it has written no results")
    found: list[Found] = []
    for path in sorted((run / "probes").glob("*.nc"), reverse=True):
        try:
            dataset = records.read(path)
        except UsageError as error:
            return Outcome("failed", sentence=str(error))
        with guarded(dataset, "rows"):
            for row in rows(dataset):
                quantity = f"{row.quantity}, {row.note}" if row.note else row.quantity
                numbers = (row.measured, row.error, row.exact, row.deviation)
                found.append(Found(quantity, *map(float, numbers)))
    return Outcome("done", found=found)


def _fit(task: Task) -> int:
    from lightning_landscape.cli.fit import main  # a worker imports it once, for all its points

    task.folder.mkdir(parents=True, exist_ok=True)
    command = ["fit", *task.arguments]
    with _output_to(task.folder / LOG):
        if task.has_ranks:
            return subprocess.run(
                [sys.executable, "-m", "lightning_landscape", *command]
            ).returncode
        try:
            return main(command)
        except UsageError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except Exception:  # a fault of ours, or of a class from outside: of this point only
            import traceback

            traceback.print_exc()
            return 1


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Append what this process and its children print to a file."""
    kept = [os.dup(number) for number in (1, 2)]
    with path.open("a") as file, redirect_stdout(file), redirect_stderr(file):
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield
        finally:
            file.flush()
            for number, before in zip((1, 2), kept, strict=True):
                os.dup2(before, number)
                os.close(before)


def _sentence(folder: Path, status: int) -> str:
    """Return what a failed run has said last."""
    lines = [line.strip() for line in (folder / LOG).read_text(errors="replace").splitlines()]
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (said or [line for line in lines if line] or [f"it ended with status {status}"])[-1]


def _tidy(task: Task) -> None:
    run = finished(task.folder)
    if task.keep == "all" or run is None:
        return
    if task.keep == "none":
        shutil.rmtree(task.folder, ignore_errors=True)
        return
    shutil.rmtree(run / "checkpoints", ignore_errors=True)
    for events in run.glob("events.out.tfevents.*"):
        events.unlink(missing_ok=True)
