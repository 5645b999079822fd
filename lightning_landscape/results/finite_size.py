"""What finite N and a finite step are expected to add to an exact value."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray

from lightning_landscape.observables.response import effective_temperature
from lightning_landscape.results.table import Shift
from lightning_landscape.theory.glasses.finite_size import Shifts, shifts_of
from lightning_landscape.theory.glasses.mixture import mixture_from_json

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["expected_shift"]

Array = NDArray[np.float64]

_UNKNOWN = Shift(np.nan, np.nan, "one sample of the couplings")


def expected_shift(dataset: Dataset, quantity: str, /, **at: float) -> Shift | None:
    """Return measured(N, dt) - exact as expected for a run, or None where nothing is known.

    Exact values hold for N = infinity and continuous time. Known is the quench of the spherical
    3-spin glass from a random start, see `theory.glasses.finite_size`. Where all replicas share the
    couplings, the error contains the scatter of one sample about N = infinity, which the scatter of
    the replicas does not show; where that is not known, the shift is nan, and so is the deviation.

    Args:
        dataset: the record of the run; its attributes name N, time step, temperature, mixture, and
            its configuration names the dynamics.
        quantity: the variable of the record, ``"energy"``, ``"C"``, ``"MSD"``, ``"chi"``,
            ``"d2"``; ``"T_eff"`` for the effective temperature over a window of the decay, and
            ``"T_ratio"`` for (Delta/2)/chi at one time.
        at: where it was measured: ``t``; ``tw`` for two times; ``T`` where the replicas have
            several temperatures; ``low`` and ``high`` of a window.
    """
    one_sample = dataset.attrs.get("disorder") == "shared"
    elsewhere = _UNKNOWN if one_sample and dataset.attrs.get("theory") == "pspin" else None
    if quantity not in _READ or (shifts := _shifts(dataset, one_sample)) is None:
        return elsewhere
    value, error = _READ[quantity](shifts, dataset, at)
    return Shift(value, error, shifts.source) if np.isfinite(value) else elsewhere


def _shifts(dataset: Dataset, one_sample: bool) -> Shifts | None:
    """Return what is known for the run of a record."""
    a = dataset.attrs
    quenched = a.get("theory") == "pspin" and np.all(np.isinf(a.get("start_temperature", 0)))
    if not (quenched and a.get("temperature_is_constant")) or np.ndim(a["temperature"]):
        return None
    mixture, T = dict(mixture_from_json(a["mixture"])), float(a["temperature"])
    scheme = _dynamics(a.get("config", ""))
    return shifts_of(mixture, T, int(a["N"]), float(a["time_step"]), scheme, one_sample)


@lru_cache(maxsize=4)
def _dynamics(config: str) -> str:
    """Return the class name of the dynamics in a resolved configuration, or the empty string."""
    try:
        return str(yaml.safe_load(config)["model"]["optimizer"]["class_path"]).split(".")[-1]
    except (yaml.YAMLError, TypeError, KeyError):
        return ""


def _energy(shifts: Shifts, dataset: Dataset, at: dict[str, float]) -> tuple[float, float]:
    value, error = shifts.at("E", at["t"])
    return float(value), float(error)


def _two_time(name: str, factor: float = 1.0) -> Any:
    def read(shifts: Shifts, dataset: Dataset, at: dict[str, float]) -> tuple[float, float]:
        value, error = shifts.at(name, at["t"], at["tw"])
        return factor * float(value), abs(factor) * float(error)

    return read


def _slope(shifts: Shifts, dataset: Dataset, at: dict[str, float]) -> tuple[float, float]:
    """T_eff over a window, of the exact curves with the shifts of C and chi."""
    window = (at["low"], at["high"])
    return _propagated(
        shifts, dataset, at, lambda decay, chi: effective_temperature(decay, chi, window)[0]
    )


def _ratio(shifts: Shifts, dataset: Dataset, at: dict[str, float]) -> tuple[float, float]:
    return _propagated(shifts, dataset, at, lambda decay, chi: float(decay[0] / chi[0]))


def _propagated(
    shifts: Shifts, dataset: Dataset, at: dict[str, float], read: Any
) -> tuple[float, float]:
    """Return the shift of a function of 1 - C and chi; its error, as if those of C were one."""
    if "chi_exact" not in dataset:
        return np.nan, np.nan
    curve = dataset.sel(tw=at["tw"]) if "tw" in dataset.dims else dataset
    known = curve["chi_exact"].notnull().to_numpy()
    t = curve["t"].to_numpy()[known]
    decay, chi = 1 - curve["C_exact"].to_numpy()[known], curve["chi_exact"].to_numpy()[known]
    (dC, error_C), (dchi, error_chi) = (shifts.at(name, t, at["tw"]) for name in ("C", "chi"))
    if not np.isfinite(dC[-1]) or not np.isfinite(dC[0]):
        return np.nan, np.nan
    shifted = read(decay - dC, chi + dchi)
    errors = (
        read(decay - dC + error_C, chi + dchi) - shifted,
        read(decay - dC, chi + dchi + error_chi) - shifted,
    )
    return shifted - read(decay, chi), float(np.hypot(*errors))


_READ: dict[str, Any] = {
    "energy": _energy,
    "C": _two_time("C"),
    "MSD": _two_time("C", -2.0),
    "chi": _two_time("chi"),
    "T_eff": _slope,
    "T_ratio": _ratio,
}
