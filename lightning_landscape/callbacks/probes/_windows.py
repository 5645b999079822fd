"""Consecutive mini-batches of a run, all to be evaluated where the first of them began."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from pytorch_lightning.utilities import move_data_to_device
from torch import Tensor

from lightning_landscape import parallel
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

    def state(self) -> list[dict[str, Any]]:
        """Return the open windows for a checkpoint.

        One that a checkpoint cannot hold has no ``batches``: they are objects that would have to be
        unpickled, or each rank has its own.
        """
        return [_state(window) for window in self.open]

    def load(self, state: list[dict[str, Any]]) -> list[int]:
        """Open the windows of a checkpoint; return the steps of those that it could not hold."""
        self.open = [Window(**window) for window in state if "batches" in window]
        return [window["step"] for window in state if "batches" not in window]

    def to(self, device: torch.device) -> None:
        """Move the batches to a device, after `load`."""
        for window in self.open:
            window.batches = move_data_to_device(window.batches, device)


def _state(window: Window) -> dict[str, Any]:
    if parallel.count() > 1 or not _is_plain(window.batches):
        return {"step": window.step}
    # a view of all data would be saved with all of them
    batches = apply_to_collection(window.batches, Tensor, torch.clone)
    return {"step": window.step, "parameters": window.parameters, "batches": batches}


def _is_plain(batch: Any) -> bool:
    """Whether a batch consists of tensors, numbers and texts, in lists, tuples and dicts."""
    if type(batch) in (list, tuple):
        return all(map(_is_plain, batch))
    if type(batch) is dict:
        return all(type(key) in (str, int) and _is_plain(value) for key, value in batch.items())
    return type(batch) in (torch.Tensor, bool, int, float, str, type(None))
