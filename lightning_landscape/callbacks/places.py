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


def claimed_folder(trainer: Any, probes: Path) -> Path:
    """Return ``probes/version_k`` with the next k that is free, one for all probes of a run.

    Args:
        trainer: the Trainer of the run.
        probes: the folder of the records of all runs.
    """
    if trainer not in _CLAIMED:
        for k in count():
            folder = probes / f"version_{k}"
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                continue
            _CLAIMED[trainer] = folder
            break
    return _CLAIMED[trainer]
