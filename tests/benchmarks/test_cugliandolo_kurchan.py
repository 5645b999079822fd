"""The exact dynamics: against the uniform grid of the same accuracy, and against its own limit.

The limit is the linear algebra of Newton's method: one dense solve of 2 L equations per iteration.
The remainder, the memory integrals, is of the same order, L^2 times the points of a stencil.
"""

import math
import time

import numpy as np
import pytest

from lightning_landscape.theory.glasses import log_time
from lightning_landscape.theory.glasses.cugliandolo_kurchan import solve
from lightning_landscape.theory.glasses.quench import Quench
from lightning_landscape.theory.glasses.uniform_grid import solve_uniform

PURE = {3: 0.5}


def test_to_t_40_against_the_uniform_grid(compare):
    """Both have errors below 1e-4 in C and E at all times."""
    reference = solve(PURE, 0.0, 40.0, tolerance=1e-6)
    ours, uniform = solve(PURE, 0.0, 40.0), solve_uniform(PURE, 0.0, 40.0, steps=250)
    t = uniform.times
    late, early = np.meshgrid(t, t, indexing="ij")
    exact = reference.correlation(late, early)
    for C, E in (
        (ours.correlation(late, early), ours.energy(t)),
        (uniform.correlation, uniform.energy),
    ):
        assert np.abs(C - exact).max() < 1e-4
        assert np.abs(E - reference.energy(t)).max() < 1e-4
    compare(
        "exact dynamics to t = 40, error < 1e-4",
        lambda: solve(PURE, 0.0, 40.0),
        lambda: solve_uniform(PURE, 0.0, 40.0, steps=250),
        against="uniform grid, Richardson",
        at_least=5,
        rounds=3,
    )


def test_one_resolution_against_its_linear_algebra(compare):
    quench = Quench.of(PURE, 0.0, math.inf)
    slices = log_time.integrate(quench, 1e4, spacing=0.1, step=0.05)
    size = 2 * (len(slices.grid.theta) - 1)
    matrix, vector = np.eye(size) + 0.01, np.ones(size)
    iterations = 2 * round(math.log(1e4 * quench.rate / 5e-3) / 0.05)
    compare(
        f"one resolution to t = 1e4, L = {size // 2 + 1}",
        lambda: log_time.integrate(quench, 1e4, spacing=0.1, step=0.05),
        lambda: [np.linalg.solve(matrix, vector) for _ in range(iterations)],
        against="its dense solves alone",
        at_most=12,
        rounds=3,
    )


@pytest.mark.parametrize(("t_max", "limit"), [(40.0, 15.0), (1e4, 120.0), (1e5, 300.0)])
def test_seconds(benchmark, t_max, limit):
    """The whole of `solve`, its error estimate included, compilation excluded."""
    solve(PURE, 0.0, 1.0)
    start = time.perf_counter()
    solution = benchmark.pedantic(solve, (PURE, 0.0, t_max), rounds=1)
    seconds = time.perf_counter() - start
    benchmark.extra_info.update(error=solution.error, limit_s=limit)
    assert solution.error < 1e-4
    assert seconds < limit
