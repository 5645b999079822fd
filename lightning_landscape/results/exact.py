"""The exact curve beside the measurement: fills records with what theory says of the same run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.errors import UsageError

if TYPE_CHECKING:
    from xarray import Dataset

    from lightning_landscape.theory.glasses.cugliandolo_kurchan import Solution
    from lightning_landscape.theory.glasses.mixture import Array

__all__ = ["with_exact"]

# The semicircle ends steeply: bins are compared with its mean, not with its value at the centre.
_POINTS_PER_BIN = 32

logger = logging.getLogger(__name__)


def with_exact(dataset: Dataset) -> Dataset:
    """Return the record with ``<name>_exact`` beside each variable that theory knows.

    For spherical p-spin glasses at constant temperature this is the solution of the
    Cugliandolo-Kurchan equations, N to infinity, from the same start; with a replica axis where
    the replicas differ in temperature. Other records come back as
    they are. The spectrum of a Hessian gets the semicircle around the measured multiplier, at any
    temperature; the fluctuations of U get the models that are fitted to them.
    """
    if dataset.attrs.get("theory") == "perceptron" and "gap" in dataset:
        return _jammed(dataset)
    if dataset.attrs.get("theory") == "pspin" and "multiplier" in dataset:
        return _semicircle(dataset)
    if dataset.attrs.get("probe") == "TemperatureFluctuations":
        return _thermal(dataset)
    known = {
        "EnergyRelaxation": _exact_energy,
        "AgingCorrelation": _exact_correlation,
        "LinearResponse": _exact_response,
        "FieldResponse": _exact_response,
        "DamageSpreading": _exact_damage,
    }
    if dataset.attrs.get("theory") != "pspin" or dataset.attrs.get("probe") not in known:
        return dataset
    if not dataset.attrs["temperature_is_constant"]:
        return dataset
    try:
        filled = known[dataset.attrs["probe"]](dataset)
    except (UsageError, ArithmeticError) as error:  # the measurement is worth more than the curve
        logger.warning("no exact curve beside %s: %s", dataset.attrs["probe"], error)
        return dataset
    return filled.assign_attrs(
        theory_reference="Cugliandolo, Kurchan 1993, PRL 71, 173; N to infinity"
    )


def _exact_energy(dataset: Dataset) -> Dataset:
    t = dataset["t"].to_numpy()
    energy = _each(dataset, t.max(), lambda solution: solution.energy(t))
    return dataset.assign(energy_exact=(("t", "replica")[: energy.ndim], energy))


def _exact_correlation(dataset: Dataset) -> Dataset:
    tw, t = np.meshgrid(dataset["tw"], dataset["t"], indexing="ij")
    measured = dataset["C"].notnull().any("replica").to_numpy()
    late, early = (tw + t)[measured], tw[measured]

    def correlation(solution: Solution) -> Array:
        C = np.full(tw.shape, np.nan)
        C[measured] = solution.correlation(late, early)
        return C

    if not measured.any():
        return dataset
    C = _each(dataset, late.max(), correlation)
    dims = ("tw", "t", "replica")[: C.ndim]
    return dataset.assign(C_exact=(dims, C), MSD_exact=(dims, 2 - 2 * C))


def _exact_response(dataset: Dataset) -> Dataset:
    tw, t = np.meshgrid(dataset["tw"], dataset["t"], indexing="ij")

    def response(solution: Solution) -> Array:
        return solution.integrated_response(tw + t, tw)

    chi = _each(dataset, (tw + t).max(), response)
    chi[dataset["chi"].isnull().all("replica").to_numpy()] = np.nan
    return _exact_correlation(dataset).assign(chi_exact=(("tw", "t", "replica")[: chi.ndim], chi))


def _exact_damage(dataset: Dataset) -> Dataset:
    """In equilibrium two paths from one start are one path of twice the length."""
    T, T0 = dataset.attrs["temperature"], dataset.attrs["start_temperature"]
    if np.ndim(T) > 0 or np.ndim(T0) > 0 or not np.isclose(T, T0):
        return dataset
    t = dataset["t"].to_numpy()
    C = _each(dataset, 2 * t.max(), lambda solution: solution.correlation(2 * t, 0.0))
    return dataset.assign(d2_exact=("t", 2 - 2 * C))


def _each(dataset: Dataset, t_max: float, curve: Callable[[Solution], Array]) -> Array:
    """Return the curve of the dataset's temperatures, replica axis last where they are several."""
    a = dataset.attrs
    pairs = np.stack(np.broadcast_arrays(a["temperature"], a["start_temperature"]), -1)
    distinct, which = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
    curves = np.stack([curve(_solve(a["mixture"], T, T0, t_max)) for T, T0 in distinct], -1)
    return curves[..., which] if pairs.ndim > 1 else curves[..., 0]


@lru_cache(maxsize=2)
def _solve(mixture: str, temperature: float, start_temperature: float, t_max: float) -> Solution:
    from lightning_landscape.theory.glasses.cugliandolo_kurchan import solve
    from lightning_landscape.theory.glasses.pspin import mixture_from_json

    return solve(mixture_from_json(mixture), temperature, t_max, start_temperature)


def _jammed(dataset: Dataset) -> Dataset:
    """Add loss, N_Delta and the densities of the gaps, one a side, of the ground state."""
    from lightning_landscape.theory.jamming import perceptron_jammed

    a, edges = dataset.attrs, dataset["edge"].to_numpy()
    try:
        state = perceptron_jammed(a["load"], a["margin"])
    except UsageError:  # below capacity what is found depends on the dynamics; far above, unknown
        return dataset
    loss, share = state.energy / state.load, state.unsatisfied / state.load
    x = np.sqrt(edges[1:] * edges[:-1])
    return dataset.assign(
        loss_exact=loss,
        unsatisfied_exact=a["N"] * state.unsatisfied,
        positive_rescaled_exact=("bin", state.gap_density(x * loss**0.5) * loss**0.5 / share),
        negative_exact=("bin", state.gap_density(-x) / (1 - share)),
    ).assign_attrs(theory_reference="Gardner 1988, J. Phys. A 21, 257; N to infinity")


