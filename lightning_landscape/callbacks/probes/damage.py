"""DamageSpreading: how far copies of one start get apart under different noise."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.times import Times
from lightning_landscape.callbacks.view import View
from lightning_landscape.energies.copies import Copies
from lightning_landscape.errors import UsageError
from lightning_landscape.observables.response import copy_distance

__all__ = ["DamageSpreading"]


class DamageSpreading(Probe):
    r"""Measure the distance of copies, d^2(t) = |x_a(t) - x_b(t)|^2 / N, on a log grid of t.

    The run's energy is `energies.Copies`: its copies have the same start and the same disorder or
    data, and differ in the noise of Langevin or in the mini-batches of SGD, so that d is what
    this noise does to the trajectory; the mean over pairs of copies is taken. In a landscape
    where copies cannot meet again, d^2 saturates at the distance of two states, 2 (1 - q); where
    nothing confines them it grows as free diffusion, 4 T t. From a start in equilibrium
    d^2(t) = Delta(2t), because the two paths are one path of length 2t through the start.

    Cost: a few passes over the configurations at each measurement; the energy is not evaluated.

    Args:
        first: first time > 0 (the step size times the number of steps).
        last: last time; later ones are not measured.
        per_decade: points in a factor of ten.
        name, strict: see `Probe`.

    Raises:
        UsageError: a time is out of range, or the energy is not `Copies`, or its copies share the
            noise.

    Source: Mignacco and Urbani 2022, arXiv:2112.10852 (two replicas under SGD); Barrat, Burioni
    and Mezard 1996, J. Phys. A 29, 1311 (clones of a glass).
    """

    dims: ClassVar[dict[str, tuple[str, ...]]] = {"d2": ("t", "replica")}
    variable_attributes: ClassVar[dict[str, dict[str, str]]] = {
        "d2": {"long_name": "d^2, mean square distance of copies"}
    }
    reference = "Mignacco, Urbani 2022, arXiv:2112.10852"

    def __init__(
        self, first: float = 1, last: float = 1_000_000, per_decade: int = 10, **options: Any
    ) -> None:
        super().__init__(Times.log(first, last, per_decade, zero=False), None, **options)

    def events(self, time_step: float) -> list[int]:
        """Return the steps of the grid after time 0."""
        return [step for step in super().events(time_step) if step > 0]

    def prepare(self, view: View) -> str:
        """Check the energy and start an empty table; it grows by one row per measurement."""
        energy = view.landscape
        if not isinstance(energy, Copies) or energy.twins > 1:
            raise UsageError(
                f"energy = {type(energy or view.system).__name__}: DamageSpreading measures copies "
                "under different noise; put Copies around the energy"
            )
        R = energy.replicas // energy.copies
        self.results = {
            "step": torch.empty(0, dtype=torch.int64),
            "d2": torch.empty(0, R, dtype=torch.float64),
        }
        return f"at most {len(self._steps)} distances of {energy.copies} copies"

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Append the distances at this time."""
        R = self.results["d2"].shape[1]
        d2 = copy_distance(view.configuration().unflatten(0, (-1, R))).cpu()
        self.append(view, {"d2": d2})
        return {"d2": d2.mean().item()}
