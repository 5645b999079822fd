"""The sphere |x|^2 = N: projection, retraction and what is refused."""

import pytest
import torch

from lightning_landscape.errors import UsageError
from lightning_landscape.sphere import Sphere

R, N = 5, 12
SPHERE = Sphere(N)


@pytest.fixture
def x():
    return SPHERE.retract_(torch.randn(R, N, dtype=torch.float64))


def test_retraction_keeps_the_direction_and_gives_the_norm(x):
    y = torch.randn(R, N, dtype=torch.float64)
    retracted = SPHERE.retract_(y.clone())
    assert torch.allclose(retracted.square().sum(-1), torch.full((R,), float(N)).double())
    assert torch.allclose(torch.cosine_similarity(retracted, y), torch.ones(R).double())


def test_projection_is_orthogonal_and_idempotent(x):
    v = torch.randn(R, N, dtype=torch.float64)
    tangent = SPHERE.project_(v.clone(), x)
    dense = torch.eye(N) - x[:, :, None] * x[:, None, :] / N  # 1 - x x^T / N
    assert torch.allclose(tangent, torch.einsum("rij,rj->ri", dense, v))
    assert torch.allclose(SPHERE.project_(tangent.clone(), x), tangent)
    assert torch.allclose(SPHERE.project_(x.clone(), x), torch.zeros(R, N).double())


def test_both_work_in_place_and_return_what_they_changed(x):
    v = torch.randn(R, N, dtype=torch.float64)
    assert SPHERE.project_(v, x) is v
    assert SPHERE.retract_(v) is v


def test_retraction_after_noise_gives_the_drift_of_brownian_motion(x):
    """<x'.x>/N = 1 - T dt (N-1)/N for small dt; the error is of order dt^2."""
    dt, T = 1e-3, 0.7
    start = x[:1].expand(200_000, N)
    noise = (2 * T * dt) ** 0.5 * torch.randn(200_000, N, dtype=torch.float64)
    moved = SPHERE.retract_(start + SPHERE.project_(noise, start))
    overlap = (moved * start).sum(-1) / N
    drift, error = (1 - overlap).mean() / dt, (1 - overlap).std() / dt / 200_000**0.5
    assert abs(drift - T * (N - 1) / N) < 4 * error + 2 * dt  # error = 0.0006


@pytest.mark.parametrize("shape", [(N,), (R, N + 1), (R, 2, N), ()])
def test_a_shape_without_a_place_on_the_sphere_is_refused(shape):
    with pytest.raises(UsageError, match=r"shape = .*\(R, 12\)"):
        SPHERE.check(torch.empty(shape))
    SPHERE.check(torch.empty(R, N))
