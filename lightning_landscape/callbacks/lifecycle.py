"""What a probe asks of a Trainer: how far a run is, how far it will go, whether it can begin."""

from __future__ import annotations

import math
from typing import Any

from torch.nn.parameter import is_lazy

__all__ = ["counts_batches", "end_of_run", "has_lazy_parameters", "present_step"]


def counts_batches(trainer: Any, pl_module: Any) -> bool:
    """Whether a foreign module steps several optimizers by itself, so that time counts batches.

    Lightning's ``global_step`` then counts the steps of all optimizers, several a batch.
    """
    return not pl_module.automatic_optimization and len(trainer.optimizers) > 1


def present_step(trainer: Any, by_batches: bool) -> int:
    """Return how many steps, or training batches, are done."""
    if by_batches:
        return trainer.fit_loop.epoch_loop.batch_progress.total.processed
    return trainer.global_step


def end_of_run(trainer: Any, by_batches: bool) -> float:
    """Return the last step, or training batch, of the run; inf where it is not known.

    Lightning does not know it for data without a length, nor where accumulation changes.
    """
    try:
        end = float(trainer.estimated_stepping_batches)
    except Exception:  # Lightning's MisconfigurationException, of either package
        end = math.inf
    most = float(trainer.max_steps) if trainer.max_steps >= 0 else math.inf
    end = end if end >= 0 else math.inf
    if not by_batches:
        return min(end, most)
    batches = math.inf if end == most else end
    return min(batches, most / len(trainer.optimizers))


def has_lazy_parameters(pl_module: Any) -> bool:
    """Whether a parameter or buffer gets its shape at the first batch only."""
    tensors = [*pl_module.parameters(), *pl_module.buffers()]
    return any(is_lazy(tensor) for tensor in tensors)
