"""Carrying out the points of a sweep on whatever gives an executor."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait

from lightning_landscape.cli.sweep.points import Point
from lightning_landscape.cli.sweep.work import Outcome, Task, work
from lightning_landscape.errors import UsageError
from lightning_landscape.studies import Workers

__all__ = ["carry_out"]

_AHEAD = 3  # tasks a worker that are submitted; all at once would be too many for a scheduler
_ATTEMPTS = 3  # without a finished point, before it is the workers' fault
_SECONDS_BETWEEN_LINES = 30.0  # where the output is no terminal


def carry_out(
    tasks: list[tuple[Point, Task]],
    workers: Workers | None,
    total: int,
    found: Callable[[Point, Outcome], object],
) -> dict[str, Outcome]:
    """Do the tasks; return what became of each, by the label of its point.

    A task whose worker was killed is done again, and goes on where it was.

    Args:
        tasks: what is missing.
        workers: who does it; None does it in this process.
        total: the number of points of the sweep.
        found: is told of each outcome as it comes.

    Raises:
        UsageError: workers are killed again and again, and no point gets done.
    """
    outcomes: dict[str, Outcome] = {}
    progress = _Progress(total, total - len(tasks), 1 if workers is None else workers.count)

    def take(point: Point, outcome: Outcome) -> None:
        outcomes[point.label] = outcome
        found(point, outcome)
        progress.show(outcome)

    progress.show()
    if workers is None:
        for point, task in tasks:
            take(point, work(task))
    attempts = 0
    while workers is not None and (left := [t for t in tasks if t[0].label not in outcomes]):
        before = len(outcomes)
        _attempt(left, workers, take)
        attempts = 0 if len(outcomes) > before else attempts + 1
        if attempts == _ATTEMPTS:
            raise UsageError(
                f"workers = {workers.count}: they were killed {_ATTEMPTS} times and no point was "
                "done, for lack of memory as a rule; lower their number, and the same command "
                "resumes"
            )
    progress.end()
    return outcomes


def _attempt(
    tasks: list[tuple[Point, Task]], workers: Workers, take: Callable[[Point, Outcome], None]
) -> None:
    """Do tasks until all are done, or a worker of the pool is killed, which ends the pool."""
    waiting, running = list(reversed(tasks)), dict[Future[Outcome], Point]()
    executor = workers.executor()
    if page := getattr(executor, "page", None):
        print(f"workers: {page}", flush=True)
    try:
        while waiting or running:
            while waiting and len(running) < _AHEAD * workers.count:
                point, task = waiting.pop()
                running[executor.submit(work, task)] = point
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                outcome = future.result()
                take(running.pop(future), outcome)
    except BrokenExecutor:
        for future, point in running.items():
            if future.done() and future.exception() is None:
                take(point, future.result())
    finally:
        executor.shutdown(cancel_futures=True)


class _Progress:
    """One line that says how far a sweep is."""

    def __init__(self, total: int, done: int, workers: int) -> None:
        self._total, self._done, self._failed, self._workers = total, done, 0, workers
        self._before, self._started, self._shown = done, time.monotonic(), -1e9

    def show(self, outcome: Outcome | None = None) -> None:
        if outcome is not None:
            self._done += outcome.state == "done"
            self._failed += outcome.state == "failed"
        terminal, now = sys.stdout.isatty(), time.monotonic()
        if terminal:
            print(f"\r\x1b[K{self._line(now)}", end="", flush=True)
        elif now - self._shown > _SECONDS_BETWEEN_LINES:
            print(self._line(now), flush=True)
            self._shown = now

    def end(self) -> None:
        """Leave the last line."""
        last = self._line(time.monotonic())
        print(f"\r\x1b[K{last}" if sys.stdout.isatty() else last, flush=True)

    def _line(self, now: float) -> str:
        left = self._total - self._done - self._failed
        new = self._done + self._failed - self._before
        line = f"{self._done} of {self._total} points done"
        line += f", {min(left, self._workers)} running" if left else ""
        line += f", {self._failed} failed" if self._failed else ""
        if new and left:
            minutes = (now - self._started) / new * left / 60
            line += f", {minutes:.0f} min left" if minutes >= 1 else f", {60 * minutes:.0f} s left"
        return line
