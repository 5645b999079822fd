"""Thermodynamics, rates, trees and counts against exact results, and those of LJ7."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from lightning_landscape.errors import UsageError
from lightning_landscape.theory.landscapes import (
    Superposition,
    embedding_spectrum,
    equilibrium,
    first_passage_times,
    graph_transformation,
    index_fraction,
    mean_by_index,
    merge_tree,
    rate_matrix,
)
from lightning_landscape.theory.landscapes.rates import Network
from lightning_landscape.theory.random_matrices import mean_stationary_points

# seven Lennard-Jones atoms
ENERGY = [-16.505384, -15.935043, -15.593211, -15.533060]
LOG_PRODUCT = [69.947643, 69.226809, 67.520271, 67.481655]
ORDER = [20, 6, 6, 2]


def cluster():
    return Superposition(ENERGY, LOG_PRODUCT, ORDER, modes=15)


def random_network(n=8, seed=0):
    """Random minima and transition states, connected in a ring with chords."""
    rng = np.random.default_rng(seed)
    ends = [[i, (i + 1) % n] for i in range(n)] + rng.integers(n, size=(6, 2)).tolist() + [[-1, 2]]
    E, m = rng.normal(size=n), len(ends)
    barrier = [3 + rng.uniform() for _ in ends]
    orders = rng.integers(1, 5, n), rng.integers(1, 3, m)
    return Network(E, rng.normal(size=n), orders[0], barrier, rng.normal(size=m), orders[1], ends)


# superposition


def test_two_levels():
    """Occupation and excess heat capacity (dE/T)^2 p (1 - p), with unequal wells."""
    two = Superposition([1.0, 1.5], [0.3, 1.1], [2, 1], modes=4)
    for T in (0.05, 0.3, 2.0):
        ratio = 2 * math.exp(-0.5 / T - 0.4)  # Z_1 / Z_0
        p = 1 / (1 + ratio)
        assert two.occupation(T) == pytest.approx([p, 1 - p], rel=1e-12)
        assert two.excess_heat_capacity(T) == pytest.approx(0.25 / T**2 * p * (1 - p), rel=1e-10)


def test_the_heat_capacity_is_the_second_derivative_of_the_free_energy():
    states, h = cluster(), 1e-4
    T = np.array([0.1, 0.2, 0.4])
    # <V> = T^2 d ln Z / dT, of the potential energy
    lnZ = [states.log_partition(T + s * h) for s in (-1, 1)]
    assert T**2 * (lnZ[1] - lnZ[0]) / (2 * h) == pytest.approx(states.mean_energy(T), rel=1e-5)
    slope = (states.mean_energy(T + h) - states.mean_energy(T - h)) / (2 * h)
    assert slope == pytest.approx(7.5 + states.excess_heat_capacity(T), rel=1e-5)


def test_the_peak_of_the_heat_capacity_of_seven_atoms():
    states = cluster()
    peak = minimize_scalar(lambda T: -states.excess_heat_capacity(T), bounds=(0.1, 0.3))
    assert peak.x == pytest.approx(0.1860, abs=2e-4)
    assert -peak.fun == pytest.approx(4.2262, abs=2e-4)
    assert states.excess_heat_capacity(0.1) == pytest.approx(0.785005, abs=2e-5)
    assert states.occupation(0.1)[0] == pytest.approx(0.981143, abs=2e-6)


# rates


def test_one_barrier():
    """k = (omega_0 omega_1 / omega_1') exp(-dE/T) / 2 pi, by hand."""
    network = Network(
        [0.0, 0.5], [math.log(4 * 9), 0.0], [2, 1], [1.5], [math.log(9)], [1], [[0, 1]]
    )
    k = rate_matrix(network, temperature=0.5)
    assert k[0, 1] == pytest.approx(2 * 2 / (2 * math.pi) * math.exp(-3), rel=1e-12)
    assert k[1, 0] == pytest.approx(1 / 3 / (2 * math.pi) * math.exp(-2), rel=1e-12)
    assert (np.diag(k) == 0).all()


@pytest.mark.parametrize("T", [0.2, 1.0])
def test_rates_obey_detailed_balance_with_the_superposition(T):
    network = random_network()
    k = rate_matrix(network, T)
    p = Superposition(network.energy, network.log_product, network.order, modes=5).occupation(T)
    flow = p[:, None] * k
    assert np.abs(flow - flow.T).max() < 1e-12 * flow.max()
    assert equilibrium(k) == pytest.approx(p, rel=1e-10)


def test_first_passage_by_elimination_by_linear_solve_and_in_a_chain():
    k = rate_matrix(random_network(), 0.5)
    for source, targets in ((0, [4]), (3, [1, 6]), (7, [0])):
        solved = first_passage_times(k, targets)
        assert graph_transformation(k, source, targets) == pytest.approx(solved[source], rel=1e-8)
        assert (solved[targets] == 0).all()
    # a random walk on 0 … n, reflected at 0, takes n^2 steps, each 1/2 but the first 1
    n = 6
    chain = np.diag(np.ones(n), 1) + np.diag(np.ones(n), -1)
    chain[0, 1] = 2.0
    assert first_passage_times(chain, [n])[0] == pytest.approx(n**2 / 2, rel=1e-12)
    assert graph_transformation(chain, 0, [n]) == pytest.approx(n**2 / 2, rel=1e-12)


def test_elimination_survives_where_the_linear_solve_fails():
    """The last rate is 22 orders of magnitude below that back to the source."""
    forward, back = 1e-3, 1e-25
    k = np.zeros((3, 3))
    k[0, 1], k[1, 0], k[1, 2] = 1.0, forward, back  # 0 <-> 1 -> 2
    exact = (
        back + forward + 1.0
    ) / back  # t_0 = 1 + t_1, t_1 = (1 + forward t_0) / (forward + back)
    assert graph_transformation(k, 0, [2]) == pytest.approx(exact, rel=1e-12)


def test_impossible_paths_are_refused():
    k = np.zeros((3, 3))
    k[0, 1] = k[1, 0] = 1.0
    with pytest.raises(UsageError, match="rates"):
        graph_transformation(k, 0, [2])
    with pytest.raises(UsageError, match="source"):
        graph_transformation(k, 2, [2])
    with pytest.raises(UsageError, match="targets"):
        first_passage_times(k, [])
    with pytest.raises(UsageError, match="temperature"):
        rate_matrix(random_network(), 0.0)
    with pytest.raises(UsageError, match="order"):
        Superposition([0.0], [0.0], [0], modes=1)


# the tree


def test_barriers_of_the_tree_are_minimax_paths():
    """Against the brute-force minimax over all paths (Floyd-Warshall)."""
    rng = np.random.default_rng(3)
    n, m = 12, 30
    E, ends = rng.normal(size=n), rng.integers(n, size=(m, 2))
    levels = 3 + rng.uniform(size=m)
    best = np.full((n, n), np.inf)
    for (a, b), level in zip(ends, levels, strict=True):
        if a != b:
            best[a, b] = best[b, a] = min(best[a, b], level)
    np.fill_diagonal(best, E)
    for k in range(n):
        best = np.minimum(best, np.maximum(best[:, [k]], best[[k]]))
    tree = merge_tree(E, levels, ends)
    for i in range(n):
        lower = E < E[i]
        assert tree.barrier[i] == best[i, lower].min(initial=np.inf)
    for level in (2.5, 3.2, 3.5, 4.0):
        groups = tree.groups(level)
        together = (groups[:, None] == groups) & (groups >= 0)
        assert together.tolist() == (best <= level).tolist()
    assert tree.groups(E.min() - 1).tolist() == [-1] * n


def test_degenerate_and_dangling_states_do_not_join():
    tree = merge_tree([0.0, 1.0], [1.5, 1.6, 2.0], [[1, 1], [0, -1], [0, 1]])
    assert tree.barrier.tolist() == [np.inf, 2.0] and tree.parent.tolist() == [2, 2, -1]
    with pytest.raises(UsageError, match="ends"):
        merge_tree([0.0], [1.0], [[0, 1]])


# numbers of stationary points


def test_numbers_by_index_add_up_to_the_exact_total():
    for p, N in ((3, 3), (3, 6), (4, 5)):
        mean, error = mean_by_index(p, N, samples=1000)
        assert abs(mean.sum() / mean_stationary_points(p, N) - 1) < 4 * error.sum() / mean.sum()
        assert np.array_equal(mean, mean[::-1])


@pytest.mark.parametrize(
    ("N", "expected"), [(3, [3.139, 4.275]), (5, [3.999, 7.375, 8.749]), (10, [6.09, 16.38, 29.5])]
)
def test_numbers_by_index_are_those_tabulated(N, expected):
    mean, error = mean_by_index(3, N, samples=2000)
    assert (np.abs(mean[: len(expected)] - expected) < 4 * error[: len(expected)] + 0.02).all()
    assert (error / mean < 0.1).all()


# embedding


def test_the_spectrum_after_embedding_is_that_of_the_matrix():
    rng = np.random.default_rng(0)
    C, penalty, slope = rng.normal(size=(2, 4)), 0.3, 0.7
    H = np.diag(np.full(6, 2 * penalty))
    H[:2, 2:], H[2:, :2] = slope * C, slope * C.T
    expected = np.sort(np.concatenate([[1.0, 5.0], np.linalg.eigvalsh(H)]))
    found = embedding_spectrum([1.0, 5.0], C, penalty, slope)
    assert found == pytest.approx(expected, abs=1e-12)


def test_the_index_law_is_the_mass_of_the_semicircle_below_zero():
    """By quadrature of the semicircle of radius sqrt(2 p (p-1)) around mu = -p e."""
    for p, e in ((3, -0.9186), (3, -0.5), (2, -0.3), (4, 0.2)):
        radius, mu = math.sqrt(2 * p * (p - 1)), -p * e
        l = np.linspace(-radius, min(radius, -mu), 200_001)
        density = 2 / (math.pi * radius**2) * np.sqrt(np.clip(radius**2 - l**2, 0, None))
        assert index_fraction(p, e) == pytest.approx(np.trapezoid(density, l), abs=1e-6)
    assert index_fraction(3, [-2.0, 0.0, 2.0]).tolist() == [0.0, 0.5, 1.0]
    with pytest.raises(UsageError, match="p = 1"):
        index_fraction(1, 0.0)
