"""GapDistribution: which patterns are unsatisfied, by how much, and how that changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.times import Times
from lightning_landscape.callbacks.view import GapFn, View
from lightning_landscape.energies.energy import HasGaps
from lightning_landscape.errors import UsageError, require
from lightning_landscape.observables.exponents import PowerLaw, fit_size_law
from lightning_landscape.observables.gaps import (
    GAMMA_WINDOW,
    SATISFIED_BELOW,
    THETA_WINDOW,
    avalanches,
    hinge_loss,
    log_counts,
    transition_exponents,
    unsatisfied,
)

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["GapDistribution"]

Window = tuple[float, float]

_COUNTED = ("positive", "positive_rescaled", "negative")


class GapDistribution(Probe):
    r"""Measure the gaps `\Delta_\mu` of the patterns at time 0 and on a log grid.

    For each replica: the number N_Delta of unsatisfied patterns, Delta > 0; the loss
    L = (1/P) sum max(0, Delta)^2 / 2, below 1e-10 of which all patterns count as satisfied; the
    distributions of the positive gaps, as they are and over sqrt(L), and of the negative ones, in
    130 logarithmic bins from 1e-9 to 1e4; and how many patterns became satisfied and unsatisfied
    since the last measurement, whose sum is the size of an avalanche.

    The gaps at the last time are kept, and give the exponents of the jamming transition,

        P(Delta) ~ (Delta / sqrt L)^theta,   P(-Delta) ~ |Delta|^-gamma,

    by maximum likelihood on the windows stated, from the replicas that are not satisfied; see
    `transition_exponents`. They mean something in a minimum near the transition only. The sizes of
    all avalanches, from 1 to P, are fitted by size^-tau in the same way.

    The gaps are those of the training data of a `NetworkEnergy`. In a foreign project they are
    what ``gap_fn`` returns, for example ``classification_gaps(pl_module(batch[0]), batch[1])``; of
    all ranks together under DDP, and without avalanches, as batches come and go.

    The record has in ``weights`` the number of parameters without biases, which is the N of the
    authors.

    A measurement costs one evaluation of the outputs of all patterns, a third of a gradient.

    Args:
        first: first time > 0 after time 0 (the step size times the number of steps; in a foreign
            project the number of steps).
        last: last time; later ones are not measured.
        per_decade: points in a factor of ten.
        theta_window: of Delta / sqrt(L), on which theta is fitted.
        gamma_window: of |Delta|, on which gamma is fitted.
        gap_fn: the gaps in a foreign module, ``gap_fn(pl_module, batch)``, (P,) or (R, P).
        name, strict: see `Probe`.

    Raises:
        UsageError: a time or a window is out of range, or the run has no gaps.

    Source: Geiger et al. 2019, PRE 100, 012115, arXiv:1809.09349.
    """

    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        **dict.fromkeys(("loss", "unsatisfied"), ("t", "replica")),
        **dict.fromkeys(("became_unsatisfied", "became_satisfied"), ("t", "replica")),
        **dict.fromkeys(_COUNTED, ("t", "replica", "bin")),
    }
    reference = "Geiger et al. 2019, arXiv:1809.09349"

    def __init__(
        self,
        first: float = 1,
        last: float = 1_000_000,
        per_decade: int = 10,
        theta_window: Window = THETA_WINDOW,
        gamma_window: Window = GAMMA_WINDOW,
        gap_fn: GapFn | None = None,
        **options: Any,
    ) -> None:
        super().__init__(Times.log(first, last, per_decade), None, **options)
        self.windows: dict[str, Window] = {"theta": theta_window, "gamma": gamma_window}
        for name, (low, high) in self.windows.items():
            valid = 0 < low < high < float("inf")
            require(valid, f"{name}_window", [low, high], "must be [low, high] with 0 < low < high")
        self.gap_fn = gap_fn
        self.edges = torch.logspace(-9, 4, 131, dtype=torch.float64)

    def prepare(self, view: View) -> str:
        """Start empty tables; they grow by one row per measurement."""
        if self.gap_fn is None and not isinstance(view.landscape, HasGaps):
            raise UsageError(
                f"gap_fn = None: {type(view.system).__name__} does not know the gaps of its "
                "patterns; give the probe a gap_fn(pl_module, batch), see classification_gaps"
            )
        R = view.shape[0]
        self.results = {"step": torch.empty(0, dtype=torch.int64), "gap": torch.empty(R, 0)}
        bytes_ = len(self._steps) * R * len(_COUNTED) * (len(self.edges) - 1) * 4
        return f"at most {len(self._steps)} evaluations of the outputs, {bytes_ / 1e6:.3g} MB"

    def describe(self, view: View) -> dict[str, Any]:
        """Return what the record says of the run, with the number of weights and the windows."""
        R, N = view.shape
        axes = 1 if view.landscape is None else 2  # of a bias
        weights = sum(p.numel() // R for p in view.parameters() if p.dim() > axes)
        windows = {f"{name}_window": list(window) for name, window in self.windows.items()}
        return super().describe(view) | {"weights": weights or N, **windows}

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Append what the gaps are at this time, and keep them."""
        with view.measuring(), torch.no_grad():
            gaps = view.gaps(self.gap_fn).double().cpu()
        row = self._row(gaps)
        if self.gap_fn is None:
            before = self.results["gap"]
            changes = avalanches(before if before.numel() else gaps, gaps)
            row["became_unsatisfied"], row["became_satisfied"] = changes
        self.append(view, row)
        self.results["gap"] = gaps
        return {
            "unsatisfied": row["unsatisfied"].double().mean().item(),
            "loss": row["loss"].mean().item(),
        }

    def _row(self, gaps: Tensor) -> dict[str, Tensor]:
        values = {"positive": gaps, "positive_rescaled": _rescaled(gaps), "negative": -gaps}
        counts = {name: log_counts(x, self.edges).int() for name, x in values.items()}
        return {"loss": hinge_loss(gaps), "unsatisfied": unsatisfied(gaps), **counts}

    def dataset(self) -> Dataset:
        """Return loss and numbers (t, replica), counts (t, replica, bin), last gaps, exponents."""
        dataset = super().dataset().assign_coords(edge=self.edges.numpy())
        if not dataset.sizes["t"]:
            return dataset
        dataset["satisfied"] = (dataset["loss"] < SATISFIED_BELOW).astype(np.int8)
        gap = self.results["gap"].numpy()
        dataset["gap"] = (("replica", "pattern"), gap, {"long_name": "at the last time"})
        return dataset.assign(self._exponents())

    def _exponents(self) -> dict[str, float]:
        gaps = self.results["gap"]
        windows = (self.windows["theta"], self.windows["gamma"])
        theta, gamma = transition_exponents(gaps, hinge_loss(gaps), *windows)
        numbers = _numbers("theta", theta, theta.exponent)
        numbers |= _numbers("gamma", gamma, -gamma.exponent)
        if "became_satisfied" in self.results and gaps.shape[1] > 1:
            sizes = self.results["became_satisfied"] + self.results["became_unsatisfied"]
            tau = fit_size_law(sizes.mT, 1, gaps.shape[1])
            numbers |= _numbers("tau", tau, -tau.exponent)
        return numbers


def _numbers(name: str, fit: PowerLaw, exponent: float) -> dict[str, float]:
    """Return what the record says of an exponent."""
    return {
        name: exponent,
        f"{name}_error": fit.error_bar,
        f"{name}_p_value": fit.p_value,
        f"{name}_count": fit.count,
    }


def _rescaled(gaps: Tensor) -> Tensor:
    """Return Delta / sqrt(L), nan in replicas that are satisfied."""
    L = hinge_loss(gaps)
    return gaps / L.where(L >= SATISFIED_BELOW, torch.nan).sqrt()[:, None]
