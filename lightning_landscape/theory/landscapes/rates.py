"""Rates between minima through transition states, and the times of first passage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_landscape.errors import require

__all__ = ["Network", "equilibrium", "first_passage_times", "graph_transformation", "rate_matrix"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Network:
    """Minima and the transition states between them, as rates need to know them.

    Args:
        energy: E_i of the n minima, shape (n,).
        log_product: L_i, the logarithms of the products of their eigenvalues.
        order: h_i, the orders of their symmetry groups.
        barrier: E_t of the m transition states, shape (m,).
        barrier_log_product: L_t, of their positive eigenvalues.
        barrier_order: h_t.
        ends: the numbers of the two minima, from 0, shape (m, 2); states with an end of -1, and
            those that connect copies of one minimum, are left out.
    """

    energy: ArrayLike
    log_product: ArrayLike
    order: ArrayLike
    barrier: ArrayLike
    barrier_log_product: ArrayLike
    barrier_order: ArrayLike
    ends: ArrayLike


def rate_matrix(network: Network, temperature: float) -> Array:
    r"""Return the rates k_ij from minimum i to j of harmonic transition-state theory, (n, n).

        k_{i \to j} = \sum_t (h_i / h_t) exp[(L_i - L_t)/2 - (E_t - E_i)/T] / (2 \pi)

    for unit masses, over all transition states t between i and j. The diagonal is 0.

    Raises:
        UsageError: T <= 0, or an end is no minimum.

    Source: Eyring 1935, J. Chem. Phys. 3, 107; with symmetry numbers, Wales, Energy Landscapes
    (2003), eq. (7.9).
    """
    require(temperature > 0, "temperature", temperature, "must be above 0")
    E, L, h = (np.asarray(v, float) for v in (network.energy, network.log_product, network.order))
    ends = np.asarray(network.ends, dtype=np.int64).reshape(-1, 2)
    n = len(E)
    highest = int(ends.max(initial=-1))
    require(highest < n, "ends", highest, f"must be below {n}, the number of minima")
    states = zip(
        ends.tolist(),
        np.asarray(network.barrier, float),
        np.asarray(network.barrier_log_product, float),
        np.asarray(network.barrier_order, float),
        strict=True,
    )
    k = np.zeros((n, n))
    for (a, b), E_t, L_t, h_t in states:
        if a == b or min(a, b) < 0:
            continue
        for i, j in ((a, b), (b, a)):
            exponent = (L[i] - L_t) / 2 - (E_t - E[i]) / temperature
            k[i, j] += h[i] / h_t * np.exp(exponent) / (2 * np.pi)
    return k


def equilibrium(rates: Array) -> Array:
    """Return the stationary distribution of a connected network, shape (n,).

    By elimination of the states one after the other, without subtractions.

    Source: Grassmann, Taksar, Heyman 1985, Oper. Res. 33, 1107.

    >>> equilibrium(np.array([[0.0, 1.0], [3.0, 0.0]])).tolist()
    [0.75, 0.25]
    """
    k = np.array(rates, dtype=float)
    n = len(k)
    for s in range(n - 1, 0, -1):
        out = k[s, :s].sum()
        require(out > 0, "rates", f"none from state {s}", "must connect all states")
        k[:s, s] /= out
        k[:s, :s] += np.outer(k[:s, s], k[s, :s])
    p = np.ones(n)
    for s in range(1, n):
        p[s] = p[:s] @ k[:s, s]
    return p / p.sum()


def first_passage_times(rates: ArrayLike, targets: ArrayLike) -> Array:
    """Return the mean times of first passage to any of ``targets``, shape (n,), by a linear solve.

    They solve sum_j k_ij (t_j - t_i) = -1 outside of the targets. At low temperature the condition
    number exceeds 1e16 and the solve fails: `graph_transformation` does not.

    Args:
        rates: k_ij from i to j, shape (n, n).
        targets: the numbers of the minima that end a path.

    Raises:
        UsageError: there is no target.

    >>> first_passage_times([[0.0, 2.0], [1.0, 0.0]], targets=[1]).tolist()
    [0.5, 0.0]
    """
    k = _without_diagonal(rates)
    others = _others(len(k), targets)
    A = np.diag(k.sum(1)) - k
    t = np.zeros(len(k))
    t[others] = np.linalg.solve(A[np.ix_(others, others)], np.ones(len(others)))
    return t


def graph_transformation(rates: ArrayLike, source: int, targets: ArrayLike) -> float:
    r"""Return the mean time of first passage from one minimum to any of ``targets``.

    All other minima x are removed one by one, and what went through x goes directly,

        P_ij \to P_ij + P_ix P_xj / (1 - P_xx),   t_i \to t_i + P_ix t_x / (1 - P_xx),

    with the branching probabilities P and the mean waiting times t. 1 - P_xx is the sum of the
    probabilities out of x, never a difference: the result is exact to rounding at any temperature.
    Cost: n^3.

    Args:
        rates: k_ij from i to j, shape (n, n).
        source: the number of the first minimum.
        targets: the numbers of the minima that end a path.

    Raises:
        UsageError: there is no target, the source is one, or no path leads to any.

    Source: Trygubenko, Wales 2006, J. Chem. Phys. 124, 234110; Wales 2009, J. Chem. Phys. 130,
    204111.

    >>> graph_transformation([[0.0, 2.0], [1.0, 0.0]], source=0, targets=[1])
    0.5
    """
    k = _without_diagonal(rates)
    others = _others(len(k), targets)
    is_other = source in others.tolist()
    require(is_other, "source", source, "must be a minimum that is no target")
    out = k.sum(1)
    P = np.divide(k, out[:, None], out=np.zeros_like(k), where=out[:, None] > 0)
    t = np.divide(1.0, out, out=np.zeros_like(out), where=out > 0)
    kept = np.ones(len(k), dtype=bool)
    for x in others[others != source]:
        kept[x] = False
        leaving = P[x, kept].sum()
        if leaving == 0:  # nothing leads out of x, and so nothing may lead in
            cut = bool((P[kept, x] == 0).all())
            require(cut, "rates", f"none leads out of {x}", "must connect source and targets")
            continue
        step = P[:, x] / leaving
        t += np.where(kept, step * t[x], 0.0)
        P += np.outer(np.where(kept, step, 0.0), np.where(kept, P[x], 0.0))
    kept[source] = False
    leaving = P[source, kept].sum()
    require(leaving > 0, "rates", f"none leads from {source}", "must connect source and targets")
    return float(t[source] / leaving)


def _without_diagonal(rates: ArrayLike) -> Array:
    k = np.array(rates, dtype=float)
    np.fill_diagonal(k, 0.0)
    return k


def _others(n: int, targets: ArrayLike) -> NDArray[np.int64]:
    wanted = np.atleast_1d(np.asarray(targets, dtype=np.int64))
    require(wanted.size > 0, "targets", targets, "needs at least one minimum")
    return np.setdiff1d(np.arange(n), wanted)
