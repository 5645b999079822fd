"""The record of TemperatureFluctuations: by replica what was measured, by rung what follows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_landscape.callbacks.times import UNITS, axis
from lightning_landscape.observables.dimension import (
    from_mean,
    from_specific_heat,
    from_variance,
    participation_ratio,
)
from lightning_landscape.observables.fluctuations import (
    configurational_temperature_ratio,
    is_off_equilibrium,
)
from lightning_landscape.observables.statistics import rungs

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["fluctuation_record", "invalid_rungs"]

Array = NDArray[np.float64]
Variables = dict[str, Any]

_REPLICA = [
    "temperature", "samples", "lost", "least", "tau_is_lower_bound",
    *[f"{name}{of}" for name in ("mean", "variance", "skewness", "kurtosis", "tau", "drift")
      for of in ("", "_error")],
]  # fmt: skip
_DIMS = {
    **dict.fromkeys(_REPLICA, ("replica",)),
    **dict.fromkeys(("power", "power_error"), ("frequency", "replica")),
    **dict.fromkeys(("gradient_square", "trace", "trace_error"), ("t", "replica")),
    **dict.fromkeys(("near_boundary", "active_data", "batch_temperature"), ("t", "replica")),
    **dict.fromkeys(("msd_stiff", "msd_flat"), ("lag", "replica")),
    "block_means": ("block", "replica"),
    "counts": ("bin", "replica"),
    "edges": ("edge",),
    "eigenvalues": ("t", "replica", "rank"),
    "curvatures": ("replica", "rank"),
}

_SHOWN_BINS = 60


def fluctuation_record(
    tables: dict[str, Tensor], attributes: dict[str, Any], lowest_energy: float
) -> Dataset:
    """Return the tables as a labelled dataset, with the numbers of each temperature (rung).

    A rung's value is the mean over its replicas; its error is their scatter over sqrt(R), or that
    of the estimates themselves where this is larger. ``N_heat`` lies between rungs, at ``T_heat``.
    """
    from xarray import Dataset

    tables, every = _at_measured_temperature(tables), int(tables.get("every", 1))
    tables |= {name: every * tables[name] for name in ("tau", "tau_error") if name in tables}
    if attributes.get("exchanges"):  # a replica is a temperature then, and no single walker
        walks = ("sketch", "lag_step", "msd_stiff", "msd_flat")
        tables = {name: value for name, value in tables.items() if name not in walks}
    time_step = attributes["time_step"]
    between = time_step * every  # two energies of the series
    variables: Variables = {k: (_DIMS[k], v.numpy()) for k, v in tables.items() if k in _DIMS}
    coords: Variables = {**axis("t", tables.get("step", torch.empty(0)).numpy(), time_step)}
    if "energy" in tables:
        variables["full_energy"] = (("t", "replica"), tables["energy"].numpy())
    if "temperature" in tables:
        variables |= _rungs(tables, attributes, lowest_energy)
        for name in ("power", "power_error"):
            variables[name] = (("frequency", "replica"), variables[name][1] * between)
        coords["T"] = ("rung", np.unique(tables["temperature"].numpy()))
        f = torch.arange(len(tables["power"])) / (2 * (len(tables["power"]) - 1) * between)
        coords["frequency"] = ("frequency", f.numpy(), {"units": f"1 / ({UNITS})"})
    if "msd_stiff" in tables:
        since = tables["lag_step"].numpy() - int(tables["lag_step"][0]) + 1
        coords |= axis("lag", since, time_step)
    return Dataset(
        variables,
        coords=coords,
        attrs={"reference": "Jules et al. 2023, arXiv:2304.01335", "lowest_energy": lowest_energy},
    )


def _at_measured_temperature(tables: dict[str, Tensor]) -> dict[str, Tensor]:
    """Where T is that of mini-batches, put its mean over looks and replicas in its place."""
    if "batch_temperature" not in tables or "temperature" not in tables:
        return tables
    first, T = tables["temperature"], tables["batch_temperature"].mean()
    scale = (first[0] / T).nan_to_num(1.0) if T > 0 else torch.tensor(1.0)
    return tables | {"temperature": T.expand_as(first), "edges": tables["edges"] * scale}


def _rungs(
    tables: dict[str, Tensor], attributes: dict[str, Any], lowest_energy: float
) -> Variables:
    temperatures = rungs(tables["temperature"].numpy())
    T, groups = np.array([at for at, _ in temperatures]), [group for _, group in temperatures]
    N, whole = attributes["N"], attributes.get("mini_batches") and "energy" in tables
    found: Variables = {}

    def pool(name: str, values: Tensor, errors: Tensor | None = None) -> None:
        pooled = [_pooled(values.numpy(), None if errors is None else errors.numpy(), g)
                  for g in groups]  # fmt: skip
        found[name], found[f"{name}_error"] = np.array(pooled, dtype=float).T

    if whole:  # the series is that of batches
        pool("U", tables["energy"].mean(0))
        pool("U_variance", tables["energy"].var(0))
    else:
        pool("U", tables["mean"], tables["mean_error"])
        pool("U_variance", tables["variance"], tables["variance_error"])
    pool("U_drift", tables["drift"], tables["drift_error"])
    pool("U_tau", tables["tau"], tables["tau_error"])
    if "trace" in tables:
        pool("full_U", tables["energy"].mean(0))
        pool("tr_H", tables["trace"].mean(0), _mean_error(tables["trace_error"]))
        pool("highest", tables["eigenvalues"][..., 0].mean(0))
        squares, traces = tables["gradient_square"], tables["trace"]
        ratios = [
            _temperature_ratio(squares[:, g], traces[:, g], t)
            for g, t in zip(groups, T, strict=True)
        ]
        found["temperature_ratio"], found["temperature_ratio_error"] = np.array(ratios).T
    for name in ("near_boundary", "active_data", "batch_temperature"):
        if name in tables:
            pool(f"mean_{name}", tables[name].mean(0))
    if "sketch" in tables and len(tables["sketch"]) >= 4:
        size = tables["sketch"].shape[-1]
        pool("N_participation", participation_ratio(tables["sketch"], size if size < N else None))
    of_rungs = {name: (("rung",), value) for name, value in found.items()}
    densities = {} if whole else _densities(tables, groups)
    return of_rungs | _dimensions(found, T, lowest_energy) | densities


def _mean_error(errors: Tensor) -> Tensor:
    return errors.square().sum(0).sqrt() / len(errors)


def _pooled(values: Array, errors: Array | None, group: NDArray[np.intp]) -> tuple[float, float]:
    """Return the mean over replicas and its error; nan where neither scatter nor error is known."""
    some, n = values[group], len(group)
    scatter = some.std(ddof=1) / n**0.5 if n > 1 else np.nan
    own = np.nan if errors is None else float(np.sqrt((errors[group] ** 2).sum()) / n)
    known = [e for e in (scatter, own) if np.isfinite(e)]
    return float(some.mean()), max(known, default=np.nan)


def _temperature_ratio(squares: Tensor, traces: Tensor, temperature: float) -> tuple[float, float]:
    """Pool a rung: the error is over replicas where there are three, else over looks."""
    if temperature == 0:
        return np.nan, np.nan
    over_replicas = squares.shape[1] >= 3
    gradient, trace = (x.mean(0) if over_replicas else x.mean(1) for x in (squares, traces))
    return configurational_temperature_ratio(gradient, trace, temperature)


def _dimensions(found: dict[str, Array], T: Array, lowest_energy: float) -> Variables:
    hot = np.where(T > 0, T, np.nan)
    numbers = {
        "N_mean": from_mean(found["U"], hot, lowest_energy),
        "N_mean_error": from_mean(found["U_error"], hot),
        "N_var": from_variance(found["U_variance"], hot),
        "N_var_error": from_variance(found["U_variance_error"], hot),
    }
    variables: Variables = {name: (("rung",), value) for name, value in numbers.items()}
    if len(T) > 1:
        heat = from_specific_heat(found["U"], found["U_error"], T)
        names = ("T_heat", "N_heat", "N_heat_error")
        variables |= {name: (("interval",), value) for name, value in zip(names, heat, strict=True)}
    return variables


def _densities(tables: dict[str, Tensor], groups: list[NDArray[np.intp]]) -> Variables:
    """The density of U/T of each rung in some 60 bins; the error is the scatter of its replicas."""
    counts, edges = tables["counts"].double().numpy(), tables["edges"].numpy()
    if counts.sum() == 0:
        return {}
    seen = np.flatnonzero(counts.any(1))
    wide = max(1, round((seen[-1] + 1 - seen[0]) / _SHOWN_BINS))
    starts = np.arange(seen[0], seen[-1] + 1, wide)
    ends = np.append(starts[1:], min(starts[-1] + wide, len(counts)))
    widths = edges[ends] - edges[starts]
    per_replica = np.add.reduceat(counts, starts) / counts.sum(0) / widths[:, None]
    density = np.stack([per_replica[:, g].mean(1) for g in groups], 1)
    scatter = [
        per_replica[:, g].std(1, ddof=1) / len(g) ** 0.5 if len(g) > 1 else widths * np.nan
        for g in groups
    ]
    return {
        "density": (("level", "rung"), density),
        "density_error": (("level", "rung"), np.stack(scatter, 1)),
        "U_over_T": (("level",), (edges[starts] + edges[ends]) / 2),
    }


def invalid_rungs(record: Dataset) -> Iterator[tuple[float, float, float]]:
    """Yield T, the configurational temperature ratio and its error where it is off equilibrium."""
    if "temperature_ratio" not in record:
        return
    ratios, errors = (
        record["temperature_ratio"].to_numpy(),
        record["temperature_ratio_error"].to_numpy(),
    )
    for T, ratio, error in zip(record["T"].to_numpy(), ratios, errors, strict=True):
        if is_off_equilibrium(ratio, error):
            yield float(T), float(ratio), float(error)
