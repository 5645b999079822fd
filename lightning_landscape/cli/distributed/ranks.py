"""The processes of a distributed run: when one is lost, the others say so and end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from pytorch_lightning.strategies.launchers import (
    _MultiProcessingLauncher,
    _SubprocessScriptLauncher,
)
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

from lightning_landscape import parallel
from lightning_landscape.cli.distributed import launch
from lightning_landscape.cli.interrupts import Interrupted
from lightning_landscape.cli.refusals import RankLost
from lightning_landscape.errors import UsageError

__all__ = ["as_end_of_run", "pass_on", "watch"]

_SECONDS_BETWEEN_LOOKS = 0.5
_GRACE = 5.0  # seconds in which a process may end by itself, with its records written


def as_end_of_run(error: BaseException) -> BaseException | None:
    """Return what ended the run if that was another process of it, None otherwise.

    Args:
        error: what was raised in this process: by a collective operation, or by the launcher that
            waits for the ranks.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ProcessExitedException):
            signum = cause.exit_code - 128
            return Interrupted(signum) if 0 < signum < 65 else RankLost()
        if isinstance(cause, ProcessRaisedException):
            *_, sentence = cause.msg.strip().rpartition("UsageError: ")
            return UsageError(sentence) if "UsageError: " in cause.msg else RankLost()
        if parallel.lost(cause):
            return RankLost()
        cause = cause.__cause__ or cause.__context__
    return None


def watch(trainer: Any) -> None:
    """End this process, with a sentence, if one that it was started with is lost.

    A collective operation fails at once where its peer on the same machine is killed, and the
    process then ends by itself. This is for those that wait for what never comes: at the start,
    in NCCL, or while they write. Where torchrun or SLURM started the processes, it ends them.

    Raises:
        RankLost: the process that started this one has ended already.
    """
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        if launch.parent() is not None:
            if _has_lost_its_parent():
                raise RankLost
            _Watch(_has_lost_its_parent).start()
        elif not launcher.cluster_environment.creates_processes_externally:
            trainer.strategy._launcher = _Launcher(
                launcher.cluster_environment, launcher.num_processes, launcher.num_nodes
            )


def pass_on(signum: int, trainer: Any) -> None:
    """Send a signal to the ranks, where this process only waits for them."""
    launcher = getattr(getattr(trainer, "strategy", None), "launcher", None)
    if isinstance(launcher, _MultiProcessingLauncher):
        launcher.kill(signum)


class _Launcher(_SubprocessScriptLauncher):
    """Lightning's launcher, whose observer would kill this process before it can say why."""

    def launch(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Start the other ranks, watch them, and call ``function`` on this one."""
        self.cluster_environment.validate_settings(
            num_devices=self.num_processes, num_nodes=self.num_nodes
        )
        self._call_children_scripts()
        _Watch(lambda: any(map(_is_lost, self.procs)), self.procs).start()
        kwargs.pop("trainer", None)
        return function(*args, **kwargs)


def _is_lost(process: subprocess.Popen[bytes]) -> bool:
    """Whether a rank has failed; one that a signal has interrupted has told the others."""
    status = process.poll()
    return status is not None and status != 0 and status <= 128


def _has_lost_its_parent() -> bool:
    return os.getppid() != launch.parent()


class _Watch(threading.Thread):
    """Asks twice a second whether a process is lost; if so, ends this one after the grace.

    Args:
        lost: the question.
        children: what ends with this process.
    """

    def __init__(
        self, lost: Callable[[], bool], children: list[subprocess.Popen[bytes]] | None = None
    ) -> None:
        super().__init__(daemon=True, name="watch-of-the-ranks")
        self._lost, self._children = lost, children or []

    def run(self) -> None:
        """Ask until the answer is yes."""
        while not self._lost():
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        time.sleep(_GRACE)
        for child in self._children:
            child.kill()
        print(f"error: {RankLost()}", file=sys.stderr, flush=True)
        os._exit(RankLost.status)
