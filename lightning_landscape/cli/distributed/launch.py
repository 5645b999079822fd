"""One folder for all ranks, whoever has started them: Lightning, torchrun or SLURM."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning_landscape.errors import UsageError, require

__all__ = ["is_rank_zero", "on_nodes", "parent", "tell", "told"]

# inherited by the ranks that Lightning starts
_CLAIMED, _PARENT = "LIGHTNING_LANDSCAPE_RUN", "LIGHTNING_LANDSCAPE_PARENT"
_NODES = "LIGHTNING_LANDSCAPE_NODES"
_KEY, _REFUSED = "lightning_landscape/run", "refused"


def is_rank_zero() -> bool:
    """Return whether this process is the one that claims, prints and writes."""
    return _launched()[0] == 0


def parent() -> int | None:
    """Return the process that started this rank; None where Lightning has not started it."""
    local = int(os.environ.get("LOCAL_RANK", 0))
    inherited = local > 0 and _launched()[1] == 0 and _PARENT in os.environ
    return int(os.environ[_PARENT]) if inherited else None


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
    if _NODES in os.environ:
        _hand_down(answer)
    return answer


def tell(folder: str | None) -> None:
    """Tell the other ranks which folder was claimed, or with None that none was."""
    rank, world = _launched()
    if folder is not None:
        _hand_down(folder)
    if world > 1:
        _store(rank, world).set(_KEY, _REFUSED if folder is None else folder)


def _hand_down(folder: str) -> None:
    """Let the processes that this one starts know the folder."""
    os.environ[_CLAIMED], os.environ[_PARENT] = folder, str(os.getpid())


def _launched() -> tuple[int, int]:
    """Return the rank of this process, and how many a launcher outside has started, 0 if none."""
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        return int(environment["RANK"]), int(environment["WORLD_SIZE"])
    if _is_in_slurm():
        return int(environment["SLURM_PROCID"]), int(environment["SLURM_NTASKS"])
    if _CLAIMED in environment:
        return int(environment.get("LOCAL_RANK", 0)) or int(environment.get("NODE_RANK", 0)), 0
    if _NODES in environment:  # the first process of each of several machines
        return int(environment.get("NODE_RANK", 0)), int(environment[_NODES])
    return 0, 0


@contextmanager
def on_nodes(count: int) -> Iterator[None]:
    """Inside, this process is the first one of one of ``count`` machines, numbered by NODE_RANK.

    Raises:
        UsageError: the address at which they meet is not known.
    """
    if count > 1 and _launched() == (0, 0) and _CLAIMED not in os.environ:
        for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
            remedy = f"set {name} in the environment, or start the run by torchrun or SLURM"
            require(name in os.environ, "trainer.num_nodes", count, "needs an address", remedy)
        os.environ[_NODES] = str(count)
    try:
        yield
    finally:
        os.environ.pop(_NODES, None)


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
