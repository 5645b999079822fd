"""The compiled kernels on several cores; they hold no lock while they run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

__all__ = ["in_threads"]


def in_threads(work: Callable[[int, int], None], rows: int) -> None:
    """Call ``work(first, last)`` on as many parts of the rows as torch may use threads.

    What is computed for a row must not depend on the part it is in: then the number of threads
    changes no bit.
    """
    parts = min(torch.get_num_threads(), rows)
    if parts == 1:
        work(0, rows)
        return
    ends = [rows * k // parts for k in range(parts + 1)]
    # a new pool for each call: one that is kept would not survive a fork
    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(work, ends[:-1], ends[1:]))
