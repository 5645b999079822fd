"""What finite N and a finite step are expected to add to an exact value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_landscape.results.table import Shift

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["expected_shift"]


def expected_shift(dataset: Dataset, quantity: str, /, **at: float) -> Shift | None:
    """Return measured(N, dt) - exact as expected for a run, or None where nothing is known.

    Exact values hold for N = infinity and continuous time.

    Args:
        dataset: the record of the run; its attributes name N, time step, temperature, mixture.
        quantity: the variable of the record, ``"energy"``, ``"C"``, ``"MSD"``, ``"chi"``,
            ``"d2"``; ``"T_eff"`` for the effective temperature over a window of the decay, and
            ``"T_ratio"`` for (Delta/2)/chi at one time.
        at: where it was measured: ``t``; ``tw`` for two times; ``T`` where the replicas have
            several temperatures; ``low`` and ``high`` of a window.
    """
    return None
