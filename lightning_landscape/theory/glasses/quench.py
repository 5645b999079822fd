"""A quench of a spherical glass: the model, its two temperatures, and functionals of C and R."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lightning_landscape.errors import require
from lightning_landscape.theory.glasses.mixture import Mixture
from lightning_landscape.theory.glasses.pspin import static_transition
from lightning_landscape.theory.glasses.ratio_grid import Array

__all__ = ["Quench"]


@dataclass(frozen=True)
class Quench:
    """Covariance f, temperature T after t = 0 and inverse temperature beta of the start.

    Below, C and R are rows (..., L) at one time t and L waiting times, the first of which is 0,
    and ``weights`` (L,) are the quadrature weights of the integral over the waiting times.

    Attributes:
        f: the covariance.
        temperature: T >= 0 from t = 0 on.
        beta: 1/T_0 of the equilibrium start; 0 for a random one.
    """

    f: Mixture
    temperature: float
    beta: float

    @classmethod
    def of(
        cls, mixture: Mapping[int, float], temperature: float, start_temperature: float
    ) -> Quench:
        """Return the quench from ``start_temperature`` to ``temperature``.

        Raises:
            UsageError: T < 0, or T_0 < T_K, where a planted configuration is not in equilibrium.
        """
        f = Mixture(mixture)
        require(0 <= temperature < math.inf, "temperature", temperature, "must be at least 0")
        lowest = static_transition(f).temperature
        admissible = f"must be at least T_K = {lowest:.6g}"
        require(start_temperature >= lowest, "start_temperature", start_temperature, admissible)
        return cls(f, temperature, 1 / start_temperature)

    @property
    def rate(self) -> float:
        """The microscopic rate: mu at t = 0 plus mu in the aging state."""
        f1, f2 = float(self.f(1.0, 1)), float(self.f(1.0, 2))
        return self.temperature + self.beta * f1 + 2 * math.sqrt(f2)

    def energy(self, C: Array, R: Array, weights: Array) -> Array:
        """Return E = -int f'(C) R - beta f(C(t,0)), shape (...)."""
        return -(self.f(C, 1) * R) @ weights - self.beta * self.f(C[..., 0])

    def multiplier(self, C: Array, R: Array, weights: Array) -> Array:
        """Return mu = T + int [f''(C) C + f'(C)] R + beta f'(C(t,0)) C(t,0), shape (...)."""
        memory = ((self.f(C, 2) * C + self.f(C, 1)) * R) @ weights
        return self.temperature + memory + self.beta * self.f(C[..., 0], 1) * C[..., 0]

    def multiplier_gradient(self, C: Array, R: Array, weights: Array) -> tuple[Array, Array]:
        """Return the derivatives of mu with respect to one row C and R, each of shape (L,)."""
        f1, f2, f3 = (self.f(C, order) for order in (1, 2, 3))
        from_C = weights * (f3 * C + 2 * f2) * R
        from_C[0] += self.beta * (f2[0] * C[0] + f1[0])
        return from_C, weights * (f2 * C + f1)

    def short_times(self, t: Array, waiting: Array) -> tuple[Array, Array]:
        """Return C(t, t') and R(t, t') to second order in the times."""
        T, beta, f1, f2 = self.temperature, self.beta, self.f(1.0, 1), self.f(1.0, 2)
        mu, slope = T + beta * f1, (f1 + f2) * (1 - beta * T)
        tau = t - waiting
        C = 1 - T * tau + (T**2 - f1 + 2 * beta * f1 * T) * tau**2 / 2
        R = 1 - mu * tau - slope * (t**2 - waiting**2) / 2 + (mu**2 + f2) * tau**2 / 2
        return C, R
