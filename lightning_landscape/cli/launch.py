"""One folder for all ranks, whoever has started them: Lightning, torchrun or SLURM."""

from __future__ import annotations

import os
from typing import Any

from lightning_landscape.errors import UsageError

__all__ = ["is_rank_zero", "parent", "tell", "told"]

# inherited by the ranks that Lightning starts
_CLAIMED, _PARENT = "LIGHTNING_LANDSCAPE_RUN", "LIGHTNING_LANDSCAPE_PARENT"
_KEY, _REFUSED = "lightning_landscape/run", "refused"


def is_rank_zero() -> bool:
    """Return whether this process is the one that claims, prints and writes."""
    return _launched()[0] == 0


def parent() -> int | None:
    """Return the process that started this rank; None where Lightning has not started it."""
    rank, world = _launched()
    return int(os.environ[_PARENT]) if rank > 0 and world == 0 and _PARENT in os.environ else None


def told() -> str | None:
    """Return the run folder that rank zero has claimed; None on rank zero itself.

    Raises:
        UsageError: rank zero was refused, or has ended.
    """
    rank, world = _launched()
    if rank == 0:
        return None
    if world == 0:
        return os.environ[_CLAIMED]
    try:
        answer = _store(rank, world).get(_KEY).decode()
    except Exception as error:  # of the store, whose classes differ between versions of torch
        raise UsageError(f"rank {rank}: rank 0 does not answer; see what it says") from error
    if answer == _REFUSED:
        raise UsageError(f"rank {rank}: ends because rank 0 could not start")
    return answer


def tell(folder: str | None) -> None:
    """Tell the other ranks which folder was claimed, or with None that none was."""
    if folder is not None:
        os.environ[_CLAIMED], os.environ[_PARENT] = folder, str(os.getpid())
    rank, world = _launched()
    if world > 1:
        _store(rank, world).set(_KEY, _REFUSED if folder is None else folder)


def _launched() -> tuple[int, int]:
    """Return the rank of this process, and how many a launcher outside has started, 0 if none."""
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        return int(environment["RANK"]), int(environment["WORLD_SIZE"])
    if _is_in_slurm():
        return int(environment["SLURM_PROCID"]), int(environment["SLURM_NTASKS"])
    if _CLAIMED in environment:
        return int(environment.get("LOCAL_RANK", 0)), 0
    return 0, 0


def _is_in_slurm() -> bool:
    from lightning_fabric.plugins.environments import SLURMEnvironment

    tasks = int(os.environ.get("SLURM_NTASKS", 1))
    return tasks > 1 and "SLURM_PROCID" in os.environ and SLURMEnvironment.detect()


_stores: list[Any] = []  # rank zero serves the others as long as it lives


def _store(rank: int, world: int) -> Any:
    from lightning_landscape.parallel import meet

    if not _stores:
        if _is_in_slurm():
            from lightning_fabric.plugins.environments import SLURMEnvironment

            os.environ["MASTER_ADDR"] = SLURMEnvironment().main_address
            os.environ["MASTER_PORT"] = str(SLURMEnvironment().main_port)
        _stores.append(meet(rank, world))
    return _stores[0]
