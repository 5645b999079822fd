"""Consecutive mini-batches of a run, all to be evaluated where the first of them began."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.callbacks.isolation import keep
from lightning_landscape.callbacks.view import View

__all__ = ["Window", "Windows"]


@dataclass
class Window:
    """The batches that follow a step, and where the parameters were then.

    Attributes:
        step: the optimizer step after which they come.
        parameters: the parameters at that step.
        batches: each with its index, oldest first.
    """

    step: int
    parameters: list[Tensor]
    batches: list[tuple[Any, int]] = field(default_factory=list)


class Windows:
    """Windows of ``size`` batches, which may overlap; they share what they keep.

    Args:
        size: how many batches make a window.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.open: list[Window] = []

    @torch.no_grad()
    def begin(self, view: View) -> None:
        """Open a window at the present parameters."""
        self.open.append(Window(view.step, [p.detach().clone() for p in view.parameters()]))

    def add(self, batch: Any, batch_idx: int) -> Window | None:
        """Keep a batch for all windows that are open; return the one that it completes."""
        if not self.open:
            return None
        kept = keep(batch)
        for window in self.open:
            window.batches.append((kept, batch_idx))
        # one is opened at a step, so at most one is complete
        return self.open.pop(0) if len(self.open[0].batches) == self.size else None
