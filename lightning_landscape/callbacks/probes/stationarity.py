"""Stationarity: Yaida's fluctuation-dissipation relations, along a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.times import Times, axis
from lightning_landscape.callbacks.view import View
from lightning_landscape.errors import UsageError, require
from lightning_landscape.observables.stationarity import balance, yaida_fdr1, yaida_fdr2

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["Stationarity"]

_LEAST = 16  # measurements in a window
_OF_WINDOW = ("ratio", "ratio_error", "deviation", "stationary")


class Stationarity(Probe):
    r"""Measure whether a run is stationary, by relations that every steady state obeys.

    At regular times it takes the step Delta that the dynamics does next and compares

        FDR1:  -<x . Delta> / lr         =  <|Delta|^2> / (2 lr),        exact,
        FDR2:  -<Delta . grad E> / lr    =  <Delta . H Delta> / (2 lr),  to second order in Delta,

    which for SGD are <x . g_B> = (lr/2) <|g_B|^2> and <|grad E|^2> = (lr/2) <tr(H C~)>, and for
    Langevin <x . grad E> = T N + (lr/2) <|grad E|^2> and <|grad E|^2> = T <tr H> + …; see
    `yaida_fdr1` and `yaida_fdr2`. As the steps are the run's own, they hold for every
    optimizer, momentum and Adam included, and for batches of shuffled epochs.

    Here x counts from an earlier configuration of the run, between t/2 and t old, because far from
    the origin x . Delta is mostly noise: FDR1 holds once that one is forgotten, and says whether
    the distance from it has stopped growing.

    The ratios are taken in windows (t/2, t] that end at the last measurement, each half as long as
    the one after it, with error bars from blocks and replicas, see `balance`. A run is stationary
    in a window where both deviate from 1 by less than ``sigmas`` errors: look at the error too,
    since a short run deviates from nothing.

    A measurement costs a few copies of the configuration, and for FDR2 two gradients of the whole
    energy. In a foreign project, which has no whole energy, there is FDR1 only.

    Args:
        interval: time between measurements (the step size times the number of steps; in a foreign
            project the number of steps).
        first: the earliest time.
        last: the latest time.
        second: whether to measure FDR2 too.
        sigmas: within how many standard errors the two sides must agree.
        name, strict: see `Probe`.

    Raises:
        UsageError: a time is out of range, the replicas are twins, or they live on a sphere, where
            FDR1 is empty.

    Source: Yaida, arXiv:1810.00004.
    """

    reference = "Yaida 2018, arXiv:1810.00004"

    def __init__(
        self,
        interval: float = 1.0,
        first: float = 0.0,
        last: float = 10_000.0,
        second: bool = True,
        sigmas: float = 3.0,
        **options: Any,
    ) -> None:
        require(interval > 0, "interval", interval, "must be greater than 0")
        require(0 <= first < last, "first", first, f"must be at least 0 and below last = {last}")
        require(sigmas > 0, "sigmas", sigmas, "must be greater than 0")
        super().__init__(Times.every(interval, last, first), None, **options)
        self.second, self.sigmas = second, sigmas

    def events(self, time_step: float) -> list[int]:
        """Return the steps of the grid and those that follow them."""
        self._starts = set(super().events(time_step))
        return sorted(self._starts | {step + 1 for step in self._starts})

    def prepare(self, view: View) -> str:
        """Start empty tables; they grow by one row per measurement."""
        if view.landscape is not None and view.landscape.constraint is not None:
            raise UsageError(
                f"energy = {type(view.landscape).__name__}: lives on a sphere, where |x|^2 is "
                "constant in every state; use EnergyRelaxation to see whether it is stationary"
            )
        if view.landscape is not None and view.landscape.twins > 1:
            raise UsageError(
                f"energy = {type(view.landscape).__name__}: its twins share the noise, and "
                "Stationarity counts replicas as independent; measure the energy inside"
            )
        relations = self._relations(view)
        self.start(view, *[f"{side}{k}" for k in relations for side in ("left", "right")])
        self.results["begun"] = torch.tensor(-2)
        gradients = 2 * (len(relations) - 1)
        return f"at most {len(self._starts)} measurements of {gradients} gradients of the energy"

    def _relations(self, view: View) -> list[int]:
        return [1, 2] if self.second and view.landscape is not None else [1]

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Compare with the configuration one step ago, and keep this one where a pair begins."""
        now, scalars = {"x": view.configuration()}, {}
        if "left2" in self.results:
            with view.measuring():
                now["gradient"] = view.gradient()
        if self.results["begun"].item() == view.step - 1:
            sides = self._sides(now, view.time_step)
            scalars = {name: side.mean().item() for name, side in sides.items()}
            self.append(view, {**sides, "step": self.results["begun"]})
        if view.step in self._starts:
            self._renew_origin(now["x"], view.step)
            self.results = self.results | now | {"begun": torch.tensor(view.step)}
        return scalars

    def _renew_origin(self, x: Tensor, step: int) -> None:
        """Keep x as the next origin whenever time has doubled, and let the last one be ours."""
        if "next_origin" not in self.results:
            self.results |= {"origin": x, "next_origin": x, "kept": torch.tensor(max(step, 1))}
        elif step >= 2 * self.results["kept"].item():
            origin = self.results["next_origin"]
            self.results |= {"origin": origin, "next_origin": x, "kept": torch.tensor(step)}

    def _sides(self, now: dict[str, Tensor], lr: float) -> dict[str, Tensor]:
        """Return both sides of each relation for the step that has just been done, (R,) each."""
        before = {name: self.results[name] for name in now}
        origin = self.results["origin"]
        left, right = yaida_fdr1(before["x"] - origin, now["x"] - origin, lr)
        sides = {"left1": left, "right1": right}
        if "gradient" in now:
            step = now["x"].double() - before["x"].double()
            left, right = yaida_fdr2(step, before["gradient"], now["gradient"], lr)
            sides |= {"left2": left, "right2": right}
        return {name: side.cpu() for name, side in sides.items()}

    def finish(self, trainer: Any, pl_module: Any) -> None:
        """Write the final record; where no two configurations one step apart were seen, say so."""
        begun = self.results.get("begun")
        if begun is not None and begun >= 0 and not len(self.results["step"]):
            self.warn(
                "nothing was measured: no two configurations one optimizer step apart were seen, "
                "because the steps of a training batch are several, or the run is shorter"
            )
        super().finish(trainer, pl_module)

    def dataset(self) -> Dataset:
        """Return both sides (relation, t, replica) and their balance (relation, window)."""
        from xarray import Dataset

        time_step = self.attributes["time_step"]
        t = self.results["step"].numpy() * time_step
        relations = [k for k in (1, 2) if f"left{k}" in self.results]
        names = [f"FDR{k}" for k in relations]
        sides = {
            side: torch.stack([self.results[f"{side}{k}"] for k in relations])
            for side in ("left", "right")
        }
        windows = _windows(t)
        shown = torch.zeros(len(relations), len(windows), 4, dtype=torch.float64)
        for i, j in np.ndindex(len(relations), len(windows)):
            found = balance(sides["left"][i, windows[j]], sides["right"][i, windows[j]])
            shown[i, j] = torch.tensor([*found, found.is_stationary(self.sigmas)])
        of_window = dict(zip(_OF_WINDOW, shown.unbind(-1), strict=True))
        ends = {"since": [t[w][0] for w in windows], "until": [t[w][-1] for w in windows]}
        return Dataset(
            {name: (("relation", "t", "replica"), value.numpy()) for name, value in sides.items()}
            | {name: (("relation", "window"), value.numpy()) for name, value in of_window.items()}
            | {name: ("window", np.array(end, dtype=float)) for name, end in ends.items()},
            coords=axis("t", self.results["step"].numpy(), time_step) | {"relation": names},
            attrs={"reference": self.reference, "sigmas": self.sigmas},
        )


def _windows(t: np.ndarray) -> list[np.ndarray]:
    """Return the indices of times in (T/2, T], (T/4, T/2], …, in order, where there are enough."""
    windows: list[np.ndarray] = []
    end = t[-1] if len(t) else 0.0
    while len(inside := np.flatnonzero((t > end / 2) & (t <= end))) >= _LEAST:
        windows.append(inside)
        end /= 2
    return windows[::-1]
