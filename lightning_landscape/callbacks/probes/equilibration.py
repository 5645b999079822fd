"""Equilibration: do the replicas of a temperature agree, wherever they came from?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.times import Times
from lightning_landscape.callbacks.view import EnergyFn, View
from lightning_landscape.errors import require
from lightning_landscape.parallel import Reduction

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["Equilibration"]


class Equilibration(Probe):
    """Measure energy and temperature at regular times and compare replicas of one temperature.

    The record says of each replica whether it came from above (its first temperature measured was
    higher than its last one), from below, or neither. At every temperature the table has the
    difference of the mean energies of the two groups over the second half of the measurements at
    the last temperature, in units of its error over chains, see `two_starts`, and R-hat of all of
    them, see `gelman_rubin`; with `TwoStarts` as the temperature every rung is approached from
    both sides. Where the dynamics accepts or exchanges, the rates so far are recorded too.

    Extensive energies are divided by N. A measurement costs one evaluation of the whole energy.

    Args:
        every: time between measurements; they begin at time 0.
        last: time of the last one.
        loss_fn: the energy of a foreign module, ``loss_fn(pl_module, batch)``; see `View`.
        name, strict: see `Probe`.

    Raises:
        UsageError: an argument is out of range.
    """

    dims: ClassVar[dict[str, tuple[str, ...]]] = dict.fromkeys(
        ("energy", "temperature"), ("t", "replica")
    )
    reductions: ClassVar[dict[str, Reduction]] = {"energy": "mean"}

    def __init__(
        self, every: float, last: float, loss_fn: EnergyFn | None = None, **options: Any
    ) -> None:
        require(every > 0, "every", every, "must be > 0")
        require(last >= every, "last", last, f"must be at least every = {every}")
        super().__init__(Times.every(every, last), loss_fn, **options)

    def prepare(self, view: View) -> str:
        """Start empty tables; they grow by one row per measurement."""
        self.start(view, "energy", "temperature")
        return f"at most {len(self._steps)} evaluations of the energy"

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Append energies and temperatures; rates are those of the whole run until now."""
        R, N = view.shape
        with view.measuring(), torch.no_grad():
            energy = view.energy().double().cpu() / (N if self.attributes.get("extensive") else 1)
        temperature = torch.as_tensor(view.temperature).double().cpu().expand(R)
        self.append(view, {"energy": energy, "temperature": temperature})
        self.results |= {f"{name}_rate": rate for name, rate in view.rates.items()}
        scalars: dict[str, Tensor] = {"energy": energy, **view.rates}
        return {f"{name} (mean)": value.nanmean().item() for name, value in scalars.items()}

    def describe(self, view: View) -> dict[str, Any]:
        """Return what the record says of the run, with the unit of the energy."""
        described = super().describe(view)
        return described | {"energy_unit": "E / N" if described.get("extensive") else "E"}

    def recorded_attributes(self) -> dict[str, Any]:
        """The temperature is the last one, not that of the approach."""
        measured = self.results["temperature"]
        last = {"temperature": measured[-1].tolist()} if len(measured) else {}
        return {**super().recorded_attributes(), **last}

    def dataset(self) -> Dataset:
        """Return energy and temperature, (t, replica), and side and rates, (replica)."""
        T = self.results["temperature"].numpy()
        side = np.sign(T[0] - T[-1]) if len(T) else np.zeros(T.shape[1])
        meaning = {"meaning": "1 from above, -1 from below"}
        rates: dict[str, Any] = {
            name: ("replica", rate.numpy())
            for name, rate in self.results.items()
            if name.endswith("_rate")
        }
        return super().dataset().assign(rates | {"side": ("replica", side.astype(int), meaning)})
