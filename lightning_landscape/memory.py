"""Whether something fits into memory, asked before it is allocated."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_landscape.errors import require

if TYPE_CHECKING:
    import torch

__all__ = ["require_memory", "require_memory_of_replicas"]


def require_memory(
    needed: float,
    argument: str,
    value: object,
    remedy: str,
    device: torch.device | None = None,
) -> None:
    """Raise a `UsageError` if ``needed`` bytes are more than this process can get.

    Args:
        needed: bytes.
        argument: the argument to name.
        value: its value.
        remedy: what to lower.
        device: where the memory is to be; None is the CPU.
    """
    on_host = device is None or device.type != "cuda"
    available = _available() if on_host else _free_on(device)
    require(
        needed <= available,
        argument,
        value,
        f"needs {needed / 1e9:.3g} GB of memory, and {available / 1e9:.3g} GB are available",
        remedy,
    )


def require_memory_of_replicas(replicas: int, N: int, argument: str = "replicas") -> None:
    """Raise a `UsageError` if configurations (R, N) do not fit, with the gradient and the noise.

    Args:
        replicas: R.
        N: the number of coordinates.
        argument: the argument that says how many they are.
    """
    needed = 8.0 * replicas * N + 3 * 4.0 * replicas * N  # the start is drawn in float64
    require_memory(needed, argument, replicas, f"lower it, or N = {N}")


def _available() -> float:
    """Return the bytes that this process can get, infinite where the system does not say."""
    return min(_free_in_machine(), _limit_of_container())


def _free_on(device: torch.device | None) -> float:
    """Return the bytes of a GPU that are free, or that torch holds and does not use."""
    from torch import cuda

    unused = cuda.memory_reserved(device) - cuda.memory_allocated(device)
    return float(cuda.mem_get_info(device)[0] + unused)


def _free_in_machine() -> float:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)
    except (OSError, StopIteration):
        pass
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return float("inf")


def _limit_of_container() -> float:
    try:
        return float(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):  # no such group, or "max"
        return float("inf")
