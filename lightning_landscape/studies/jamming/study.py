"""The study of the jamming transition: networks trained from scratch, as a plan asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.errors import require
from lightning_landscape.studies.jamming.critical import CriticalLoad
from lightning_landscape.studies.jamming.perturbation import DataPerturbation
from lightning_landscape.studies.jamming.plan import NetworkRound, Plan
from lightning_landscape.studies.jamming.training import Protocol, train
from lightning_landscape.studies.study import Compute, Result, Study
from lightning_landscape.studies.table import columns

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["Jamming"]

_PERTURBED = ("change_P", "change_loss", "change_unsatisfied", "avalanche")


class Jamming(Study):
    """Trains networks from scratch until they fit or jam, and keeps a record of each.

    Args:
        plan: which networks.
        optimizer: makes the dynamics from the parameters; that of the source is `DecayingAdam`.
        steps: the largest number of steps; a network stops when its loss is below 1e-10.
        margin: kappa of the quadratic hinge.
        test_error: whether to measure the fraction of wrong answers on held-out data, at the end
            and at its best on the way.
        perturbation: changes of the data after training, for avalanches and decompression.
        accelerator: where the networks are trained, ``"cpu"``, ``"gpu"``, or ``"auto"``: a GPU if
            there is one.

    Raises:
        UsageError: a number is out of range.

    Source: Geiger et al. 2019, arXiv:1809.09349.
    """

    name: ClassVar[str] = "jamming"
    dims: Mapping[str, tuple[str, ...]] = {
        **dict.fromkeys(_PERTURBED, ("change",)),
        "gap": ("pattern",),
    }

    def __init__(
        self,
        plan: Plan,
        optimizer: Callable[[Iterable[Tensor]], Optimizer],
        steps: int,
        margin: float = 1.0,
        test_error: bool = False,
        perturbation: DataPerturbation | None = None,
        accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    ) -> None:
        has_gpu = torch.cuda.is_available()
        there = accelerator != "gpu" or has_gpu
        require(there, "accelerator", accelerator, "torch finds no GPU", "take cpu, or auto")
        device = "cuda" if has_gpu and accelerator != "cpu" else "cpu"
        self.plan, self.seeds = plan, plan.seeds
        self.protocol = Protocol(optimizer, steps, margin, test_error, perturbation, device)
        self.protocol.check()
        remedy = f"lower {plan.limited_by}, or give the data more samples"
        for family, P in plan.largest():
            family.require_patterns(perturbation.patterns(P) if perturbation else P, remedy)

    @property
    def default_processes(self) -> int:
        """The number of processes: one on a GPU, else one for each core."""
        return 1 if self.protocol.device == "cuda" else super().default_processes

    @property
    def compute(self) -> Compute:
        """`train` by the protocol."""
        return partial(train, self.protocol, self.seeds)

    def next(self, recorded: Sequence[Result]) -> NetworkRound | None:
        """Return the networks that the plan asks for."""
        return self.plan.next(recorded)

    def dataset(self, recorded: Sequence[Result]) -> Dataset:
        """Return all networks along ``run``; of a `CriticalLoad` also its points."""
        from xarray import Dataset

        variables: dict[str, Any] = {**columns(recorded, self.dims)}
        attributes = {
            "probe": "JammingScan",
            "energy": "NetworkEnergy",
            "N": ", ".join(map(str, sorted({run["N"] for run in recorded}))),
            "replicas": self.seeds,
            "temperature": 0.0,
            "margin": self.protocol.margin,
        }
        if isinstance(self.plan, CriticalLoad):
            variables |= _points(self.plan, recorded)
            attributes |= {"probe": "JammingTransition", "varied": self.plan.varied}
        return Dataset(variables, attrs=attributes)

    def line(self, each: NetworkRound, new: Sequence[Result]) -> str:
        """Return how many of the networks jam."""
        jammed, ratio = sum(run["jammed"] for run in new), each.samples / each.point.N
        return (
            f"depth {each.point.family.depth}, N = {each.point.N}, P = {each.samples} "
            f"(P/N = {ratio:.3f}): {jammed} of {len(new)} jam"
        )


def _points(plan: CriticalLoad, runs: Sequence[Result]) -> dict[str, Any]:
    """Return r_c = P*/N of each point with its standard error, and the width s in log P/N.

    Within two errors of an end of the ratios it is a bound, and no more is known: ``bound``.
    """
    known = [(point, plan.threshold(point, runs).estimate()) for point in plan.points]
    r_c = np.array([np.exp(found.log_place) for _, found in known])
    error = np.array([found.error for _, found in known])
    to_an_end = abs(np.log(r_c)[:, None] - np.log(plan.ratios)).min(1)
    places = [plan.place(point, r) for (point, _), r in zip(known, r_c.tolist(), strict=True)]
    return {
        "point_depth": ("points", [point.family.depth for point, _ in known]),
        "point_N": ("points", [N for N, _ in places]),
        "point_P": ("points", [P for _, P in places]),
        "ratio": ("points", r_c),
        "ratio_error": ("points", r_c * error),
        "bound": ("points", (to_an_end < 2 * error).astype(np.int8)),
        "spread": ("points", [found.spread for _, found in known]),
    }
