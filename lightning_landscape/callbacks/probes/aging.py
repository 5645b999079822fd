"""AgingCorrelation: two-time correlation and displacement at logarithmic times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.times import Times, axis
from lightning_landscape.callbacks.view import View
from lightning_landscape.errors import UsageError, require
from lightning_landscape.memory import require_memory
from lightning_landscape.observables.correlation import (
    displacement,
    of_products,
    overlap,
    pairs,
    products,
    replica_overlaps,
)
from lightning_landscape.parallel import Parts

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["AgingCorrelation", "empty"]

_MOST_MEASUREMENTS = 20_000
_BYTES_PER_TIME = 400  # that are kept of what is due at it


class AgingCorrelation(Probe):
    r"""Measure `C(t_w + t, t_w)` and `\Delta(t_w, t_w + t)` on a log grid of t.

    C = x(tw+t).x(tw) / |x(tw+t)||x(tw)| and Delta = |x(tw+t) - x(tw)|^2 / N for each replica
    (Baity-Jesi et al. 2018, arXiv:1803.06969; on the sphere Delta = 2 (1 - C)); and, at each tw,
    the overlaps between replicas, see `replica_overlaps`; ``pairs`` of the record says of which.
    A system in equilibrium gives one curve for all tw; in an aging
    system the curves move to longer t as tw grows.

    It keeps the configurations at the waiting times that still matter, and nothing else: at most
    len(waiting_times) x R x N numbers, said before the first step. A measurement costs two
    passes over x for each snapshot kept; the energy is not evaluated.

    Args:
        waiting_times: tw >= 0 in physical time (the step size times the number of steps; in
            a foreign project the number of steps).
        first: shortest t > 0.
        last: longest t.
        per_decade: points in a factor of ten.
        temperature_changes: set it to True to age across a change of temperature on purpose.
        name, strict: see `Probe`.

    Raises:
        UsageError: a time is out of range, there are more than 20 000 times tw + t, the snapshots
            do not fit into memory, or the temperature changes during the run and
            ``temperature_changes`` is False.
    """

    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        **dict.fromkeys(("chi", "C", "MSD"), ("tw", "t", "replica")),
        "overlap": ("tw", "pair"),
    }
    variable_attributes: ClassVar[dict[str, dict[str, str]]] = {
        "C": {"long_name": "C(tw + t, tw)"},
        "MSD": {"long_name": "Delta(tw, tw + t)"},
        "chi": {"long_name": "integrated response chi(tw + t, tw)"},
    }
    reference = "Baity-Jesi et al. 2018, arXiv:1803.06969"

    def __init__(
        self,
        waiting_times: Sequence[float] = (1, 10, 100, 1000, 10000),
        first: float = 1,
        last: float = 10000,
        per_decade: int = 5,
        temperature_changes: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(None, None, **options)
        self.waiting_times = Times.at(waiting_times, "waiting_times")
        self.lags = Times.log(first, last, per_decade, zero=False)
        self.temperature_changes = temperature_changes
        self._held: Parts | None = None

    def events(self, time_step: float) -> list[int]:
        """Return every tw and every tw + t, in steps."""
        self.tw_steps = self.waiting_times.steps(time_step)
        self.lag_steps = [step for step in self.lags.steps(time_step) if step > 0]
        self._pairs: dict[int, list[tuple[int, int]]] = {tw: [] for tw in self.tw_steps}
        for i, tw in enumerate(self.tw_steps):
            for j, lag in enumerate(self.lag_steps):
                self._pairs.setdefault(tw + lag, []).append((i, j))
        return sorted(self._pairs)

    def prepare(self, view: View) -> str:
        """Allocate the two-time tables and say how much memory they and the snapshots take."""
        if not (self.temperature_changes or view.temperature_is_constant):
            raise UsageError(
                "temperature: it changes during this run, so C(tw + t, tw) would mix aging with "
                "heating or cooling; keep it constant, or set temperature_changes: true"
            )
        shapes = self._shapes(view.shape[0], "C", "MSD")
        tables = 8 * sum(map(math.prod, shapes.values()))
        needed = self._require_affordable(view, tables)
        self.memory = needed - tables
        self.results = empty(shapes)
        return (
            f"{len(self.tw_steps)} snapshots, at most {needed / 1e6:.3g} MB; "
            f"{len(self._pairs)} measurements"
        )

    def _shapes(self, R: int, *names: str) -> dict[str, tuple[int, ...]]:
        """Return the shapes of two-time tables of these names, and of the overlaps."""
        table = (len(self.tw_steps), len(self.lag_steps), R)
        return dict.fromkeys(names, table) | {"overlap": (len(self.tw_steps), pairs(R))}

    def _require_affordable(self, view: View, tables: int) -> float:
        """Return the bytes that are needed: tables, snapshots, copies in float64, what is due."""
        times = f"{len(self.tw_steps)} times tw, {len(self.lag_steps)} times t"
        required = f"make {len(self._pairs)} measurements, and may make {_MOST_MEASUREMENTS}"
        few = len(self._pairs) <= _MOST_MEASUREMENTS
        require(few, "waiting_times", times, required, "lower per_decade, or give fewer")
        R, N = view.shape
        snapshots = len(self.tw_steps) * R * N * view.configuration().element_size()
        needed = snapshots + tables + 3 * 8 * R * N + _BYTES_PER_TIME * len(self._pairs)
        require_memory(needed, "waiting_times", times, f"give fewer, or lower replicas = {R}")
        return needed

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Take the snapshots that are due and compare with those that are kept.

        Of parameters that ranks have cut, each looks at its part; they exchange four sums.
        """
        self._hold(view)
        x, scalars = view.part(), {}
        for i, j in (pair for step in due for pair in self._pairs[step]):
            snapshot = self.results.get(self._snapshot(i))
            if snapshot is None:  # tw and tw + t fell into one batch of several steps
                continue
            self.results["C"][i, j], self.results["MSD"][i, j] = self._compare(view, i, x)
            tw = f"tw={self.tw_steps[i] * view.time_step:g}"
            scalars[f"C/{tw}"] = self.results["C"][i, j].mean().item()
            scalars[f"MSD/{tw}"] = self.results["MSD"][i, j].mean().item()
        for i, tw_step in enumerate(self.tw_steps):
            if tw_step in due:
                self.results[self._snapshot(i)] = x
                self.results["overlap"][i] = replica_overlaps(x)
            elif tw_step + self.lag_steps[-1] <= view.step:
                self.results.pop(self._snapshot(i), None)
        return scalars

    def _compare(self, view: View, i: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return C and Delta between ``x`` and the snapshot at the waiting time i, each (R,)."""
        snapshot = self.results[self._snapshot(i)]
        if not view.held.is_cut:
            return overlap(x, snapshot), displacement(x, snapshot)
        return of_products(view.held.total(products(x, snapshot)), view.shape[1])

    def _hold(self, view: View) -> None:
        """Keep this rank's part of snapshots from a checkpoint, which has the whole of them."""
        self._held = view.held if view.held.is_cut else None
        for name in self._snapshots() if self._held else []:
            if self.results[name].shape == view.shape:
                self.results[name] = view.held.split(self.results[name])

    def state_dict(self) -> dict[str, Any]:
        """Return the state; of snapshots that the ranks have cut, the whole."""
        state = super().state_dict()
        if self._held is not None:
            whole = {name: self._held.join(self.results[name]) for name in self._snapshots()}
            state["results"] = {**self.results, **whole}
        return state

    def _snapshots(self) -> list[str]:
        return [name for name in self.results if name.startswith("snapshot/")]

    def _snapshot(self, i: int) -> str:
        return f"snapshot/{self.tw_steps[i]}"

    def dataset(self) -> Dataset:
        """Return C and MSD (tw, t, replica) and the overlaps of replica pairs (tw, pair)."""
        from xarray import Dataset

        variables = {
            name: (self.dims[name], value.numpy(), self.variable_attributes.get(name, {}))
            for name, value in self.results.items()
            if name in self.dims
        }
        steps = {"tw": np.array(self.tw_steps), "t": np.array(self.lag_steps)}
        coords: dict[str, Any] = {}
        for name, values in steps.items():
            coords |= axis(name, values, self.attributes["time_step"])
        R = self.attributes["replicas"]
        few = pairs(R) == R * (R - 1) // 2
        of = "all a < b" if few else f"(a, a + d modulo {R}), d = 1 … {pairs(R) // R}"
        return Dataset(variables, coords=coords, attrs={"reference": self.reference, "pairs": of})


def empty(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return a float64 table of nan for each shape."""
    return {
        name: torch.full(shape, torch.nan, dtype=torch.float64) for name, shape in shapes.items()
    }
