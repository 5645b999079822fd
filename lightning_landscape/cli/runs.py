"""Run folders: the same command resumes an unfinished run and never changes a finished one."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from lightning_landscape.errors import UsageError
from lightning_landscape.records import write_atomically

__all__ = ["RunFolder", "claim"]

_CLAIMED = "LIGHTNING_LANDSCAPE_RUN"
CONFIG, RESULTS, CHECKPOINT = "config.yaml", "results.md", "checkpoints/last.ckpt"


@dataclass
class RunFolder:
    """``<save_dir>/<experiment>/version_k``, locked for the lifetime of this process.

    The kernel releases the lock when the process ends for whatever reason.
    """

    path: Path
    lock: int | None

    @property
    def version(self) -> int:
        """The k of version_k."""
        return int(self.path.name.removeprefix("version_"))

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint to resume from, if the run has one."""
        path = self.path / CHECKPOINT
        return path if path.is_file() else None

    def finish(self, results: str) -> None:
        """Write the results, which marks the run as finished."""
        write_atomically(self.path / RESULTS, lambda p: p.write_text(results))


def claim(experiment: Path, config: str) -> RunFolder:
    """Return the newest unfinished run of this configuration that is not in use, or a new one.

    Args:
        experiment: the folder that holds version_0, version_1, …
        config: the resolved configuration; it is written to the new run as config.yaml.

    Raises:
        UsageError: the folder cannot be written.
    """
    if int(os.environ.get("LOCAL_RANK", 0)) > 0 and _CLAIMED in os.environ:
        return RunFolder(Path(os.environ[_CLAIMED]), None)  # launched and claimed by rank zero
    try:
        folder = _unfinished(experiment, config) or _new(experiment, config)
    except OSError as error:
        raise UsageError(
            f"{experiment}: cannot be written ({error.strerror}); choose another folder by save_dir"
        ) from error
    os.environ[_CLAIMED] = str(folder.path)
    return folder


def _versions(experiment: Path) -> list[Path]:
    versions = [p for p in experiment.glob("version_*") if p.name[8:].isdigit()]
    return sorted(versions, key=lambda p: int(p.name[8:]))


def _unfinished(experiment: Path, config: str) -> RunFolder | None:
    for path in reversed(_versions(experiment)):
        saved = path / CONFIG
        if (path / RESULTS).exists() or not saved.is_file() or saved.read_text() != config:
            continue
        if (lock := _lock(path)) is not None:
            return RunFolder(path, lock)
    return None


def _new(experiment: Path, config: str) -> RunFolder:
    experiment.mkdir(parents=True, exist_ok=True)
    versions = _versions(experiment)
    k = int(versions[-1].name[8:]) + 1 if versions else 0
    while True:
        path = experiment / f"version_{k}"
        try:
            path.mkdir()
        except FileExistsError:  # another process was faster
            k += 1
            continue
        lock = _lock(path)
        write_atomically(path / CONFIG, lambda p: p.write_text(config))
        return RunFolder(path, lock)


def _lock(path: Path) -> int | None:
    """Return an open file that holds the lock of a run, or None if another process holds it."""
    file = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file
