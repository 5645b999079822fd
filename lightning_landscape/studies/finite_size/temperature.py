"""The effective temperature of curves that were extrapolated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.observables.response import FAST, SLOW, effective_temperature

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["WINDOWS", "effective_temperatures"]

Array = NDArray[np.float64]

WINDOWS = {"first quarter": FAST, "second half": SLOW}


def effective_temperatures(
    found: Dataset, members: Sequence[NDArray[np.intp]]
) -> dict[str, tuple[Any, Any]]:
    r"""Return T_eff of the limits of Delta and chi for each tw and window of the decay.

    It is the inverse slope of chi against Delta / 2, see `observables.effective_temperature`, of
    which the limits are weighted sums of means: leaving out one sample moves them by its weight
    times (mean - sample) / (n - 1), and the jackknife over the samples of each point gives the
    statistical error. The model error is the change when both limits are taken by the shorter law,
    see `law.Limit`.

    Args:
        found: `limits` of MSD and chi, with the samples.
        members: the runs of each point.
    """
    shape = found.sizes["tw"], len(WINDOWS)
    value, statistical, shorter = (np.full(shape, np.nan) for _ in range(3))
    for i in range(found.sizes["tw"]):
        at = found.isel(tw=i)
        at = at.isel(t=np.isfinite(at["chi_limit"].to_numpy()))
        limit, short = (_pair(at, suffix) for suffix in ("_limit", "_shorter"))
        samples, weights = _pair(at, ""), _pair(at, "_weights")
        for w, window in enumerate(WINDOWS.values()):
            value[i, w] = _slope(limit, window)
            shorter[i, w] = _slope(short, window)
            variance = [
                _jackknife(limit, weights[:, k], samples[:, runs], window)
                for k, runs in enumerate(members)
            ]
            statistical[i, w] = sum(variance) ** 0.5
    dims = ("tw", "window")
    return {
        "window": (("window",), list(WINDOWS)),
        "T_eff_limit": (dims, value),
        "T_eff_error": (dims, np.hypot(statistical, shorter - value)),
        "T_eff_statistical": (dims, statistical),
        "T_eff_shorter": (dims, shorter),
    }


def _pair(at: Dataset, suffix: str) -> Array:
    """Return Delta and chi, shape (2, …, t)."""
    return np.stack([at[f"{name}{suffix}"].to_numpy() for name in ("MSD", "chi")])


def _slope(pair: Array, window: tuple[float, float]) -> float:
    return effective_temperature(pair[0] / 2, pair[1], window)[0]


def _jackknife(limit: Array, weight: Array, samples: Array, window: tuple[float, float]) -> float:
    """Return what the samples of one point, (2, n, t), add to the variance of T_eff."""
    n = samples.shape[1]
    moves = (samples.mean(1, keepdims=True) - samples) / (n - 1) * weight[:, None]
    without = [_slope(limit + moves[:, k], window) for k in range(n)]
    return float((n - 1) * np.var(without))
