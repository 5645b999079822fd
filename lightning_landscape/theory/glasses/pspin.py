"""The spherical p-spin glass: its covariance f and its closed-form results.

Conventions: |s|^2 = N, <H(s) H(s')> = N f(q) with q = s.s'/N and f(q) = sum_p a_p q^p; the pure
model is f(q) = q^p / 2. Energies are per spin, J = k_B = 1, ds/dt = -dH/ds - mu s + noise.

Sources: Crisanti and Sommers, Z. Phys. B 87, 341 (1992); Cugliandolo and Kurchan,
cond-mat/9303036; Crisanti and Sommers, cond-mat/9406051 (complexity); Folena, Franz and
Ricci-Tersenghi, 1903.01421 (mixed models).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.polynomial import polynomial
from scipy.optimize import brentq

from lightning_landscape.errors import require
from lightning_landscape.theory.glasses.mixture import Mixture, mixture_from_json, mixture_to_json

__all__ = [
    "AgingState",
    "Mixture",
    "Transition",
    "aging_state",
    "complexity",
    "dynamical_transition",
    "equilibrium_energy",
    "ground_state_energy",
    "hessian_edges",
    "mixture_from_json",
    "mixture_to_json",
    "static_transition",
    "threshold_energy",
    "threshold_multiplier",
]


class Transition(NamedTuple):
    """A transition temperature and the overlap q of two equilibrium configurations in one state."""

    temperature: float
    overlap: float


class AgingState(NamedTuple):
    """The limit of long times below T_d; see `aging_state`."""

    overlap: float
    violation: float
    effective_temperature: float
    energy: float


def dynamical_transition(mixture: Mapping[int, float]) -> Transition:
    """Return T_d (mode coupling), below which a quench never equilibrates, and the plateau q_d.

    T_d^2 = max_q f'(q)(1-q)/q; for a pure model q_d = (p-2)/(p-1). For a mixture whose 2-spin
    part makes the transition continuous, q_d = 0.

    >>> round(dynamical_transition({3: 0.5}).temperature, 6)
    0.612372
    """
    squared = polynomial.polymul(Mixture(mixture).polynomial(1)[1:], [1, -1])
    extrema = polynomial.polyroots(polynomial.polyder(squared))
    inside = [q.real for q in extrema if abs(q.imag) < 1e-12 and 0 < q.real < 1]
    q = max([0.0, *inside], key=lambda q: float(polynomial.polyval(q, squared)))
    return Transition(math.sqrt(polynomial.polyval(q, squared)), float(q))


def static_transition(mixture: Mapping[int, float]) -> Transition:
    """Return T_K, below which the paramagnet is no longer the equilibrium state, and q_K.

    T_K^2 = max_q f(q) / [-ln(1-q) - q]. At T_K the complexity of the equilibrium states vanishes;
    with a strong 2-spin part the transition is continuous instead, and q_K = 0.

    >>> round(static_transition({3: 0.5}).temperature, 6)
    0.586054
    """
    f = Mixture(mixture)

    def slope(q: float) -> float:
        return float(f(q, 1)) * (-math.log1p(-q) - q) - float(f(q)) * q / (1 - q)

    grid = np.linspace(0, 1, 1002)[1:-1]
    ratios = f(grid) / (-np.log1p(-grid) - grid)
    best, continuous = int(ratios.argmax()), 2 * f.get(2, 0.0)
    if continuous >= ratios[best]:
        return Transition(math.sqrt(continuous), 0.0)
    q = brentq(slope, grid[best - 1], grid[best + 1])
    return Transition(math.sqrt(f(q, 1) * (1 - q) / q), q)


def equilibrium_energy(mixture: Mapping[int, float], temperature: float) -> float:
    """Return -f(1)/T, the energy per spin in equilibrium at T >= T_K."""
    require(temperature > 0, "temperature", temperature, "must be positive")
    return -float(Mixture(mixture)(1.0)) / temperature


def threshold_energy(mixture: Mapping[int, float]) -> float:
    """Return E_th, where minima become marginal and where a quench from infinite T to 0 ends.

    E_th = [f'(f - f') - f''f] / (f' sqrt(f'')) at q = 1; pure: -sqrt(2(p-1)/p). In a mixture
    a quench ends at a slightly different energy (1903.01421).

    >>> round(threshold_energy({3: 0.5}), 6)
    -1.154701
    """
    f, f1, f2 = (float(Mixture(mixture)(1.0, k)) for k in range(3))
    return (f1 * (f - f1) - f2 * f) / (f1 * math.sqrt(f2))


def threshold_multiplier(mixture: Mapping[int, float]) -> float:
    """Return mu_th = 2 sqrt(f''(1)), the multiplier at which the lower edge of the Hessian is 0."""
    return 2 * math.sqrt(Mixture(mixture)(1.0, 2))


def hessian_edges(mixture: Mapping[int, float], multiplier: float) -> tuple[float, float]:
    """Return the edges of the Hessian's semicircle at a point with the multiplier mu.

    mu -+ 2 sqrt(f''(1)); mu = -p e at a stationary point of a pure model, 0 at a random point.
    """
    radius = threshold_multiplier(mixture)
    return multiplier - radius, multiplier + radius


def ground_state_energy(mixture: Mapping[int, float]) -> float:
    """Return E_gs with one-step replica symmetry breaking (exact for pure models).

    -2 E_gs = min over c, y of c f'(1) + y f(1) + ln(1 + y/c)/y. With z = y/c this is
    f/f' = [(1+z) ln(1+z) - z]/z^2 and c = 1/sqrt(f'(1+z)).

    >>> round(ground_state_energy({3: 0.5}), 6)
    -1.171675
    """
    f, f1 = (float(Mixture(mixture)(1.0, k)) for k in range(2))
    if f / f1 > 0.5 - 1e-9:  # the 2-spin, where z = 0
        return -math.sqrt(f1)
    z = brentq(lambda z: ((1 + z) * math.log1p(z) - z) / z**2 - f / f1, 1e-6, (f1 / f) ** 3 + 9)
    c = 1 / math.sqrt(f1 * (1 + z))
    return -(c * f1 + z * c * f + math.log1p(z) / (z * c)) / 2


def complexity(mixture: Mapping[int, float], energy: float) -> float:
    """Return Sigma(e) = ln(number of minima at e)/N of a pure model with p >= 3.

    Sigma = [(2-p)/p - ln(p z^2/2) + (p-1) z^2/2 - 2/(p^2 z^2)] / 2 with
    z = [-e - sqrt(e^2 - E_th^2)]/(p-1); zero at E_gs, largest at E_th, annealed = quenched.

    Raises:
        UsageError: a mixture, or an energy above E_th.

    >>> round(complexity({3: 0.5}, threshold_energy({3: 0.5})), 6)
    0.01324
    """
    f = Mixture(mixture)
    p, threshold = f.p, threshold_energy(f)
    require(p >= 3, "p", p, "must be at least 3")
    require(energy <= threshold, "energy", energy, f"has minima only up to E_th = {threshold:.6g}")
    unit = math.sqrt(2 * f(1.0))
    z = (-energy - math.sqrt(max(0.0, energy**2 - threshold**2))) / (unit * (p - 1))
    square = z * z
    return ((2 - p) / p - math.log(p * square / 2) + (p - 1) * square / 2 - 2 / (p**2 * square)) / 2


def aging_state(mixture: Mapping[int, float], temperature: float) -> AgingState:
    """Return q_EA, X, T_eff = T/X and E of the aging limit of a quench to T < T_d.

    f''(q)(1-q)^2 = T^2 (largest root), X = [q f''(q)/f'(q) - 1](1-q)/q and
    E = -[f(1) - f(q) + X f(q)]/T; for a pure model X = (p-2)(1-q)/q. At T = 0 the limits: q = 1,
    X = 0 and E = E_th. For a mixture this assumes a single aging time sector, as in the pure model.

    Raises:
        UsageError: T < 0, T >= T_d, or a continuous transition (a strong 2-spin part).

    >>> [round(value, 5) for value in aging_state({3: 0.5}, temperature=0.3)]
    [0.80722, 0.23882, 1.25617, -0.99939]
    """
    f, transition = Mixture(mixture), dynamical_transition(mixture)
    require(
        transition.overlap > 0, "mixture", f, "has a continuous transition, unlike a pure p >= 3"
    )
    limit = f"ages in [0, T_d = {transition.temperature:.6g})"
    require(0 <= temperature < transition.temperature, "temperature", temperature, limit)
    if temperature == 0:
        f1, f2 = f(1.0, 1), f(1.0, 2)
        return AgingState(1.0, 0.0, float(math.sqrt(f2) / (f2 / f1 - 1)), threshold_energy(f))
    q = brentq(lambda q: math.sqrt(f(q, 2)) * (1 - q) - temperature, transition.overlap, 1.0)
    X = float((q * f(q, 2) / f(q, 1) - 1) * (1 - q) / q)
    energy = -float(f(1.0) - (1 - X) * f(q)) / temperature
    return AgingState(q, X, temperature / X, energy)
