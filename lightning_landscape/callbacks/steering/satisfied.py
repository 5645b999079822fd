"""StopWhenSatisfied steers: it ends a run when every replica fits its data."""

from __future__ import annotations

from typing import Any

from lightning_landscape.arguments import Checked
from lightning_landscape.callbacks._lightning import Callback
from lightning_landscape.errors import require

__all__ = ["StopWhenSatisfied"]


class StopWhenSatisfied(Checked, Callback):
    """End the run when the energies of all replicas, at its last step, are below a bound.

    This is no probe: it ends the run before ``max_steps``. It is asked after every block of
    integrator steps, so the end depends on the block size. All replicas go on until the last one
    fits; `minimize` drops them one by one.

    Args:
        below: the energy at which a replica fits. Not a count of unsatisfied patterns, which the
            quadratic hinge never brings to 0.

    Raises:
        UsageError: the bound is not positive.

    Source: Geiger et al. 2019, arXiv:1809.09349.
    """

    def __init__(self, below: float = 1e-10) -> None:
        super().__init__()
        require(below > 0, "below", below, "must be > 0")
        self.below = below

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask Lightning to stop if all replicas fit."""
        if bool((pl_module.block_energies[-1] < self.below).all()):
            trainer.should_stop = True
