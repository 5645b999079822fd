"""The table of finite-size and finite-step shifts, made from the record of a study.

python -m lightning_landscape.studies.finite_size.table RECORD [TABLE]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lightning_landscape import records
from lightning_landscape.studies.finite_size.law import Law
from lightning_landscape.studies.finite_size.samples import mean_and_error
from lightning_landscape.theory.glasses.cugliandolo_kurchan import solve
from lightning_landscape.theory.glasses.finite_size import TABLE
from lightning_landscape.theory.glasses.finite_step import Scheme, solve_discrete
from lightning_landscape.theory.glasses.mixture import mixture_from_json

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["disorder_variance", "fit_gaps", "shift_table"]

Array = NDArray[np.float64]

_SCHEMES: tuple[Scheme, ...] = ("Langevin", "LeimkuhlerMatthews")
_LAW = Law((1.0, 2.0))
_SOURCE = "1/N fit"


def shift_table(samples: Dataset, command: str) -> dict[str, Any]:
    """Return the coefficients b of the sizes, c of the step and d of the samples of the disorder.

    Args:
        samples: the record of a `FiniteSize` study of a spherical glass under `Langevin`; its
            samples at the longest step are used.
        command: by which it was made.
    """
    a = samples.attrs
    mixture, T, dt = mixture_from_json(a["mixture"]), a["temperature"], a["time_step"]
    t, tw = samples["t"].to_numpy(), samples["tw"].to_numpy()
    exact = _exact(dict(mixture), T, t, tw)
    steps = {scheme: _of_step(dict(mixture), T, dt, scheme, t, tw, exact) for scheme in _SCHEMES}
    coarse = samples.isel(run=np.flatnonzero(samples["time_step"] == dt))
    at_step = {
        name: exact[name] + c[0] * dt + c[1] * dt**2 for name, c in steps["Langevin"].items()
    }
    size = {name: fit_gaps(coarse, name, at_step[name], _LAW) for name in ("E", "C", "chi")}
    return {
        "command": command,
        "source": _SOURCE,
        "mixture": {str(p): c for p, c in mixture.items()},
        "temperature": T,
        "sizes": np.unique(coarse["N"]).tolist(),
        "exponents": list(_LAW.exponents),
        "t": t.tolist(),
        "tw": tw.tolist(),
        "size": {
            name: {"coefficients": _json(b), "covariance": _json(covariance)}
            for name, (b, covariance, _) in size.items()
        },
        "disorder": {name: _json(disorder_variance(coarse, name)) for name in size},
        "step": {
            scheme: {name: _json(c) for name, c in found.items()} for scheme, found in steps.items()
        },
    }


def fit_gaps(samples: Dataset, name: str, limit: Array, law: Law) -> tuple[Array, Array, Array]:
    """Fit X(N) - limit by b_1 N^-w_1 + …, the limit being known.

    Returns:
        b, shape (terms, …); its covariance, enlarged by chi^2 per degree of freedom where that is
        above 1; and chi^2.
    """
    sizes = np.unique(samples["N"])
    found = [mean_and_error(samples, name, np.flatnonzero(samples["N"] == N)) for N in sizes]
    gaps, errors = np.stack([mean for mean, _ in found]) - limit, np.stack([e for _, e in found])
    A = law.design(sizes, np.zeros(len(sizes)))[:, 1:]
    shape, K = gaps.shape[1:], A.shape[1]
    b, covariance = np.full((K, *shape), np.nan), np.full((K, K, *shape), np.nan)
    chi2 = np.full(shape, np.nan)
    for place in np.ndindex(shape):
        y, sigma = gaps[:, *place], errors[:, *place]
        if not (np.isfinite(y) & (sigma > 0)).all():
            continue
        scaled = A / sigma[:, None]
        inverse = np.linalg.inv(scaled.T @ scaled)
        fitted = inverse @ scaled.T @ (y / sigma)
        chi2[place] = np.square((y - A @ fitted) / sigma).sum()
        excess = max(1.0, chi2[place] / max(1, len(y) - K))
        b[:, *place], covariance[:, :, *place] = fitted, inverse * excess
    return b, covariance, chi2


def disorder_variance(samples: Dataset, name: str) -> Array:
    """Return d of Var_J X = d / N^2, the variance of X between samples of the disorder.

    The variance of the means of R replicas contains 1/R of that between the replicas of a sample,
    which is subtracted. What is left, times N^2, is averaged over the sizes with weights according
    to its error, and set to 0 where that is negative.

    Args:
        samples: X and ``X_variance`` of each run, with N; R > 1 in the attribute ``replicas``.
        name: X.
    """
    R, sizes = samples.attrs["replicas"], np.unique(samples["N"])
    total = weight = 0.0
    for N in sizes:
        runs = samples.isel(run=np.flatnonzero(samples["N"] == N))
        between = runs[name].to_numpy().var(0, ddof=1)
        within = runs[f"{name}_variance"].to_numpy().mean(0) / R
        of_size = (runs.sizes["run"] - 1) / (N**2 * within) ** 2
        total = total + of_size * N**2 * (between - within)
        weight = weight + of_size
    mean: Array = np.maximum(total / weight, 0.0)  # nan stays nan
    return mean


def _exact(mixture: dict[int, float], T: float, t: Array, tw: Array) -> dict[str, Array]:
    solution = solve(mixture, T, t[-1] * (1 + 1e-9), tolerance=1e-5)
    early, lag = np.meshgrid(tw, t, indexing="ij")
    inside = early + lag <= t[-1] * (1 + 1e-9)
    late = np.where(inside, early + lag, early)
    return {
        "E": solution.energy(t),
        "C": np.where(inside, solution.correlation(late, early), np.nan),
        "chi": np.where(inside, solution.integrated_response(late, early), np.nan),
    }


def _of_step(
    mixture: dict[int, float],
    T: float,
    dt: float,
    scheme: Scheme,
    t: Array,
    tw: Array,
    exact: dict[str, Array],
) -> dict[str, Array]:
    """Return c_1 and c_2 of each quantity, from the exact dynamics at dt and dt / 2."""
    shifts = []
    for h in (dt, dt / 2):
        steps, waits = (np.rint(x / h).astype(int) for x in (t, tw))
        found = solve_discrete(mixture, T, h, int(steps[-1]), scheme)
        late = waits[:, None] + steps
        inside = late <= steps[-1]
        late = np.where(inside, late, 0)
        two_times = {
            "C": found.correlation[late, waits[:, None]],
            "chi": found.integrated_response[late, waits[:, None]],
        }
        at = {"E": found.energy[steps]} | {
            name: np.where(inside, x, np.nan) for name, x in two_times.items()
        }
        shifts.append({name: at[name] - exact[name] for name in exact})
    full, half = shifts
    return {
        name: np.stack(
            [(4 * half[name] - full[name]) / dt, (full[name] - 2 * half[name]) * 2 / dt**2]
        )
        for name in exact
    }


def _json(values: Array) -> Any:
    """Return lists of numbers of six digits, with None for nan."""
    if values.ndim:
        return [_json(part) for part in values]
    return None if np.isnan(values) else float(f"{float(values):.6g}")


def _made_by(samples: Dataset) -> str:
    """Return the commands that make the table, with the number of samples of each size."""
    sizes, counts = np.unique(samples["N"], return_counts=True)
    of_sizes = ", ".join(f"{n} samples at N = {N}" for N, n in zip(sizes, counts, strict=True))
    return (
        f"{of_sizes}: python -m lightning_landscape study --config configs/pspin/finite_size.yaml, "
        "then python -m lightning_landscape.studies.finite_size.table RECORD"
    )


def main(record: str, table: str = str(TABLE)) -> None:
    """Write the table of a record."""
    samples = records.read(record)
    made = shift_table(samples, _made_by(samples))
    text = json.dumps(made, indent=None, separators=(", ", ": "))
    Path(table).write_text(text + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
