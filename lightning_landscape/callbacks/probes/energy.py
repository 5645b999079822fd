"""EnergyRelaxation: the energy and the temperature at logarithmic times."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.times import Times
from lightning_landscape.callbacks.view import EnergyFn, View
from lightning_landscape.parallel import Reduction

__all__ = ["EnergyRelaxation"]


class EnergyRelaxation(Probe):
    """Measure the energy E(t) and the temperature of each replica at time 0 and on a log grid.

    Extensive energies are divided by N. Where the energy has held-out data, its test energy and
    test accuracy are measured too. A measurement costs one evaluation of the whole energy (in a
    foreign project: of the loss on the current batch, over ranks the mean).

    Args:
        first: first time > 0 after time 0 (the step size times the number of steps; in a foreign
            project the number of steps).
        last: last time; later ones are not measured.
        per_decade: points in a factor of ten.
        loss_fn: the energy of a foreign module, ``loss_fn(pl_module, batch)``; see `View`.
        name, strict: see `Probe`.

    Raises:
        UsageError: a time is out of range.
    """

    dims: ClassVar[dict[str, tuple[str, ...]]] = dict.fromkeys(
        ("energy", "temperature", "test_energy", "test_accuracy"), ("t", "replica")
    )
    reductions: ClassVar[dict[str, Reduction]] = {"energy": "mean"}

    def __init__(
        self,
        first: float = 1,
        last: float = 1_000_000,
        per_decade: int = 10,
        loss_fn: EnergyFn | None = None,
        **options: Any,
    ) -> None:
        super().__init__(Times.log(first, last, per_decade), loss_fn, **options)

    def prepare(self, view: View) -> str:
        """Start empty tables; they grow by one row per measurement."""
        of_test_data = ["test_energy", "test_accuracy"] if view.evaluates_test_data else []
        self.start(view, "energy", "temperature", *of_test_data)
        return f"at most {len(self._steps)} evaluations of the energy"

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Append the values at this time."""
        R, N = view.shape
        scale = N if self.attributes.get("extensive") else 1
        with view.measuring(), torch.no_grad():
            row = {"energy": view.energy().double().cpu() / scale}
            if "test_energy" in self.results:
                row |= {f"test_{name}": value.cpu() for name, value in view.test_data().items()}
        row["temperature"] = torch.as_tensor(view.temperature).double().cpu().expand(R)
        self.append(view, row)
        return {name: value.mean().item() for name, value in row.items()}

    def describe(self, view: View) -> dict[str, Any]:
        """Return what the record says of the run, with the unit of the energy."""
        described = super().describe(view)
        return described | {"energy_unit": "E / N" if described.get("extensive") else "E"}
