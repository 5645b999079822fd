"""Executors for the shares of a round: local processes, or any other."""

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
    """A source of `concurrent.futures.Executor` objects.

    Attributes:
        count: the number of shares of a round.
    """

    count: int

    def executor(self) -> Executor:
        """Return a new executor, which the caller shuts down."""


class Processes:
    """Local processes with one thread each.

    Args:
        count: how many; with 1, everything is computed in the calling process.

    Raises:
        UsageError: count < 1.
    """

    def __init__(self, count: int) -> None:
        require(count >= 1, "processes", count, "must be at least 1")
        self.count = count

    def executor(self) -> Executor:
        """Return a pool of new processes, which end when this one does, even if it is killed."""
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