def _semicircle(dataset: Dataset) -> Dataset:
    """Add edges, density and index of the semicircle of radius 2 sqrt(f''(1)) around mean mu."""
    from lightning_landscape.theory.glasses.pspin import hessian_edges, mixture_from_json
    from lightning_landscape.theory.random_matrices import semicircle_density

    mixture = mixture_from_json(dataset.attrs["mixture"])
    mu = dataset["multiplier"].mean("replica").to_numpy()
    lower, upper = np.array([hessian_edges(mixture, m) for m in mu]).T
    radius = (upper[0] - lower[0]) / 2
    edges = dataset["edges"].to_numpy()
    inside = (np.arange(_POINTS_PER_BIN) + 0.5) / _POINTS_PER_BIN
    points = edges[:, :-1, None] + np.diff(edges)[..., None] * inside  # (t, bin, point)
    density = [semicircle_density(x, radius, m).mean(-1) for x, m in zip(points, mu, strict=True)]
    x = np.clip(mu / radius, -1, 1)
    return dataset.assign(
        lower_edge_exact=("t", lower),
        upper_edge_exact=("t", upper),
        density_exact=(("t", "bin"), np.array(density)),
        trace_of_square_exact=("t", (dataset.attrs["N"] - 1) * (mu**2 + radius**2 / 4)),
        negative_exact=("t", (np.arccos(x) - x * np.sqrt(1 - x**2)) / np.pi),
    ).assign_attrs(theory_reference="Cavagna, Giardina, Parisi 1998, PRB 57, 11251; N to infinity")


def _thermal(dataset: Dataset) -> Dataset:
    """Add the Gamma law of the same mean, harmonic displacements and, for a ladder, walls."""
    from lightning_landscape.theory.thermal.valleys import QuadraticValley

    if "density" in dataset:
        x = dataset["U_over_T"].to_numpy()
        least = dataset.attrs["lowest_energy"] / dataset["T"].where(dataset["T"] > 0, 1)
        laws = [
            QuadraticValley(float(N)).density(x - float(u), 1.0) if N > 0 else 0 * x
            for N, u in zip(dataset["N_mean"], least, strict=True)
        ]
        dataset = dataset.assign(density_gamma=(("level", "rung"), np.stack(laws, 1)))
    if "msd_stiff" in dataset and "lr" in dataset.attrs:
        dataset = _harmonic(dataset)
    known = dataset.sizes.keys() >= {"rung", "interval"} and (dataset["T"] > 0).all()
    if known and (dataset[["U_error", "U_variance_error"]].to_array() > 0).all():
        return _walls(dataset)
    return dataset


def _harmonic(dataset: Dataset) -> Dataset:
    """Add displacements of steps in quadratic valleys of the measured curvatures, and free ones."""
    from lightning_landscape.theory.thermal.harmonic import mean_square_displacement

    R = dataset.sizes["replica"]
    steps = np.rint(dataset["lag"].to_numpy() / dataset.attrs["time_step"])
    lr, T = np.broadcast_to(dataset.attrs["lr"], R), dataset["temperature"].to_numpy()

    def moved(replica: int, curvature: float) -> np.ndarray:
        # a step beyond the stability of the valley has no stationary law
        if not 0 <= lr[replica] * curvature < 2:
            return np.full(len(steps), np.nan)
        return mean_square_displacement(steps * lr[replica], curvature, T[replica], lr[replica])

    curvatures = dataset["curvatures"].to_numpy()
    stiff = [np.mean([moved(r, c) for c in curvatures[r]], axis=0) for r in range(R)]
    return dataset.assign(
        msd_stiff_harmonic=(("lag", "replica"), np.stack(stiff, 1)),
        msd_flat_harmonic=(("lag", "replica"), np.stack([moved(r, 0.0) for r in range(R)], 1)),
    )


def _walls(dataset: Dataset) -> Dataset:
    """Add the exponential walls that fit 2 <U>/T and 2 Var U/T^2, and their curvature."""
    from lightning_landscape.theory.thermal.boundary_fit import fit_walls

    T, U = dataset["T"].to_numpy(), dataset["U"]
    pairs = [
        (dataset[name].to_numpy(), dataset[f"{name}_error"].to_numpy())
        for name in ("N_mean", "N_var")
    ]
    stiffness = float((dataset["tr_H"] / U).mean()) if "tr_H" in dataset else 1.0
    if stiffness <= 0:
        return dataset
    walls = fit_walls(T, pairs[0], pairs[1], stiffness)
    if walls is None:  # kappa^2 = tr H / U is a property of walls whatever U(T) is
        told = {"walls": "no walls fit U(T)"}
        return dataset.assign(tr_H_walls=stiffness * U).assign_attrs(told)
    N_mean, N_var, _ = walls.dimensions(T)
    curves = {
        "U_walls": walls.mean(T),
        "U_variance_walls": walls.variance(T),
        "N_mean_walls": N_mean,
        "N_var_walls": N_var,
        "tr_H_walls": walls.curvature(T),
    }
    lowest = np.exp(-walls.steepness * walls.length)
    return dataset.assign({name: ("rung", curve) for name, curve in curves.items()}).assign_attrs(
        walls=f"M = {walls.number:.4g} walls down to u = {lowest:.3g}, kappa^2 = {stiffness:.4g}"
    )
