"""Yaida's relations, where the steady state is known, and away from it."""

import pytest
import torch

from lightning_landscape.dynamics import Langevin
from lightning_landscape.errors import UsageError
from lightning_landscape.observables import balance, yaida_fdr1, yaida_fdr2


def regression(samples=200, d=10, R=256):
    """Linear regression with noise: the energy is mean (x.w - y)^2 / 2."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(samples, d, generator=g, dtype=torch.float64)
    y = x @ torch.randn(d, generator=g, dtype=torch.float64)
    y += torch.randn(samples, generator=g, dtype=torch.float64)
    return x, y, torch.zeros(R, d, dtype=torch.float64)


def gradient(w, x, y):
    """Of w (R, d) on x (B, d) or (R, B, d)."""
    residual = (x @ w[..., None]).squeeze(-1) - y
    return (residual[..., None] * x).mean(-2)


def sides_of_sgd(burn, steps, B=5, lr=0.05, momentum=0.0):
    """Both sides of both relations, w counted from the minimum."""
    x, y, w = regression()
    minimum, H = torch.linalg.lstsq(x, y[:, None]).solution[:, 0], x.T @ x / len(x)
    draws = torch.Generator().manual_seed(1)
    v, first, second = torch.zeros_like(w), [], []
    for step in range(burn + steps):
        rows = torch.randint(len(x), (len(w), B), generator=draws)
        v = momentum * v + gradient(w, x[rows], y[rows])
        after = w - lr * v
        if step >= burn:
            first.append(torch.stack(yaida_fdr1(w - minimum, after - minimum, lr)))
            ends = (w - minimum) @ H, (after - minimum) @ H
            second.append(torch.stack(yaida_fdr2(after - w, *ends, lr)))
        w = after
    return [torch.stack(sides, dim=1) for sides in (first, second)]


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_both_relations_hold_for_sgd_on_linear_regression(momentum):
    """n = 200, d = 10, B = 5, lr = 0.05; FDR2 is exact where the energy is quadratic."""
    for left, right in sides_of_sgd(burn=300, steps=1000, momentum=momentum):
        found = balance(left[::5], right[::5])
        assert found.ratio == pytest.approx(1, abs=0.03)
        assert found.is_stationary(4) and found.error < 0.02


def test_yaidas_form_is_that_of_the_step():
    """<w . g_B> and (lr / 2) <|g_B|^2> of one step, by hand."""
    x, y, w = regression(R=3)
    w += torch.randn(3, 10, dtype=torch.float64)
    g, lr = gradient(w, x[:5], y[:5]), 0.05
    left, right = yaida_fdr1(w, w - lr * g, lr)
    torch.testing.assert_close(left, (w * g).sum(1))
    torch.testing.assert_close(right, lr / 2 * g.square().sum(1))
    before, after = gradient(w, x, y), gradient(w - lr * g, x, y)
    left, right = yaida_fdr2(-lr * g, before, after, lr)
    H = x.T @ x / len(x)
    torch.testing.assert_close(left, (g * before).sum(1))
    torch.testing.assert_close(right, lr / 2 * ((g @ H) * g).sum(1))


def test_a_run_that_still_descends_is_flagged():
    for left, right in sides_of_sgd(burn=0, steps=60):
        assert not balance(left, right).is_stationary(5)


@pytest.mark.parametrize("lr", [0.05, 0.5])
def test_langevin_in_a_well_has_the_exact_values(lr):
    """x . g = T N + (lr/2) |g|^2 with Var x = T / [lam (1 - lr lam / 2)], within 4 s.e."""
    T, lam, N = 0.3, 2.0, 50
    x = torch.nn.Parameter(torch.zeros(200, N, dtype=torch.float64))
    dynamics, sides = Langevin([x], lr, T, seed=2), []
    for step in range(100 + 200):
        before, x.grad = x.detach().clone(), lam * x.detach()
        dynamics.step()
        if step >= 100:
            pair = yaida_fdr1(before, x.detach(), lr)
            other = yaida_fdr2(x.detach() - before, lam * before, lam * x.detach(), lr)
            sides.append(torch.stack([*pair, *other]))
    left1, right1, left2, right2 = torch.stack(sides, dim=1)
    variance = T / (lam * (1 - lr * lam / 2))
    exact = lam * N * variance
    assert exact == pytest.approx(T * N + lr / 2 * lam**2 * N * variance)
    for sides, value in (((left1, right1), exact), ((left2, right2), lam * exact)):
        for means in (side.mean(0) for side in sides):
            assert abs(means.mean() - value) < 4 * means.std() / 200**0.5
    assert balance(left1, right1).is_stationary(4)
    assert balance(left2, right2).is_stationary(4)


def test_free_diffusion_is_no_steady_state():
    x = torch.zeros(64, 20, dtype=torch.float64)
    y = x + torch.randn_like(x)
    left, right = (side[None].expand(20, -1) for side in yaida_fdr1(x, y, 1.0))
    assert balance(left, right).ratio == 0
    assert not balance(left, right).is_stationary(10)


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_the_error_is_honest_for_correlated_series(correlation):
    """Of 200 series of 2048 numbers, those of deviation > 3 are few; naive errors fail at 0.9."""
    g = torch.Generator().manual_seed(4)
    noise = torch.randn(2048, 200, 2, generator=g, dtype=torch.float64)
    series = [noise[0] / (1 - correlation**2) ** 0.5]
    for xi in noise[1:]:
        series.append(correlation * series[-1] + xi)
    series = torch.stack(series)
    ones = torch.ones(2048, 2, dtype=torch.float64)
    beyond = sum(not balance(1 + series[:, k], ones).is_stationary(3.0) for k in range(200))
    assert beyond <= 4
    naive = series.mean((0, 2)) / (series.std((0, 2)) / 4096**0.5)
    assert (naive.abs() > 3).sum() > 20 or correlation == 0


def test_too_few_measurements_are_refused():
    with pytest.raises(UsageError, match="measurements = 15"):
        balance(torch.ones(5, 3), torch.ones(5, 3))
