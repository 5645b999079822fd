"""Descent in a quadratic valley, from quadrature, against the descent itself."""

import pytest
import torch

from lightning_landscape.curvature import DenseOperator
from lightning_landscape.dynamics.preconditioners.gain import BothSidesOperator, quadratic_descent


def valley(N=40):
    generator = torch.Generator().manual_seed(0)
    Q = torch.linalg.qr(torch.randn(N, N, dtype=torch.float64, generator=generator))[0]
    spectrum = torch.logspace(-3, 1, N, dtype=torch.float64)
    return (Q * spectrum) @ Q.T, torch.randn(N, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize(("steps", "rel"), [(5, 1e-9), (12, 1e-9), (300, 2e-2)])
def test_the_fall_is_that_of_the_steps(steps, rel):
    """Exact for 2 n <= 2 m - 1 steps, m = 13, and good far beyond."""
    H, g = valley()
    descent = quadratic_descent(DenseOperator(H), g[None], products=13)
    rate = descent.rate.item()
    assert rate == pytest.approx(0.1, rel=1e-3)
    x = torch.linalg.solve(H, g)
    before = x @ H @ x / 2
    for _ in range(steps):
        x = x - rate * H @ x
    fall = descent.fall(torch.tensor([float(steps)]))
    assert fall.item() == pytest.approx((before - x @ H @ x / 2).item(), rel=rel)
    assert descent.steps_for(fall).item() == pytest.approx(steps, rel=1e-6)
    assert descent.spread.item() == pytest.approx((g @ g / (g @ H @ g)).item() / rate, rel=1e-9)


def test_a_perfect_preconditioner_needs_one_step():
    H, g = valley()
    values, Q = torch.linalg.eigh(H)
    root = (Q * values.pow(-0.5)) @ Q.T
    operator = BothSidesOperator(DenseOperator(H), lambda V: V @ root)
    descent = quadratic_descent(operator, (root @ g)[None])
    assert descent.spread.item() == pytest.approx(1, rel=1e-9)
    whole = g @ torch.linalg.solve(H, g) / 2
    assert descent.fall(torch.ones(1)).item() == pytest.approx(whole.item(), rel=1e-6)
    assert descent.steps_for(2 * whole[None]).isinf()
