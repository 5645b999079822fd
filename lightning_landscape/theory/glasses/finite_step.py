"""The exact dynamics of spherical glasses in discrete time, N to infinity.

The error that a step dt > 0 makes, as compared with continuous time, follows without a run. The
step of `Langevin` (Euler-Maruyama) and of `LeimkuhlerMatthews` on the sphere is, for N to infinity,

    x_{n+1} = A_n x_n + B_n F_n + D_n eta_n,    B_n = dt / rho_n,  D_n = a / rho_n,
    A_n = (1 - dt <F_n x_n> - a <eta_n x_n>) / rho_n,    rho_n = |x_n + tangent step| / sqrt(N),

with F the force, eta the noise and <> the mean over the sites. The force of a Gaussian landscape
of covariance f is a Gaussian process of covariance f'(C(n, m)) plus sum_{m<n} f''(C(n, m)) R(n, m)
x_m, where R(n, m) is the response of x_n to a field at step m. The equations for C and R are
derived like those of Cugliandolo and Kurchan, which are their limit dt -> 0.

Source: derived here, by the method of De Dominicis 1978, Phys. Rev. B 18, 4913, for a discrete
recursion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from lightning_landscape.errors import require
from lightning_landscape.theory.glasses.mixture import Array, Mixture

__all__ = ["MOST_STEPS", "DiscreteSolution", "Scheme", "solve_discrete"]

Scheme = Literal["Langevin", "LeimkuhlerMatthews"]
MOST_STEPS = 4000  # 0.4 GB and a minute


class DiscreteSolution(NamedTuple):
    """The solution at the steps k = 0 … n, at the times k dt.

    Attributes:
        energy: E per spin, shape (n + 1,).
        correlation: C(i, j), symmetric, shape (n + 1, n + 1).
        integrated_response: chi(i, j) to a field from step j on, 0 for i <= j; same shape.
    """

    energy: Array
    correlation: Array
    integrated_response: Array


def solve_discrete(
    mixture: Mapping[int, float],
    temperature: float,
    time_step: float,
    steps: int,
    scheme: Scheme = "Langevin",
) -> DiscreteSolution:
    """Return C, chi and E after a quench from a random start, for a finite step size.

    Args:
        mixture: {p: a_p}; {3: 0.5} is the pure 3-spin.
        temperature: T >= 0.
        time_step: dt.
        steps: n, the number of steps.
        scheme: the name of the dynamics.

    Raises:
        UsageError: an argument is outside its range.

    Cost: 10 n^3 additions and 24 n^2 bytes: 0.2 s for n = 500, 1.3 s for 1000, 10 s for 2000.

    >>> found = solve_discrete({3: 0.5}, temperature=0.3, time_step=0.08, steps=250)
    >>> round(float(found.energy[-1]), 4)  # E(20); in continuous time -0.9511
    -0.9312
    """
    require(0 <= temperature < math.inf, "temperature", temperature, "must be at least 0")
    require(0 < time_step < math.inf, "time_step", time_step, "must be positive")
    require(1 <= steps <= MOST_STEPS, "steps", steps, f"must be in 1 … {MOST_STEPS}")
    known = ("Langevin", "LeimkuhlerMatthews")
    require(scheme in known, "scheme", scheme, f"must be one of {', '.join(known)}")
    f, dt = Mixture(dict(mixture)), time_step
    overlapping = scheme == "LeimkuhlerMatthews"
    strength = _strength(temperature, dt, overlapping)  # a^2, for each of the normal numbers in eta
    C, R = np.zeros((steps + 1, steps + 1)), np.zeros((steps + 1, steps + 1))
    E, noise_before = np.zeros(steps + 1), 0.0
    C[0, 0] = 1.0
    for n in range(steps):
        c, r = C[n, : n + 1], R[n, :n]
        memory, colour = f(c[:n], 2) * r, f(c[:n], 1)
        E[n] = -colour @ r
        random = R[: n + 1, :n] @ colour  # <zeta_n x_m>, zeta the Gaussian part of the force
        force = memory @ C[:n, : n + 1] + random  # <F_n x_m>
        square = memory @ (force[:n] + random[:n]) + float(f(1.0, 1))  # <F_n F_n>
        along = math.sqrt(strength) * noise_before  # a <eta_n x_n>
        noise = strength * (2 if overlapping else 1)
        length = dt**2 * (square - force[n] ** 2) + noise - along**2 - 2 * dt * force[n] * along
        rho = math.sqrt(1 + length)
        A, B, D = (1 - dt * force[n] - along) / rho, dt / rho, math.sqrt(strength) / rho
        C[n + 1, : n + 1] = A * c + B * force
        if overlapping:
            C[n + 1, n] += D * noise_before
            noise_before = D
        C[n + 1, n + 1] = 1.0
        C[: n + 1, n + 1] = C[n + 1, : n + 1]
        R[n + 1, :n] = A * r + B * (memory @ R[:n, :n])
        R[n + 1, n] = B
    E[steps] = -f(C[steps, :steps], 1) @ R[steps, :steps]
    return DiscreteSolution(E, C, np.flip(np.flip(R, 1).cumsum(1), 1))


def _strength(T: float, dt: float, overlapping: bool) -> float:
    """Return the variance of each normal number of a step; the two classes derive it."""
    return 2 * dt * T * (1 + dt * T / 2) / 4 if overlapping else 2 * dt * T
