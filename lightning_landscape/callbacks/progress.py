"""A progress bar in physical time: t, E/N and temperature."""

from __future__ import annotations

import sys
from typing import Any

import torch
from pytorch_lightning.callbacks import ProgressBar

__all__ = ["PhysicalProgressBar"]

_SECONDS_BETWEEN_UPDATES = 0.2
_LINES_OF_A_LOG = 10  # at most, where the output is no terminal and every update is a line


class PhysicalProgressBar(ProgressBar):
    """Show integrator steps, physical time, energy (per N if extensive) and temperature.

    On a terminal it is one line; in a file or a pipe it is about ten.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bar: Any = None
        self._enabled = True

    def disable(self) -> None:
        """Show nothing; Lightning calls it on every rank but zero."""
        self._enabled = False

    def enable(self) -> None:
        """Show the bar."""
        self._enabled = True

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Open the bar at the step from which the run continues."""
        from tqdm import tqdm

        total = trainer.max_steps if trainer.max_steps > 0 else None
        self._bar = tqdm(
            total=total,
            initial=trainer.global_step,
            unit="step",
            disable=not self._enabled,
            dynamic_ncols=True,
            **_pace(total),
        )

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance to the present step."""
        if self._bar.update(trainer.global_step - self._bar.n):
            self._bar.set_postfix_str(_state(trainer, pl_module), refresh=False)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Leave the last state on the screen."""
        self._bar.set_postfix_str(_state(trainer, pl_module))
        self._bar.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave the line to the message of the error."""
        if self._bar is not None:
            self._bar.close()


def _pace(total: int | None) -> dict[str, float]:
    """Return the arguments of tqdm that say how often it writes."""
    if sys.stderr.isatty():
        return {"mininterval": _SECONDS_BETWEEN_UPDATES}
    if total is None:
        return {"mininterval": 60.0}
    return {"miniters": max(total // _LINES_OF_A_LOG, 1), "maxinterval": float("inf")}


def _state(trainer: Any, pl_module: Any) -> str:
    energy = pl_module.energy
    scale, name = (energy.N, "E/N") if energy.extensive else (1, "E")
    mean = pl_module.block_energies[-1].mean().item() / scale
    temperature = torch.as_tensor(pl_module.temperature).double()
    low, high = temperature.min().item(), temperature.max().item()
    T = f"{low:.3g}" if low == high else f"{low:.3g}…{high:.3g}"
    return f"t={trainer.global_step * pl_module.time_step:.4g}, {name}={mean:.5f}, T={T}"
