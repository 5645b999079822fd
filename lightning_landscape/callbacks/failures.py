"""What a probe does with what goes wrong: it says so, and the run goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import shorten
from typing import Any

import torch

from lightning_landscape import parallel
from lightning_landscape.callbacks.lifecycle import present_step
from lightning_landscape.callbacks.view import NotMeasured, View
from lightning_landscape.errors import UsageError

__all__ = ["Failsafe"]

# how a measurement went on a rank, the worst last
_WELL, _SKIPPED, _FAILED = 0, 1, 2

# of what another library says, in characters
_LONGEST = 200

logger = logging.getLogger("lightning_landscape.callbacks.probe")


class Failsafe:
    """The part of a probe that catches what would end a run."""

    name: Any
    strict: bool
    active: bool
    write: Any
    _by_batches: bool
    _agreed: bool
    _has_skipped: bool

    @contextmanager
    def caught(self, trainer: Any, pl_module: Any, early: bool = False) -> Iterator[None]:
        """Let what the body raises switch the probe off, on every rank, and not end the run.

        Args:
            trainer: the trainer of the run.
            pl_module: its module.
            early: whether the training step has not run yet. What it needs may be made by hooks
                that come first, so what it raises then only leaves this time out.
        """
        self._agreed, worst = False, _WELL
        error: Exception | None = None
        try:
            yield
            self.agree()
        except _OnAnotherRank as elsewhere:
            worst = elsewhere.state
        except Exception as caught:
            error = caught
            if not isinstance(caught, NotMeasured):
                self._raise_if_strict(pl_module, caught)
            skips = isinstance(caught, NotMeasured) or (
                early and not isinstance(caught, UsageError)
            )
            worst = _SKIPPED if skips else _FAILED
            if not self._agreed:
                worst = max(worst, _worst(worst))
        finally:
            self._agreed = True
        if worst == _SKIPPED and not self._has_skipped:
            self._has_skipped = True
            self.warn(f"{_reason(error)}; such times are left out")
        if worst == _FAILED:
            self._switch_off(trainer, pl_module, error)

    def agree(self) -> None:
        """Before the first exchange with other ranks, give up if one of them has failed."""
        if not self._agreed:
            self._agreed = True
            _require_all(_WELL)

    def _raise_if_strict(self, pl_module: Any, error: Exception) -> None:
        ours = View(pl_module, None, 0).landscape is not None
        if self.strict or (ours and isinstance(error, UsageError)):
            raise error

    def _switch_off(self, trainer: Any, pl_module: Any, error: Exception | None) -> None:
        self.active = False
        step = present_step(trainer, self._by_batches)
        remedy = (
            ""
            if isinstance(error, UsageError)
            else (
                "; a loss_fn(pl_module, batch) may give an energy that can be measured, and "
                "strict=True raises the error"
            )
        )
        self.warn(f"switched off at step {step}, and the run goes on: {_reason(error)}{remedy}")
        logger.debug("%s", self.name, exc_info=error)
        self._write_or_say(trainer)

    def _write_or_say(self, trainer: Any, final: bool = False) -> None:
        """Write what there is; what fails is said."""
        try:
            self.write(trainer, final)
        except Exception as error:
            self.warn(f"its record could not be written: {_reason(error)}")

    def warn(self, sentence: str) -> None:
        """Say a sentence about the probe, on rank zero, where every project shows it."""
        if parallel.rank() == 0:
            logger.warning("%s: %s", self.name, sentence)


class _OnAnotherRank(Exception):
    """A measurement is given up because of another rank."""

    def __init__(self, state: int) -> None:
        super().__init__()
        self.state = state


def _worst(state: int) -> int:
    """Return the worst state of any rank."""
    return int(parallel.max(torch.tensor(state)))


def _require_all(state: int) -> None:
    """Raise unless all ranks are as well as this one."""
    if (worst := _worst(state)) > state:
        raise _OnAnotherRank(worst)


def _reason(error: Exception | None) -> str:
    """Return what went wrong in one line."""
    if error is None:
        return "another rank could not measure"
    text = " ".join(str(error).split())
    told = isinstance(error, UsageError | NotMeasured)
    text = text if told else shorten(text, _LONGEST, placeholder=" …")
    return text if told else f"{type(error).__name__}: {text}" if text else type(error).__name__
