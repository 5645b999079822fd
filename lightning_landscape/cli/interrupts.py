"""SIGTERM and SIGINT: a process that they end says so, and ends with status 128 + signal."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

__all__ = ["Interrupted", "Interrupts", "ending_at_once", "raised"]

_PATIENCE = 10  # seconds that a signal waits; schedulers kill about 30 s after their first signal


class Interrupted(SystemExit):
    """A signal asked the process to end.

    It is no `Exception`, so that nothing takes it for a failure; a process that ends by it has
    the exit status 128 + signal: 130 after SIGINT, 143 after SIGTERM.

    Args:
        signum: the signal.
        step: the integrator step whose checkpoint the run has written, if it has written one.
    """

    def __init__(self, signum: int, step: int | None = None) -> None:
        super().__init__(128 + signum)
        self.signum, self.step = signum, step

    @property
    def status(self) -> int:
        """The exit status."""
        return 128 + self.signum

    def __str__(self) -> str:
        at = "" if self.step is None else f" at step {self.step}"
        return f"interrupted{at}; the same command resumes the run"


@contextmanager
def raised() -> Iterator[None]:
    """Inside, the signals raise `Interrupted` in the main thread."""
    with _handled_by(_raise):
        yield


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Inside, the signals end the process with the sentence, waiting for nothing.

    For a verb whose files are complete at any moment and whose worker processes end with it.
    """
    with _handled_by(_end):
        yield


class Interrupts:
    """Signals that wait until the run has reached a step at which it can be saved.

    They wait ten seconds at most, for a measurement may take longer, and a second signal does not
    wait at all: then `Interrupted` is raised at once, and the run goes on from its last checkpoint.

    Attributes:
        received: the signal, or 0.
        wait: whether the first signal waits.
    """

    def __init__(self) -> None:
        self.received, self.wait = 0, True
        self._previous: dict[int, Any] = {}

    def start(self) -> None:
        """Take the signals from whoever handles them now."""
        self.received, self.wait = 0, True
        self._previous = _install(self._receive, [*_signals(), signal.SIGALRM])

    def stop(self) -> None:
        """Give them back."""
        if self._previous:
            signal.alarm(0)
        _restore(self._previous)
        self._previous = {}

    def _receive(self, signum: int, frame: Any) -> None:
        if self.received or not self.wait:
            raise Interrupted(self.received or signum)
        self.received = signum
        signal.alarm(_PATIENCE)


def _raise(signum: int, frame: Any) -> NoReturn:
    raise Interrupted(signum)


def _end(signum: int, frame: Any) -> NoReturn:
    error = Interrupted(signum)
    os.write(2, f"{error}\n".encode())  # a handler may interrupt a print
    os._exit(error.status)


def _signals() -> list[int]:
    """Return the signals that ask a process to end; SLURM may send SIGUSR1 before it preempts."""
    preemption = [signal.SIGUSR1] if "SLURM_JOB_ID" in os.environ else []
    return [signal.SIGTERM, signal.SIGINT, *preemption]


@contextmanager
def _handled_by(handler: Callable[[int, Any], object]) -> Iterator[None]:
    previous = _install(handler, _signals())
    try:
        yield
    finally:
        _restore(previous)


def _install(handler: Callable[[int, Any], object], signals: list[int]) -> dict[int, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}  # only the main thread can
    return {signum: signal.signal(signum, handler) for signum in signals}


def _restore(previous: dict[int, Any]) -> None:
    for signum, handler in previous.items():
        signal.signal(signum, signal.SIG_DFL if handler is None else handler)
