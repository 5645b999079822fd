"""Workers on a cluster: any scheduler that Dask reaches, as an executor."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Executor
from importlib.util import find_spec
from typing import Any

from lightning_landscape.errors import UsageError, require
from lightning_landscape.studies.processes import Processes, Workers

__all__ = ["QUEUES", "DaskWorkers", "cores", "workers"]

QUEUES = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "lsf": "LSFCluster",
    "sge": "SGECluster",
    "htcondor": "HTCondorCluster",
    "oar": "OARCluster",
}
"""The job queues by name, and the classes of dask-jobqueue that submit to them."""

# A worker that a queue takes away is no fault of its task; Dask repeats the task elsewhere.
_SETTINGS = {
    "distributed.scheduler.allowed-failures": 10,
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.daemon": False,  # or a run could not start ranks
    "distributed.comm.timeouts.connect": "60s",
    # what goes wrong comes with the result of a task
    "logging": {"distributed": "critical"},
}


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers(engine: str | None, count: int, options: Mapping[str, Any] | None = None) -> Workers:
    """Return the workers that a command asks for.

    Args:
        engine: ``processes`` of this machine, or what `DaskWorkers` takes; None means ``local``
            where Dask is installed, else ``processes``.
        count: how many.
        options: of a job queue.

    Raises:
        UsageError: the engine is not known, or its package is missing.
    """
    if engine == "processes" or (engine is None and find_spec("distributed") is None):
        return Processes(count)
    return DaskWorkers(engine or "local", count, options)


class DaskWorkers:
    """Processes of this machine, of a running scheduler, or of a job queue, by Dask.

    A task whose worker is lost is done again on another one. One task at a time runs in a worker,
    in one thread. Needs the extra ``scale``.

    Args:
        engine: ``local``; the address of a scheduler, as ``tcp://host:8786``; or the name of a job
            queue in `QUEUES`.
        count: how many workers, for ``local`` and for a queue.
        options: for a queue, the arguments of its class, as ``queue``, ``walltime`` or ``memory``.

    Raises:
        UsageError: the engine is none of these, or the package for it is missing.
    """

    def __init__(self, engine: str, count: int, options: Mapping[str, Any] | None = None) -> None:
        known = engine == "local" or "://" in engine or engine in QUEUES
        remedy = f"give local, processes, tcp://host:port, or one of {', '.join(QUEUES)}"
        require(known, "engine", engine, "is not known", remedy)
        require(count >= 1, "workers", count, "must be at least 1")
        self.engine, self.count, self.options = engine, count, dict(options or {})
        self._module("dask").config.set(_SETTINGS)  # before what it configures is imported
        self._module("distributed")
        if engine in QUEUES:
            self._module("dask_jobqueue")

    def executor(self) -> Executor:
        """Return a new executor; its shutdown ends the workers that were started for it."""
        distributed = self._module("distributed")
        if "://" in self.engine:
            try:
                client = distributed.Client(self.engine, timeout="30s", set_as_default=False)
            except (OSError, ValueError) as error:
                raise UsageError(
                    f"engine = {self.engine}: no scheduler answers there ({error})"
                ) from error
            return _Executor(client, None)
        cluster = self._queue() if self.engine in QUEUES else self._here(distributed)
        return _Executor(distributed.Client(cluster, set_as_default=False), cluster)

    def _here(self, distributed: Any) -> Any:
        return distributed.LocalCluster(
            n_workers=self.count,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=":0",
        )

    def _queue(self) -> Any:
        jobqueue = self._module("dask_jobqueue")
        given = {"cores": 1, "processes": 1, "memory": "4GB"} | self.options
        cluster = getattr(jobqueue, QUEUES[self.engine])(**given)
        cluster.scale(self.count)
        return cluster

    def _module(self, name: str) -> Any:
        from importlib import import_module

        try:
            return import_module(name)
        except ImportError as error:
            raise UsageError(
                f'engine = {self.engine}: needs {name}; pip install "lightning-landscape[scale]"'
            ) from error


class _Executor(Executor):
    """The executor of a client, which closes client and cluster too.

    Attributes:
        page: the address at which Dask shows its workers, None without the package bokeh.
    """

    def __init__(self, client: Any, cluster: Any) -> None:
        self._client, self._cluster = client, cluster
        self.page = client.dashboard_link if find_spec("bokeh") is not None else None
        self._executor = client.get_executor(pure=False)

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Submit a task."""
        return self._executor.submit(function, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers."""
        self._executor.shutdown(wait=False)
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()
