"""Thermodynamics of the minima, each a harmonic well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from lightning_landscape.errors import require

__all__ = ["Superposition"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Superposition:
    r"""The harmonic superposition of minima, classical, with unit masses.

        ln Z_i = -E_i/T - L_i/2 - ln h_i + (kappa/2) ln(2 \pi T),   Z = n \sum_i Z_i

    with n/h_i copies of minimum i by symmetry; a factor common to all minima is left out. It is
    the leading order at low temperature, and too stiff above melting.

    Args:
        energy: E_i, shape (n,).
        log_product: L_i, the logarithm of the product of the kappa positive eigenvalues.
        order: h_i, the orders of the symmetry groups; 1 where there is no symmetry.
        modes: kappa, 3 n - 6 for a cluster.

    Raises:
        UsageError: the shapes differ, there are no minima, or an order is below 1.

    Source: Stillinger, Weber 1982, Phys. Rev. A 25, 978; Wales 1993, Mol. Phys. 78, 151.

    >>> two = Superposition([0.0, 1.0], [0.0, 0.0], [1, 1], modes=0)
    >>> two.occupation(1.0).round(4).tolist()
    [0.7311, 0.2689]
    """

    energy: ArrayLike
    log_product: ArrayLike
    order: ArrayLike
    modes: int

    def __post_init__(self) -> None:
        n = np.size(self.energy)
        require(n >= 1, "energy", n, "needs at least one minimum")
        for name in ("log_product", "order"):
            size = np.size(getattr(self, name))
            require(size == n, name, f"of {size} minima", f"must be of {n}, as energy")
        require(
            bool(np.all(np.asarray(self.order) >= 1)), "order", self.order, "must be at least 1"
        )
        require(self.modes >= 0, "modes", self.modes, "must be at least 0")

    def log_weights(self, temperature: ArrayLike) -> Array:
        """Return ln Z_i, shape (…, n), at temperatures of shape (…)."""
        T = np.asarray(temperature, dtype=float)[..., None]
        require(bool((T > 0).all()), "temperature", temperature, "must be above 0")
        constant = np.asarray(self.log_product) / 2 + np.log(self.order)
        return self.modes / 2 * np.log(2 * np.pi * T) - np.asarray(self.energy) / T - constant

    def log_partition(self, temperature: ArrayLike) -> Array:
        """Return ln Z, shape (…), up to a constant."""
        return logsumexp(self.log_weights(temperature), axis=-1)

    def occupation(self, temperature: ArrayLike) -> Array:
        """Return the equilibrium probabilities of the minima, shape (…, n)."""
        log_weights = self.log_weights(temperature)
        return np.exp(log_weights - logsumexp(log_weights, axis=-1, keepdims=True))

    def excess_heat_capacity(self, temperature: ArrayLike) -> Array:
        """Return (<E^2> - <E>^2) / T^2 over the minima, shape (…): what hopping between them adds.

        The heat capacity is this plus kappa/2 of the potential energy and as much of the kinetic.

        >>> two = Superposition([0.0, 1.0], [0.0, 0.0], [1, 1], modes=0)
        >>> float(two.excess_heat_capacity(1.0).round(6))
        0.196612
        """
        p, E = self.occupation(temperature), np.asarray(self.energy, dtype=float)
        E = E - E.min()  # differences of large numbers
        mean = (p * E).sum(-1)
        return (p * (E - mean[..., None]) ** 2).sum(-1) / np.asarray(temperature) ** 2

    def mean_energy(self, temperature: ArrayLike) -> Array:
        """Return the mean potential energy, sum_i p_i E_i + kappa T / 2, shape (…)."""
        weighted = (self.occupation(temperature) * np.asarray(self.energy)).sum(-1)
        return weighted + self.modes / 2 * np.asarray(temperature)
