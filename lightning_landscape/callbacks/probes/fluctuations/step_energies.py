"""The energy of every step of a run, where it comes without a further evaluation."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.callbacks.view import View

__all__ = ["StepEnergies"]

# An evaluation is about a third of a step: one in so many steps costs less than 2 %.
_EVERY = 20

logger = logging.getLogger(__name__)


class StepEnergies:
    """Hands over the energies of the steps since the last batch.

    Ours come in blocks, before each step. In a foreign project it is the loss that
    ``training_step`` returned, the mean over the batches that make up a step. Where it returns
    none, or where the energy is a ``loss_fn``, that would have to be evaluated at every step: the
    energy of `View` on the current batch is then taken after one step in 20 only.

    Args:
        step: optimizer steps done before.
        own_loss: whether the energy is a ``loss_fn``.
    """

    def __init__(self, step: int, own_loss: bool) -> None:
        self._seen, self._own_loss = step, own_loss
        self._losses: list[float] = []  # of the batches that make up the current step
        self.every = 1

    def take(self, view: View, trainer: Any, outputs: Any, window: range) -> Tensor | None:
        """Return energies, (steps, R), whose last belongs to the step before ``view.step``.

        Over ranks, the means.
        """
        if view.energies_of_block is not None and not self._own_loss:
            return view.energies_of_block
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor) and not self._own_loss:
            self._losses.append(loss.item() * trainer.accumulate_grad_batches)
        before, self._seen = self._seen, view.step
        if view.step == before:
            return None
        losses, self._losses = self._losses, []
        if losses:
            loss = torch.tensor([[sum(losses) / len(losses)]], dtype=torch.float64)
            return view.reduce(loss, "mean")
        if view.step - 1 not in window:
            return None
        self._thin(trainer)
        if view.step // self.every == before // self.every:
            return None
        with view.measuring(), torch.no_grad():
            return view.reduce(view.energy()[None].double(), "mean")

    def _thin(self, trainer: Any) -> None:
        if self.every == 1 and trainer.is_global_zero:
            logger.info(
                "temperature_fluctuations: training_step returns no loss that could be used, and "
                "evaluating U costs time: it is taken at one step in %d",
                _EVERY,
            )
        self.every = _EVERY
