"""Where the records and scalars of a run go."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["claimed_folder", "log_scalars", "logged_folder"]

_CLAIMED: WeakKeyDictionary[Any, Path] = WeakKeyDictionary()


def logged_folder(trainer: Any) -> Path | None:
    """Return ``<log_dir>/probes`` of a run; None where it keeps nothing, as a fast dev run.

    Every rank must call it, because Lightning broadcasts the directory.
    """
    folder = trainer.log_dir
    return Path(folder) / "probes" if folder else None


def log_scalars(
    trainer: Any, scalars: Mapping[str, float], time_step: float, probes: list[Any]
) -> None:
    """Give scalars to all loggers of a run at its step, and to TensorBoard against log10 t too.

    Args:
        trainer: of the run.
        scalars: values by their tag.
        time_step: physical time of a step.
        probes: of the run, which have the tables of functions of two times.
    """
    from lightning_landscape.results import tensorboard

    step = trainer.global_step
    groups = {
        probe.name: [
            table
            for table, dims in probe.dims.items()
            if dims[:2] == ("tw", "t") and table in probe.results
        ]
        for probe in probes
    }
    for run_logger in trainer.loggers if scalars else []:
        # not self.log: Lightning drops what falls between its own logging intervals
        run_logger.log_metrics(dict(scalars), step=step)
        tensorboard.log(run_logger.experiment, scalars, step * time_step, groups)


def claimed_folder(trainer: Any) -> Path:
    """Return the folder of the records of a run without a logger, one for all its probes.

    It is ``<default_root_dir>/landscape_logs/version_k/probes`` with the next k that is free.
    """
    if trainer not in _CLAIMED:
        for k in count():
            run = Path(trainer.default_root_dir) / "landscape_logs" / f"version_{k}"
            try:
                run.mkdir(parents=True)
            except FileExistsError:
                continue
            _CLAIMED[trainer] = run / "probes"
            break
    return _CLAIMED[trainer]
