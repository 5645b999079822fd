"""What the record of a jamming scan says of changes of the data, for its table and its figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_landscape.observables.gaps import JAMMED_ABOVE, hinge_loss

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

__all__ = ["avalanche_sizes", "is_decompressed", "last_minima", "place_of_exit"]


def avalanche_sizes(dataset: Dataset) -> DataArray:
    """Return the sizes of avalanches (run, change), nan where a network was not jammed before."""
    jammed = dataset["change_unsatisfied"] > JAMMED_ABOVE * dataset["N"]
    return (
        dataset["avalanche"]
        .where(jammed.shift(change=1, fill_value=False))
        .isel(change=slice(1, None))
    )


def is_decompressed(dataset: Dataset) -> bool:
    """Return whether changes made P smaller, and there were jammed minima on the way."""
    P = dataset["change_P"]
    return bool((P.isel(change=-1) < P.isel(change=0)).any() and dataset["gap"].notnull().any())


def place_of_exit(dataset: Dataset) -> DataArray:
    """Return P/N after the change at which each network left the jammed phase, nan if none did."""
    jammed = dataset["change_unsatisfied"] > JAMMED_ABOVE * dataset["N"]
    left = jammed.shift(change=1, fill_value=False) & ~jammed
    return dataset["change_P"].where(left).max("change") / dataset["N"]


def last_minima(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Return the gaps (n, P) and the losses (n,) of the last minima of the n networks with one."""
    gaps = torch.from_numpy(dataset["gap"].to_numpy())
    gaps = gaps[~gaps.isnan().all(1)]
    losses = [hinge_loss(row[~row.isnan()][None]) for row in gaps]
    return gaps, torch.cat([*losses, torch.empty(0, dtype=torch.float64)])
