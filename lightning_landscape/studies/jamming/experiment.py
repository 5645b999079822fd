"""A study carried out: round after round, every network on record, to be continued at any time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape import records
from lightning_landscape.errors import require
from lightning_landscape.studies.jamming.critical import CriticalLoad
from lightning_landscape.studies.jamming.perturbation import DataPerturbation
from lightning_landscape.studies.jamming.studies import Round, Study
from lightning_landscape.studies.jamming.training import Protocol, train

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["Experiment"]

Array = NDArray[Any]

_OF_CHANGES = ("change_P", "change_loss", "change_unsatisfied", "avalanche")
_DIMS = dict.fromkeys(_OF_CHANGES, ("run", "change")) | {"gap": ("run", "pattern")}


class Experiment:
    """Trains the networks of a study from scratch and keeps a record of each.

    The record is written, atomically, after every round, and once a minute what the networks of
    the round have done so far. What comes next is a function of both: a killed experiment continues
    where it was, and ends with the record that it would have had.

    Args:
        study: which networks.
        optimizer: makes the dynamics from the parameters; that of the source is `DecayingAdam`.
        steps: the most steps of a network; it stops when its loss is below 1e-10.
        margin: kappa of the quadratic hinge.
        test_error: whether to measure the share of wrong answers on held-out data, at the end and
            at its best on the way.
        changes: what is done to the data after training, for avalanches and decompression.
        processes: among how many the networks of a round are shared out, as small networks do not
            keep more than one core busy; None takes as many as torch has threads, and one on a GPU.
            Another number changes the networks by rounding only.
        accelerator: where the networks are, ``"cpu"``, ``"gpu"``, or ``"auto"``: a GPU if there is
            one.

    Raises:
        UsageError: a number is out of range.
    """

    def __init__(
        self,
        study: Study,
        optimizer: Callable[[Iterable[Tensor]], Optimizer],
        steps: int,
        margin: float = 1.0,
        test_error: bool = False,
        changes: DataPerturbation | None = None,
        processes: int | None = None,
        accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    ) -> None:
        has_gpu = torch.cuda.is_available()
        there = accelerator != "gpu" or has_gpu
        require(there, "accelerator", accelerator, "torch finds no GPU", "take cpu, or auto")
        device = "cuda" if has_gpu and accelerator != "cpu" else "cpu"
        usual = 1 if device == "cuda" else torch.get_num_threads()
        self.processes = usual if processes is None else processes
        require(self.processes >= 1, "processes", processes, "must be at least 1")
        self.study = study
        self.protocol = Protocol(optimizer, steps, margin, test_error, changes, device)
        self.protocol.check()
        remedy = f"lower {study.asks_by}, or give the data more samples"
        for family, P in study.most():
            family.require_patterns(changes.patterns(P) if changes else P, remedy)
        self.runs: list[dict[str, Any]] = []

    def run(self, record: Path, attributes: dict[str, Any], tell: Callable[[str], object]) -> None:
        """Do what is missing, and write the record after every round.

        Args:
            record: the file; what it holds is continued.
            attributes: to be written with the record.
            tell: is told, in a line, what each round found.
        """
        if record.is_file():
            self.runs = _runs(records.read(record))
        with _shares(self.study.seeds, self.processes) as shares:
            while (each := self.study.next(self.runs)) is not None:
                new = shares(partial(train, each, self.study.seeds, self.protocol, record))
                self.runs += new
                records.write(self.dataset().assign_attrs(attributes), record)
                for checkpoint in record.parent.glob(f"{record.stem}.*.round"):
                    checkpoint.unlink()
                tell(_line(each, new))

    def dataset(self) -> Dataset:
        """Return all networks so far, along ``run``; of a `CriticalLoad` also its points."""
        from xarray import Dataset

        columns = {
            name: (_DIMS.get(name, ("run",)), _table([run[name] for run in self.runs]))
            for name in self.runs[0]
        }
        sizes = sorted({run["N"] for run in self.runs})
        attributes = {
            "probe": "JammingScan",
            "energy": "NetworkEnergy",
            "N": ", ".join(map(str, sizes)),
            "replicas": self.study.seeds,
            "temperature": 0.0,
            "margin": self.protocol.margin,
        }
        if isinstance(self.study, CriticalLoad):
            columns |= _points(self.study, self.runs)
            attributes |= {"probe": "JammingTransition", "varied": self.study.varied}
        return Dataset(columns, attrs=attributes)


def _table(values: list[Any]) -> Array:
    """Return an array of numbers, or of lists, which nan makes as long as the longest."""
    if not isinstance(values[0], list):
        return np.array(values)
    longest = max(map(len, values))
    return np.array([row + [np.nan] * (longest - len(row)) for row in values])


@contextmanager
def _shares(replicas: int, processes: int) -> Iterator[Callable[[Callable[[Tensor], Any]], Any]]:
    """Yield what calls a function of some replicas, in each process for its share of them."""
    parts = torch.arange(replicas).chunk(min(processes, replicas))
    if len(parts) == 1:
        yield lambda of_some: of_some(parts[0])
        return
    # not by fork: a child would wait for ever for threads that its parent had
    with ProcessPoolExecutor(len(parts), get_context("spawn"), _settle_in) as pool:
        yield lambda of_some: [run for some in pool.map(of_some, parts) for run in some]


def _settle_in() -> None:
    """Use one thread, and end with the parent even if that is killed."""
    torch.set_num_threads(1)
    parent = parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    Thread(target=follow, daemon=True).start()


def _points(study: CriticalLoad, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return r_c = P*/N of each point with its standard error, and the width s in log P/N.

    Within two errors of an end of the ratios it is a bound, and no more is known: ``bound``.
    """
    known = [(point, study.threshold(point, runs).estimate()) for point in study.points]
    r_c = np.array([np.exp(found.log_place) for _, found in known])
    error = np.array([found.error for _, found in known])
    to_an_end = abs(np.log(r_c)[:, None] - np.log(study.ratios)).min(1)
    places = [study.place(point, r) for (point, _), r in zip(known, r_c.tolist(), strict=True)]
    return {
        "point_depth": ("points", [point.family.depth for point, _ in known]),
        "point_N": ("points", [N for N, _ in places]),
        "point_P": ("points", [P for _, P in places]),
        "ratio": ("points", r_c),
        "ratio_error": ("points", r_c * error),
        "bound": ("points", (to_an_end < 2 * error).astype(np.int8)),
        "spread": ("points", [found.spread for _, found in known]),
    }


def _runs(dataset: Dataset) -> list[dict[str, Any]]:
    names = [str(name) for name, values in dataset.items() if values.dims[0] == "run"]
    columns = [dataset[name].to_numpy().tolist() for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _line(each: Round, runs: list[dict[str, Any]]) -> str:
    jammed, ratio = sum(run["jammed"] for run in runs), each.samples / each.point.N
    return (
        f"depth {each.point.family.depth}, N = {each.point.N}, P = {each.samples} "
        f"(P/N = {ratio:.3f}): {jammed} of {len(runs)} jam"
    )
