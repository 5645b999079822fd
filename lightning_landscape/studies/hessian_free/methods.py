"""The methods that are compared: each from the same starts, with what it cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_landscape.data.batches import Batches
from lightning_landscape.dynamics.saddles.two_batch import TwoBatchDescent
from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import require, require_whole
from lightning_landscape.exploration.landscape import Landscape
from lightning_landscape.exploration.searches.levenberg_marquardt import levenberg_marquardt
from lightning_landscape.exploration.searches.newton_krylov import newton_krylov
from lightning_landscape.exploration.searches.saddles import Saddles, descend_squared_gradient

__all__ = ["METHODS", "System"]

_TWO_BATCHES = "two batches, then squared gradient"


@dataclass
class System:
    """A landscape, where searches start, and what the methods are told.

    Args:
        name: in the table.
        energy: in float64.
        width: of the random starts in flat space.
        relaxation: how many steps of gradient descent precede every search.
        rate: of these, x <- x - rate grad E.
        max_step: the longest step of the descents of |grad E|^2.
        quasi: the ratio of a quasi-saddle, see `dynamics.saddles.ends.Ends`.
        steps: the largest number of steps of such a descent.
        batch_size: of the stochastic descent; 0 leaves this method out.
        updates: of the stochastic descent.
        lr: of the stochastic descent.

    Raises:
        UsageError: a number is out of range, or the energy is not in float64.
    """

    name: str
    energy: Energy
    width: float = 1.0
    relaxation: int = 40
    rate: float = 0.02
    max_step: float = 0.3
    quasi: float = 1e-3
    steps: int = 1000
    batch_size: int = 0
    updates: int = 1000
    lr: float = 0.1

    def __post_init__(self) -> None:
        require(self.relaxation >= 0, "relaxation", self.relaxation, "must be at least 0")
        for name in ("width", "rate", "max_step", "lr"):
            require(getattr(self, name) > 0, name, getattr(self, name), "must be above 0")
        for name in ("steps", "updates"):
            require_whole(name, getattr(self, name))
        samples = self.energy.samples
        required = f"must be 0, or at most the {samples} samples of the energy"
        require(0 <= self.batch_size <= samples, "batch_size", self.batch_size, required)
        Landscape(self.energy)  # which refuses another precision

    @property
    def methods(self) -> list[str]:
        """The names of the methods that apply."""
        return [name for name in METHODS if name != _TWO_BATCHES or self.batch_size]

    def starts(self, landscape: Landscape, seed: int, first: int, number: int) -> Tensor:
        """Return the starts ``first``, ``first`` + 1, …, shape (number, N)."""
        x = landscape.starts(seed, first, number, self.width)
        for _ in range(self.relaxation):
            x = landscape.retract(x - self.rate * landscape.value_and_gradient(x)[1])
        return x


def _squared_gradient(landscape: Landscape, x: Tensor, system: System) -> Saddles:
    return descend_squared_gradient(
        landscape, x, max_step=system.max_step, quasi=system.quasi, steps=system.steps
    )


def _two_batch(landscape: Landscape, x: Tensor, system: System) -> Saddles:
    """Descend with mini-batches, and polish; a batch gradient costs its share of a gradient."""
    energy = landscape.energy.only(torch.zeros(len(x), dtype=torch.int64))
    energy.load_configuration(x)
    optimizer = TwoBatchDescent(energy.parameters(), system.lr)
    batches = Batches(system.batch_size)
    for step in range(2 * system.updates):
        batch = batches(step, energy.samples, len(x))

        def closure(batch: Tensor = batch) -> Tensor:
            optimizer.zero_grad()
            E = energy(batch)
            E.sum().backward()
            return E.detach()

        optimizer.step(closure)
    spent = round(3 * system.updates * system.batch_size / energy.samples)
    end = _squared_gradient(landscape, energy.configuration(), system)
    return end._replace(gradients=end.gradients + spent)


def _levenberg_marquardt(landscape: Landscape, x: Tensor, system: System) -> Saddles:
    return levenberg_marquardt(landscape, x, quasi=system.quasi)


def _newton_krylov(landscape: Landscape, x: Tensor, system: System) -> Saddles:
    return newton_krylov(landscape, x, quasi=system.quasi)


METHODS: dict[str, Callable[[Landscape, Tensor, System], Saddles]] = {
    "squared gradient": _squared_gradient,
    _TWO_BATCHES: _two_batch,
    "Newton-Krylov": _newton_krylov,
    "Levenberg-Marquardt": _levenberg_marquardt,
}
