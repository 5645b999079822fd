"""What the optimizers of a foreign project say of its dynamics."""

from __future__ import annotations

from typing import Any

import torch

from lightning_landscape.dynamics.samplers.thermal import Thermal

__all__ = ["step_size_of_sgd", "thermal_of"]


def thermal_of(module: Any) -> Thermal | None:
    """Return the first optimizer that is a dynamics at a temperature of ours, or None."""
    return next((one for one in _optimizers(module) if isinstance(one, Thermal)), None)


def step_size_of_sgd(module: Any) -> float | None:
    """Return the one learning rate of a single optimizer that is SGD without momentum, or None."""
    optimizers = _optimizers(module)
    if len(optimizers) != 1 or type(optimizers[0]) is not torch.optim.SGD:
        return None
    groups = optimizers[0].param_groups
    plain = all(not group["momentum"] for group in groups)
    rates = {float(group["lr"]) for group in groups}
    return rates.pop() if plain and len(rates) == 1 else None


def _optimizers(module: Any) -> list[Any]:
    trainer = vars(module).get("_trainer")
    return [] if trainer is None else list(trainer.optimizers)
