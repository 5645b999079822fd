"""Models beside the fluctuations of U: Gamma law, harmonic displacement, exponential walls.

They have measured parameters, so that the names of what they add do not end with ``_exact``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["with_gamma_law", "with_harmonic_displacement", "with_walls"]


def with_gamma_law(dataset: Dataset) -> Dataset:
    """Add the density of U/T in a quadratic valley with the measured mean, ``density_gamma``."""
    from lightning_landscape.theory.thermal.valleys import QuadraticValley

    x = dataset["U_over_T"].to_numpy()
    least = dataset.attrs["lowest_energy"] / dataset["T"].where(dataset["T"] > 0, 1)
    laws = [
        QuadraticValley(float(N)).density(x - float(u), 1.0) if N > 0 else 0 * x
        for N, u in zip(dataset["N_mean"], least, strict=True)
    ]
    return dataset.assign(density_gamma=(("level", "rung"), np.stack(laws, 1)))


def with_harmonic_displacement(dataset: Dataset) -> Dataset:
    """Add displacements of steps in quadratic valleys of the measured curvatures, and free ones."""
    from lightning_landscape.theory.thermal.harmonic import mean_square_displacement

    R = dataset.sizes["replica"]
    steps = np.rint(dataset["lag"].to_numpy() / dataset.attrs["time_step"])
    lr, T = np.broadcast_to(dataset.attrs["lr"], R), dataset["temperature"].to_numpy()

    def moved(replica: int, curvature: float) -> NDArray[np.float64]:
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


def with_walls(dataset: Dataset) -> Dataset:
    """Add the exponential walls that fit 2 <U>/T and 2 Var U/T^2, and their curvature."""
    from lightning_landscape.theory.thermal.boundary_fit import fit_walls

    T, U = dataset["T"].to_numpy(), dataset["U"]
    N_mean, N_var = (
        (dataset[name].to_numpy(), dataset[f"{name}_error"].to_numpy())
        for name in ("N_mean", "N_var")
    )
    stiffness = float((dataset["tr_H"] / U).mean()) if "tr_H" in dataset else 1.0
    if stiffness <= 0:
        return dataset
    walls = fit_walls(T, N_mean, N_var, stiffness)
    if walls is None:  # kappa^2 = tr H / U is a property of walls whatever U(T) is
        told = {"walls": "no walls fit U(T)"}
        return dataset.assign(tr_H_walls=stiffness * U).assign_attrs(told)
    of_mean, of_variance, _ = walls.dimensions(T)
    curves = {
        "U_walls": walls.mean(T),
        "U_variance_walls": walls.variance(T),
        "N_mean_walls": of_mean,
        "N_var_walls": of_variance,
        "tr_H_walls": walls.curvature(T),
    }
    lowest = np.exp(-walls.steepness * walls.length)
    return dataset.assign({name: ("rung", curve) for name, curve in curves.items()}).assign_attrs(
        walls=f"M = {walls.number:.4g} walls down to u = {lowest:.3g}, kappa^2 = {stiffness:.4g}"
    )
