"""HessianFree: what a saddle costs in gradients, Hessians and seconds, method by method."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lightning_landscape.dynamics.saddles.ends import Kind
from lightning_landscape.errors import require, require_whole
from lightning_landscape.exploration.landscape import Landscape
from lightning_landscape.studies.checkpoint import RoundCheckpoint
from lightning_landscape.studies.hessian_free.methods import METHODS, System
from lightning_landscape.studies.study import Compute, Result, Study
from lightning_landscape.studies.table import columns

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["HessianFree"]


@dataclass(frozen=True)
class _Round:
    """All searches of one method in one system."""

    system: int
    method: str

    @property
    def key(self) -> tuple[int, str]:
        return self.system, self.method


class HessianFree(Study):
    """Searches stationary points of any index from the same starts, by four methods.

    The descent of |grad E|^2 with gradients only; the same after a stochastic descent with pairs
    of mini-batches, where the energy has data; Newton-Krylov, by products with the Hessian as
    differences of gradients; and Levenberg-Marquardt with exact Hessians. A search ends in a
    stationary point, in a quasi-saddle, or at its largest number of steps. All searches are
    charged to the stationary points that a method finds.

    Args:
        systems: the landscapes.
        seeds: how many starts in each.
        seed: of the starts.

    Raises:
        UsageError: there is no system, two have one name, or a number is out of range.
    """

    name: ClassVar[str] = "hessian_free"
    dims: Mapping[str, tuple[str, ...]] = {}

    def __init__(self, systems: list[System], seeds: int = 32, seed: int = 0) -> None:
        require_whole("seeds", seeds)
        names = [system.name for system in systems]
        distinct = len(names) == len(set(names)) > 0
        require(distinct, "systems", names, "must be one or more, with distinct names")
        self.systems, self.seeds, self.seed = systems, seeds, seed

    @property
    def default_processes(self) -> int:
        """One: seconds are compared."""
        return 1

    def next(self, recorded: Sequence[Result]) -> _Round | None:
        """Return the first method of the first system that is not recorded."""
        done = {(int(r["system"]), list(METHODS)[int(r["method"])]) for r in recorded}
        every = (_Round(k, name) for k, s in enumerate(self.systems) for name in s.methods)
        return next((each for each in every if each.key not in done), None)

    @property
    def compute(self) -> Compute:
        """Searches from the starts of a share, all at once."""
        return partial(_compute, self.systems, self.seed)

    def dataset(self, recorded: Sequence[Result]) -> Dataset:
        """Return all searches along ``run``."""
        from xarray import Dataset

        attributes: dict[str, Any] = {
            "probe": "HessianFree",
            "energy": ", ".join(type(system.energy).__name__ for system in self.systems),
            "replicas": self.seeds,
            "methods": list(METHODS),
            "systems": [system.name for system in self.systems],
            # of a pure spherical glass its order p, else 0
            "orders": [_order(system) for system in self.systems],
            "sizes": [system.energy.N for system in self.systems],
        }
        return Dataset(columns(recorded, self.dims), attrs=attributes)

    def line(self, each: _Round, new: Sequence[Result]) -> str:
        """Return how many searches have ended in what."""
        kinds = np.bincount([result["kind"] for result in new], minlength=len(Kind))
        ended = f"{kinds[Kind.STATIONARY]} stationary points, {kinds[Kind.QUASI]} quasi-saddles"
        return f"{self.systems[each.system].name}, {each.method}: {ended} of {len(new)}"


def _order(system: System) -> int:
    mixture = getattr(system.energy, "mixture", {})
    return next(iter(mixture)) if len(mixture) == 1 else 0


def _compute(
    systems: list[System], seed: int, each: _Round, share: list[int], checkpoint: RoundCheckpoint
) -> list[Result]:
    system = systems[each.system]
    landscape = Landscape(system.energy)
    x = system.starts(landscape, seed, share[0], len(share))
    before = time.process_time()
    end = METHODS[each.method](landscape, x, system)
    seconds = time.process_time() - before
    index = (landscape.spectrum(end.x) < 0).double().mean(1)
    return [
        {
            "system": each.system,
            "method": list(METHODS).index(each.method),
            "kind": int(end.kind[r]),
            "energy": float(end.energy[r]),
            "index": float(index[r]),
            "gradients": int(end.gradients[r]),
            "hessians": int(end.hessians[r]),
            "seconds": seconds / len(share),
        }
        for r in range(len(share))
    ]
