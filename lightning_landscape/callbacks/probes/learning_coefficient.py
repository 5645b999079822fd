"""LearningCoefficient: the local learning coefficient of the present configuration, by chains."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_landscape.callbacks.all_data import (
    Data,
    Mode,
    all_data,
    require_foreign,
    require_mode,
)
from lightning_landscape.callbacks.mean_over_data import energy_of_data
from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.times import Times
from lightning_landscape.callbacks.view import LossFn, View
from lightning_landscape.dynamics.samplers.leimkuhler_matthews import LeimkuhlerMatthews
from lightning_landscape.errors import UsageError, require
from lightning_landscape.observables.learning_coefficient import LearningCoefficient as Estimate
from lightning_landscape.observables.learning_coefficient import learning_coefficient

__all__ = ["LearningCoefficient"]

_TABLES = ("learning_coefficient", "error", "mean_energy", "energy", "temperature")


class LearningCoefficient(Probe):
    r"""Measure the local learning coefficient (<E> - E(x*)) / T of every replica on a log grid.

    At time 0 it is not measured: the coefficient is one of a minimum.

    At each time every replica runs a chain of `LeimkuhlerMatthews` at the temperature T from
    where it is, x*, held there by a spring, and returns: the trajectory does not know. See
    `observables.learning_coefficient` for what is estimated. Chains of all replicas run together;
    the error bar is that of each chain, from blocks, and the table's the scatter of the replicas
    where that is larger.

    In a foreign project the energy is that of `View` on the current batch, so that the estimate is
    one for this batch; under DDP the record has that of rank zero. With ``data`` it is the mean
    energy of all samples of a loader, see `AllData`, and the coefficient is that of the model; the
    record then has that of the current batch beside it, ``batch_learning_coefficient``.

    A measurement costs ``burn_in + steps`` gradients of the whole energy, or of all data.

    Args:
        lr: step size of the chains.
        steps: of each chain, beyond ``burn_in``.
        burn_in: steps before energies count.
        localisation: inverse variance of the spring, see `observables.learning_coefficient`.
        temperature: T; None takes log(P) / P for the mean loss over P samples, which a foreign
            project has with ``data``.
        first: first time > 0 at which to measure.
        last: last time.
        per_decade: points in a factor of ten.
        seed: of the noise of the chains.
        loss_fn: the energy of a foreign module, ``loss_fn(pl_module, batch)``; see `View`.
        data: of a foreign project: a DataLoader, or ``"train"`` or ``"val"``; see `AllData`.
        mode: of a foreign module: ``train``, whose dropout masks are the same at every step of the
            chains, or ``eval`` for that of evaluation.
        options: ``name`` and ``strict``, see `Probe`.

    Raises:
        UsageError: an argument is out of range or does not go with the run, or no temperature for
            an energy without samples.

    Source: Lau, Furman, Wang, Murfet, Wei, arXiv:2308.12108; log(P) / P: Watanabe, J. Mach. Learn.
    Res. 14, 867 (2013).
    """

    dims: ClassVar[dict[str, tuple[str, ...]]] = dict.fromkeys(
        (*_TABLES, "batch_learning_coefficient"), ("t", "replica")
    )

    def __init__(
        self,
        lr: float,
        steps: int = 1000,
        burn_in: int = 200,
        localisation: float = 1.0,
        temperature: float | None = None,
        first: float = 1,
        last: float = 10_000,
        per_decade: int = 1,
        seed: int = 0,
        loss_fn: LossFn | None = None,
        data: Data | None = None,
        mode: Mode = "train",
        **options: Any,
    ) -> None:
        super().__init__(Times.log(first, last, per_decade, zero=False), loss_fn, **options)
        require(lr > 0, "lr", lr, "must be > 0")
        require(temperature is None or temperature > 0, "temperature", temperature, "must be > 0")
        require(steps >= 1, "steps", steps, "must be at least 1")
        require(burn_in >= 0, "burn_in", burn_in, "must be at least 0")
        require(localisation >= 0, "localisation", localisation, "must be at least 0")
        require_mode(mode)
        self.lr, self.seed, self.chain_temperature = lr, seed, temperature
        self.data, self.mode = data, mode
        self.chain = {"steps": steps, "burn_in": burn_in, "localisation": localisation}

    def prepare(self, view: View) -> str:
        """Start empty tables; they grow by one row per measurement."""
        require_foreign(view, self.data, self.mode)
        self._temperature(view)
        self.start(view, *_TABLES, *(["batch_learning_coefficient"] if self.data else []))
        gradients = self.chain["steps"] + self.chain["burn_in"]
        return f"at most {len(self._steps)} measurements of {gradients:.0f} gradients"

    def _temperature(self, view: View) -> float:
        if self.chain_temperature is not None:
            return self.chain_temperature
        P = view.samples if self.data is None else all_data(self.data, view, self.mode).total
        if P < 2:
            raise UsageError(
                "temperature = None: takes log(P) / P of the P samples, which this energy does not "
                "have; give a temperature, or data"
            )
        return math.log(P) / P

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Run the chains and append what they found."""
        row = {}
        with view.measuring(self.mode):
            energy: Callable[[], Tensor] = view.energy
            if self.data is not None:
                batch = self._chains(view, energy).value
                row["batch_learning_coefficient"] = batch
                view.agree()
                energy = energy_of_data(view, all_data(self.data, view, self.mode), self.seed)
            found = self._chains(view, energy)
        row |= {"learning_coefficient": found.value, "error": found.error}
        row |= {"mean_energy": found.mean_energy, "energy": found.energy}
        came_from = torch.as_tensor(view.temperature).double().cpu()
        row["temperature"] = came_from.expand(view.shape[0])
        self.append(view, row)
        return {"mean": found.value.mean().item()}

    def _chains(self, view: View, energy: Callable[[], Tensor]) -> Estimate:
        T, chain = self._temperature(view), dict(self.chain)
        sampler = LeimkuhlerMatthews(view.parameters(), self.lr, T, seed=self.seed + view.step)
        return learning_coefficient(energy, sampler, **chain)  # type: ignore[arg-type]

    def describe(self, view: View) -> dict[str, Any]:
        """Return what the record says of the run and of the chains."""
        known = {"chain_temperature": self._temperature(view), "chain_lr": self.lr, **self.chain}
        return super().describe(view) | known
