"""A new study: which share of random patterns a linear classifier separates, against Cover.

    python examples/new_study.py

A study is a set of points and seeds: it says which comes next, and computes it. The engine shares
the seeds of a point among processes, records every seed, and resumes a study that was killed. On
the command line:

    python -m lightning_landscape study --study.class_path=examples.new_study.Separability \
        --study.init_args.N=20
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import xarray
from scipy.optimize import linprog

from lightning_landscape.results import Result, register
from lightning_landscape.results.table import Row
from lightning_landscape.studies import Experiment, Processes, Study
from lightning_landscape.studies.table import columns
from lightning_landscape.theory.jamming import cover_probability


@dataclass(frozen=True)
class Point:
    """P random patterns in N dimensions."""

    N: int
    P: int

    @property
    def key(self):
        return (self.N, self.P)


def separable(point, seeds, checkpoint):
    """Return, for each seed, whether a plane through 0 separates P random patterns."""
    return [{"P": point.P, "separable": _separates(point, seed)} for seed in seeds]


def _separates(point, seed):
    patterns = np.random.default_rng([seed, point.P]).standard_normal((point.P, point.N))
    found = linprog(np.zeros(point.N), -patterns, -np.ones(point.P), bounds=(None, None))
    return int(found.status == 0)


class Separability(Study):
    """The share of separable sets of patterns, for several loads P/N.

    Args:
        N: number of dimensions.
        loads: P/N.
        seeds: sets of patterns at each load.
    """

    name: ClassVar[str] = "separability"
    dims: ClassVar[dict] = {}

    def __init__(self, N: int = 20, loads: list[float] | None = None, seeds: int = 100):
        self.N, self.seeds = N, seeds
        self.loads = loads or [1.5, 2.0, 2.5]

    def next(self, recorded):
        done = len(recorded) // self.seeds
        return Point(self.N, round(self.loads[done] * self.N)) if done < len(self.loads) else None

    @property
    def compute(self):
        return separable

    def dataset(self, recorded):
        data = xarray.Dataset(columns(recorded, self.dims))
        return data.assign_attrs(probe="Separability", N=self.N)

    def line(self, each, new):
        return f"P = {each.P}: {sum(result['separable'] for result in new)} of {len(new)} separable"


@register("Separability")
class SeparabilityResult(Result):
    """Rows of the table: the share at each P, and Cover's theorem."""

    def rows(self, dataset):
        N = dataset.attrs["N"]
        for P, runs in dataset.groupby("P"):
            share, count = float(runs["separable"].mean()), runs.sizes["run"]
            exact = cover_probability(int(P), N)
            error = (exact * (1 - exact) / count) ** 0.5
            yield Row(f"share separable at P/N = {P / N:.3g}", share, error, exact)


def main(folder="logs/separability", **arguments):
    """Run the study in two processes; return its rows."""
    record = Path(folder) / "probes" / "separability.nc"
    record.parent.mkdir(parents=True, exist_ok=True)
    study = Separability(**arguments)
    Experiment(study, Processes(2)).run(record, {}, tell=print)
    return list(SeparabilityResult().rows(xarray.load_dataset(record)))


if __name__ == "__main__":
    from lightning_landscape.results.table import markdown

    print(markdown(main(*sys.argv[1:])))
