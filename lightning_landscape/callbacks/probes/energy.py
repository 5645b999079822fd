"""EnergyRelaxation: the energy and the temperature at logarithmic times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.view import LossFn, View
from lightning_landscape.clock import log_times

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["EnergyRelaxation"]


class EnergyRelaxation(Probe):
    """Measure the energy E(t) and the temperature of each replica at time 0 and on a log grid.

    Extensive energies are divided by N. Where the energy has held-out data, its test energy and
    test accuracy are measured too. A measurement costs one evaluation of the whole energy (in a
    foreign project: of the loss on the current batch).

    Args:
        first: first time > 0 after time 0 (the step size times the number of steps; in a foreign
            project the number of steps).
        last: last time; later ones are not measured.
        per_decade: points in a factor of ten.
        loss_fn: the energy of a foreign module, ``loss_fn(pl_module, batch)``; see `View`.

    Raises:
        UsageError: a time is out of range.
    """

    def __init__(
        self,
        first: float = 1,
        last: float = 1_000_000,
        per_decade: int = 10,
        loss_fn: LossFn | None = None,
    ) -> None:
        super().__init__(loss_fn)
        self.grid = [0.0, *log_times(first, last, per_decade)]

    def prepare(self, view: View) -> str:
        """Start empty tables; they grow by a row a measurement."""
        R = view.shape[0]
        names = ["energy", "temperature"]
        if view.evaluates_test_data:
            names += ["test_energy", "test_accuracy"]
        self.results = {"step": torch.empty(0, dtype=torch.int64)}
        self.results |= {name: torch.empty(0, R, dtype=torch.float64) for name in names}
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
        self.append(row | {"step": torch.tensor(view.step)})
        return {name: value.mean().item() for name, value in row.items()}

    def dataset(self) -> Dataset:
        """Return energy, temperature (and test_energy, test_accuracy), each (t, replica)."""
        from xarray import Dataset

        values = {name: result.numpy() for name, result in self.results.items()}
        t = values.pop("step") * self.attributes["time_step"]
        per_N = "E / N" if self.attributes.get("extensive") else "E"
        return Dataset(
            {name: (("t", "replica"), value) for name, value in values.items()},
            coords={"t": ("t", t, {"units": "step size x steps"})},
            attrs={"energy_unit": per_N},
        )
