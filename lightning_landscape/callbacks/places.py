"""Where the records of a run go."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["claimed_folder", "logged_folder"]

_CLAIMED: WeakKeyDictionary[Any, Path] = WeakKeyDictionary()


def logged_folder(trainer: Any) -> Path | None:
    """Return ``<log_dir>/probes`` of a run; None where it keeps nothing, as a fast dev run.

    Every rank must call it, because Lightning broadcasts the directory.
    """
    folder = trainer.log_dir
    return Path(folder) / "probes" if folder else None


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
