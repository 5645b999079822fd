"""Run folders: the same command resumes an unfinished run and never changes a finished one."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import yaml

from lightning_landscape.cli.distributed import launch
from lightning_landscape.cli.identity import Difference, describe, differences
from lightning_landscape.errors import UsageError, require
from lightning_landscape.records import remove_unfinished, write_atomically

__all__ = ["CHECKPOINT", "CONFIG", "PREVIOUS", "RESULTS", "Choice", "RunFolder", "claim", "inside"]

CONFIG, RESULTS = "config.yaml", "results.md"
CHECKPOINT, PREVIOUS = "checkpoints/last.ckpt", "previous.ckpt"

Choice = Literal["ask", "new", "continue"]
"""What to do where an unfinished run was started with another configuration."""


@dataclass
class RunFolder:
    """``<save_dir>/<experiment>/version_k``, locked for the lifetime of this process.

    The kernel releases the lock when the process ends for whatever reason.

    Attributes:
        path: the folder.
        lock: the open file that holds the lock; None on ranks other than zero.
        note: what the user should know of how it was chosen.
        made: the folders that were made for it, the deepest first; none if the run existed.
    """

    path: Path
    lock: int | None
    note: str = ""
    made: list[Path] = field(default_factory=list)

    @property
    def version(self) -> int:
        """The k of version_k."""
        return int(self.path.name.removeprefix("version_"))

    def release(self) -> None:
        """Give the lock back, where this process goes on with other runs."""
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def finish(self, results: str) -> None:
        """Write the results, which marks the run as finished."""
        write_atomically(self.path / RESULTS, lambda p: p.write_text(results))

    def discard(self) -> None:
        """Remove a folder that was made for this process, which has done no step."""
        if not self.made:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        _remove_empty(self.made)


def inside(save_dir: str, experiment: str) -> Path:
    """Return the folder of an experiment.

    Raises:
        UsageError: it would not be inside ``save_dir``.
    """
    path = Path(save_dir) / experiment
    right = "\0" not in str(path) and path.resolve().is_relative_to(Path(save_dir).resolve())
    require(
        right,
        "experiment",
        experiment.replace("\0", "?"),
        f"must be a folder inside save_dir = {save_dir}",
        "give its name, without ..",
    )
    return path


def claim(experiment: Path, config: str, choice: Choice = "ask") -> RunFolder:
    """Return the newest unfinished run of this configuration that is not in use, or a new one.

    A run that differs only in what cannot change its results is continued, and says so. What
    killed processes have left half written in it is removed.

    Args:
        experiment: the folder that holds version_0, version_1, …
        config: the resolved configuration; it is written to the run as config.yaml.
        choice: what to do if the newest unfinished run differs in what matters.

    Raises:
        UsageError: the folder cannot be written; an unfinished run differs and ``choice`` is
            "ask", or its checkpoint is no state of this configuration.
    """
    if (claimed := launch.told()) is not None:
        known = Path(claimed).is_dir()
        require(known, "save_dir", experiment, f"this rank does not see {claimed} of rank 0")
        return RunFolder(Path(claimed), None)
    try:
        folder = _claimed(experiment, config, choice)
    except OSError as error:
        launch.tell(None)
        raise UsageError(
            f"{experiment}: cannot be written ({error.strerror}); choose another folder by save_dir"
        ) from error
    except UsageError:
        launch.tell(None)
        raise
    launch.tell(str(folder.path.absolute()))
    return folder


def _claimed(experiment: Path, config: str, choice: Choice) -> RunFolder:
    if choice == "new":
        return _new(experiment, config)
    folder = _unfinished(experiment, config, choice) or _new(experiment, config)
    remove_unfinished(folder.path)
    return folder


def _versions(experiment: Path) -> list[Path]:
    versions = [p for p in experiment.glob("version_*") if p.name[8:].isdecimal()]
    return sorted(versions, key=lambda p: int(p.name[8:]))


def _unfinished(experiment: Path, config: str, choice: Choice) -> RunFolder | None:
    """Return the run that goes on: one that is the same, or one that may as well be."""
    found = []
    for path in reversed(_versions(experiment)):
        saved = _saved(path)
        if _is_bare(path) and (lock := _lock(path)) is not None:
            write_atomically(path / CONFIG, lambda p: p.write_text(config))
            return RunFolder(path, lock, made=[path])
        if (path / RESULTS).exists() or saved is None:
            continue
        if saved == config:
            if (lock := _lock(path)) is not None:
                return RunFolder(path, lock)
        elif _has_results(path):
            found.append((path, differences(yaml.safe_load(saved), yaml.safe_load(config))))
    found.sort(key=lambda each: not all(d.is_harmless for d in each[1]))  # stable: newest first
    for path, differing in found:
        if (lock := _lock(path)) is None:
            continue
        try:
            _check_choice(path, differing, choice)
        except UsageError:
            os.close(lock)
            raise
        write_atomically(path / CONFIG, lambda p: p.write_text(config))
        note = f"{path.name} was started with another {describe(differing)}"
        return RunFolder(path, lock, note if differing else "")
    return None


def _check_choice(path: Path, differing: list[Difference], choice: Choice) -> None:
    """Refuse what the user has to decide, and what no decision makes right."""
    fatal = [d for d in differing if d.is_fatal]
    matters = [d for d in differing if not d.is_harmless]
    if fatal:
        raise UsageError(
            f"experiment = {path.parent}: {path.name} is unfinished and of another "
            f"{describe(fatal)}; give --new to start another run, or resume that one by "
            f"--config {path / CONFIG}"
        )
    if matters and choice == "ask":
        raise UsageError(
            f"experiment = {path.parent}: {path.name} is unfinished and differs in "
            f"{describe(matters)}; give --continue to go on with it, or --new to start another run"
        )


def _saved(path: Path) -> str | None:
    """Return the configuration of a run, or None if it has none that can be read."""
    try:
        saved = (path / CONFIG).read_text(encoding="utf-8")
        return saved if isinstance(yaml.safe_load(saved), dict) or not saved else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None


def _is_bare(path: Path) -> bool:
    """Whether a process was killed after it had made the folder, before it wrote anything."""
    made = (path / ".lock").exists() and not (path / CONFIG).exists()
    return made and not _has_results(path)


def _has_results(path: Path) -> bool:
    checkpoints = (path / CHECKPOINT).parent.glob("*.ckpt")
    return any(checkpoints) or any((path / "probes").glob("*.nc"))


def _new(experiment: Path, config: str) -> RunFolder:
    made = [p for p in (experiment, *experiment.parents) if not os.path.exists(p)]
    try:
        experiment.mkdir(parents=True, exist_ok=True)
    except OSError:
        _remove_empty(made)
        raise
    versions = _versions(experiment)
    k = int(versions[-1].name[8:]) + 1 if versions else 0
    while True:
        path = experiment / f"version_{k}"
        try:
            path.mkdir()
        except FileExistsError:  # another process was faster
            k += 1
            continue
        if (lock := _lock(path)) is None:  # as before
            k += 1
            continue
        write_atomically(path / CONFIG, lambda p: p.write_text(config))
        return RunFolder(path, lock, made=[path, *made])


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # it does not exist, or another process has put something there
            folder.rmdir()


def _lock(path: Path) -> int | None:
    """Return an open file that holds the lock of a run, or None if another process holds it."""
    file = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file
