"""Where the shares of a round are computed: processes of this machine, or any other executor."""

from __future__ import annotations

import os
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Protocol

import torch

from lightning_landscape.errors import require

__all__ = ["Processes", "Workers"]


class Workers(Protocol):
    """Whatever gives a `concurrent.futures.Executor`.

    Attributes:
        count: into how many shares a round is cut.
    """

    count: int

    def executor(self) -> Executor:
        """Return a new executor; it is shut down by the caller."""


class Processes:
    """Processes of this machine, of one thread each.

    Args:
        count: how many; with one, all is computed in the process that asks.

    Raises:
        UsageError: count < 1.
    """

    def __init__(self, count: int) -> None:
        require(count >= 1, "processes", count, "must be at least 1")
        self.count = count

    def executor(self) -> Executor:
        """Return a pool of new processes, which end with this one even if it is killed."""
        # not by fork: a child would wait for ever for threads that its parent had
        return ProcessPoolExecutor(self.count, get_context("spawn"), _settle_in)


def _settle_in() -> None:
    """Use one thread, and end with the parent even if that is killed."""
    torch.set_num_threads(1)
    parent = parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    Thread(target=follow, daemon=True).start()
