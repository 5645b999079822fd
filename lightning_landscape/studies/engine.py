"""The engine of studies: round after round, recorded, and resumable at any time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from types import TracebackType
from typing import Any

from lightning_landscape import records
from lightning_landscape.errors import UsageError
from lightning_landscape.studies.checkpoint import RoundCheckpoint
from lightning_landscape.studies.processes import Workers
from lightning_landscape.studies.study import Compute, Result, Round, Study
from lightning_landscape.studies.table import results

__all__ = ["Experiment"]

_ATTEMPTS = 3  # to compute a share whose worker was killed

logger = logging.getLogger(__name__)


class Experiment:
    """Computes the rounds of a study and keeps the results of every seed in one record.

    The record is written atomically after every round, and the state of each share of the current
    round once a minute, next to the record. A killed experiment resumes from both and ends with
    the record of one that was not killed. A share whose worker was killed is computed again, at
    most three times.

    Args:
        study: what comes next, and what it computes.
        workers: compute the shares of a round; their number changes results by rounding only,
            where the seeds of a share are batched.
    """

    def __init__(self, study: Study, workers: Workers) -> None:
        self.study, self.workers = study, workers
        self.recorded: list[Result] = []

    def run(self, record: Path, attributes: dict[str, Any], tell: Callable[[str], object]) -> None:
        """Compute what is missing, and write the record after every round.

        Args:
            record: the file; results in it are kept and continued.
            attributes: to be written with the record.
            tell: called with one line about each round.

        Raises:
            UsageError: the record is damaged, or workers were killed again and again.
        """
        if record.is_file():
            self.recorded = results(records.read(record))
        with _Shares(self.study.compute, self.study.seeds, self.workers) as shares:
            while (each := self.study.next(self.recorded)) is not None:
                new = shares.compute(each, record)
                self.recorded += new
                dataset = self.study.dataset(self.recorded)
                records.write(dataset.assign_attrs(attributes), record)
                for checkpoint in record.parent.glob(f"{record.stem}.*.round"):
                    checkpoint.unlink()
                tell(self.study.line(each, new))


class _Shares:
    """The seeds of a round in equal shares, one for each worker; a single share needs none."""

    def __init__(self, compute: Compute, seeds: int, workers: Workers) -> None:
        self._compute, self._workers = compute, workers
        self._shares = _cut(seeds, workers.count)
        self._executor: Executor | None = None

    def __enter__(self) -> _Shares:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None

    def compute(self, each: Round, record: Path) -> list[Result]:
        """Return the results of all seeds of a round, in order."""
        if len(self._shares) == 1:
            return _of_share(self._compute, each, self._shares[0], record)
        found: dict[int, list[Result]] = {}
        for _ in range(_ATTEMPTS):
            found |= self._attempt(each, record, set(range(len(self._shares))) - set(found))
            if len(found) == len(self._shares):
                return [result for k in sorted(found) for result in found[k]]
            logger.warning("a worker was killed; its share of the round is computed again")
            self._close()
        raise UsageError(
            f"processes = {self._workers.count}: workers were killed {_ATTEMPTS} times in one "
            "round, for lack of memory as a rule; lower their number, and the same command resumes"
        )

    def _attempt(self, each: Round, record: Path, missing: set[int]) -> dict[int, list[Result]]:
        """Return the results of those missing shares whose workers survive."""
        futures: dict[int, Future[list[Result]]] = {}
        found = {}
        try:
            self._executor = self._executor or self._workers.executor()
            for k in sorted(missing):
                futures[k] = self._executor.submit(
                    _of_share, self._compute, each, self._shares[k], record
                )
        except BrokenExecutor:
            pass  # some have not been submitted, and are missing
        for k, future in futures.items():
            try:
                found[k] = future.result()
            except BrokenExecutor:
                continue
        return found


def _of_share(compute: Compute, each: Round, share: list[int], record: Path) -> list[Result]:
    """Compute a share, with a checkpoint of its own."""
    path = record.with_suffix(f".{share[0]}.round")
    return compute(each, share, RoundCheckpoint(path, (each.key, share)))


def _cut(seeds: int, count: int) -> list[list[int]]:
    """Return the seeds 0, 1, … in at most ``count`` shares of equal size, the last one smaller.

    >>> _cut(5, 2)
    [[0, 1, 2], [3, 4]]
    """
    size = -(-seeds // min(count, seeds))
    return [list(range(k, min(k + size, seeds))) for k in range(0, seeds, size)]
