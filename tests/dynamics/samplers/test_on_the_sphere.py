"""Brownian motion and Gibbs measures on |x|^2 = N against exact results, and what is refused."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from scipy.special import ive
from torch import nn

from lightning_landscape.dynamics import Langevin, LeimkuhlerMatthews, constrain
from lightning_landscape.errors import UsageError
from lightning_landscape.sphere import Sphere

BOTH = pytest.mark.parametrize("scheme", [Langevin, LeimkuhlerMatthews])


def uniform(R, N, dtype=torch.float32):
    return Sphere(N).retract_(torch.randn(R, N, dtype=dtype))


def free_correlation(scheme, lr, steps, R, N, T):
    """<x(0).x(t)>/N of free motion, and its standard error over replicas."""
    x = nn.Parameter(uniform(R, N))
    x.grad = torch.zeros_like(x)
    dynamics = scheme([x], lr, T, constraint=Sphere(N))
    for _ in range(3):
        dynamics.step()
    start = x.detach().clone()
    for _ in range(steps):
        dynamics.step()
    C = (start * x.detach()).sum(1) / N
    return C.mean().item(), C.std().item() / R**0.5


def euler_factor(lr, N, T):
    """<x'.x>/N of one projected and rescaled step: E (1 + 2 lr T chi^2_{N-1} / N)^{-1/2}."""
    density = stats.chi2(N - 1).pdf
    return integrate.quad(lambda s: density(s) * (1 + 2 * lr * T * s / N) ** -0.5, 0, math.inf)[0]


@pytest.mark.parametrize("N", [3, 10])
def test_euler_on_a_free_sphere_decays_by_its_exact_factor(N):
    C, error = free_correlation(Langevin, lr=0.1, steps=8, R=200_000, N=N, T=1.5)
    assert error < 0.0015
    assert abs(C - euler_factor(0.1, N, 1.5) ** 8) < 4 * error


def test_euler_on_a_free_sphere_tends_to_brownian_motion():
    """C(t) = exp(-T (N-1)/N t): off by 0.046 at lr = 0.1, by a tenth at a tenth, for N = 3."""
    exact = math.exp(-2 / 3)
    off = [euler_factor(lr, 3, 1.0) ** round(1 / lr) - exact for lr in (0.1, 0.01, 0.001)]
    assert off[0] == pytest.approx(0.046, abs=0.001)
    assert off[1] / off[2] == pytest.approx(10, rel=0.03)
    C, error = free_correlation(Langevin, lr=0.01, steps=100, R=100_000, N=3, T=1.0)
    assert abs(C - exact) < 4 * error + 0.006


def test_leimkuhler_matthews_on_a_free_sphere_is_brownian_motion_half_a_step_behind():
    """C = exp(-T (N-1)/N (n - 1/2) lr): successive noises overlap by half, as in flat space."""
    N, lr, steps = 200, 0.05, 20
    C, error = free_correlation(LeimkuhlerMatthews, lr, steps, R=10_000, N=N, T=1.0)
    assert error < 7e-4
    assert abs(C - math.exp(-(N - 1) / N * (steps - 0.5) * lr)) < 4 * error + 0.4 * lr**2


def stationary(scheme, lr, start, gradient, observable, burn, time, T=1.0):
    """The stationary mean of an observable and its standard error over ten blocks."""
    x = nn.Parameter(start.clone())
    dynamics, values = scheme([x], lr, T, constraint=Sphere(x.shape[1])), []
    for step in range(int((burn + time) / lr)):
        x.grad = gradient(x.detach())
        dynamics.step()
        if step * lr >= burn:
            values.append(observable(x.detach()).mean().item())
    means = np.array(values[: len(values) // 10 * 10]).reshape(10, -1).mean(1)
    return means.mean(), means.std(ddof=1) / 10**0.5


def field_bias(scheme, lr, N, H=1.2, R=40_000):
    """The relative bias of <x_1> in the field E = -H x_1, and its standard error.

    The law is von Mises-Fisher: <x_1> = sqrt(N) I_{N/2}(k) / I_{N/2-1}(k), k = H sqrt(N) / T.
    """
    k, field = H * N**0.5, torch.zeros(N)
    field[0] = -H
    exact = N**0.5 * ive(N / 2, k) / ive(N / 2 - 1, k)
    value, error = stationary(
        scheme, lr, uniform(R, N), lambda x: field.expand_as(x), lambda x: x[:, 0], 6, 20
    )
    return value / exact - 1, error / exact


@pytest.mark.parametrize(("N", "euler"), [(3, 0.0500), (10, 0.0685)])
def test_in_a_field_the_mean_is_that_of_von_mises_and_fisher(N, euler):
    """Euler is off by a first-order amount; Leimkuhler-Matthews by 0.006 at most (lr T = 0.2)."""
    bias, error = field_bias(Langevin, 0.2, N)
    assert error < 0.0015
    assert abs(bias - euler) < 4 * error
    bias, error = field_bias(LeimkuhlerMatthews, 0.2, N)
    assert abs(bias) < 4 * error + 0.0065  # without its correction it would be +0.07


def test_in_a_small_field_the_corrected_amplitude_is_right_at_every_N():
    """On the circle too, N = 2, where projection and rescaling are all the curvature there is."""
    bias, error = field_bias(LeimkuhlerMatthews, 0.1, N=2)
    assert abs(bias) < 4 * error + 0.003  # measured -0.0028(6); -0.09 lr^2 at larger steps


def cubic_bias(scheme, lr, R=50_000):
    """The deviation of <E> from quadrature for E = sum a_i x_i^2 / 2 + x y z on the 2-sphere."""
    a = torch.tensor([-1.5, 0.0, 1.0])

    def energy(x):
        return 0.5 * (a * x * x).sum(1) + x.prod(1)

    def gradient(x):
        return a * x + x.roll(1, 1) * x.roll(2, 1)

    z, weight = np.polynomial.legendre.leggauss(100)
    angle = np.arange(200) * 2 * np.pi / 200
    ring = np.sqrt(1 - z**2)[:, None]
    axis = np.broadcast_to(z[:, None], (100, 200))
    grid = np.stack([ring * np.cos(angle), ring * np.sin(angle), axis], -1).reshape(-1, 3)
    E = energy(torch.tensor(grid * 3**0.5)).numpy()
    exact = np.average(E, weights=np.exp(-E) * np.repeat(weight, 200))
    value, error = stationary(scheme, lr, uniform(R, 3), gradient, energy, 8, 30)
    return value - exact, error


def test_in_a_curved_energy_euler_is_of_first_order_on_the_sphere():
    (coarse, e1), (fine, e2) = cubic_bias(Langevin, 0.2), cubic_bias(Langevin, 0.1)
    assert max(e1, e2) < 0.0014
    assert coarse == pytest.approx(0.061, abs=4 * e1)
    assert abs(coarse - 2 * fine) < 4 * (e1 + 2 * e2)


def test_in_a_curved_energy_leimkuhler_matthews_is_of_second_order_on_the_sphere():
    """0.0127 at lr = 0.2, 0.0038 at 0.1; without its correction -0.084 and -0.048."""
    (coarse, e1), (fine, e2) = (cubic_bias(LeimkuhlerMatthews, lr) for lr in (0.2, 0.1))
    assert coarse == pytest.approx(0.0127, abs=4 * e1)
    assert abs(fine) < 4 * e2 + coarse / 3
    assert abs(coarse - 4 * fine) < 4 * (e1 + 4 * e2)


@BOTH
def test_replicas_of_several_temperatures_stay_on_their_spheres(scheme):
    x = nn.Parameter(uniform(4, 30))
    dynamics = scheme([x], [0.1, 0.05, 0.1, 0.1], [0.0, 0.5, 1.0, 4.0], constraint=Sphere(30))
    start = x.detach().clone()
    for _ in range(50):
        x.grad = torch.zeros_like(x)
        dynamics.step()
    assert torch.allclose(x.square().sum(1), torch.full((4,), 30.0), rtol=1e-5)
    overlap = (start * x.detach()).sum(1) / 30
    assert overlap[0] == pytest.approx(1.0, abs=1e-6) and overlap[3] < 0.5


# any torch optimizer


def rayleigh(optimizer, x, A, steps):
    """Minimise x A x / 2 on the sphere; return the eigenvalue reached, x A x / N."""
    for _ in range(steps):

        def closure():
            optimizer.zero_grad()
            energy = 0.5 * torch.einsum("ri,ij,rj->r", x, A, x).sum()
            energy.backward()
            return energy

        optimizer.step(closure)
    return (torch.einsum("ri,ij,rj->r", x, A, x) / x.shape[1]).detach()


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.1),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8),
        lambda p: torch.optim.Adam(p, lr=0.01),
        lambda p: Langevin(p, lr=0.1),
    ],
    ids=["sgd", "momentum", "adam", "langevin"],
)
def test_descent_on_the_sphere_ends_in_the_lowest_eigenvector(make):
    N = 8
    A = torch.randn(N, N, dtype=torch.float64)
    A = (A + A.T) / 2
    x = nn.Parameter(uniform(3, N, torch.float64))
    reached = rayleigh(constrain(make([x]), Sphere(N)), x, A, 1500)
    assert torch.allclose(x.square().sum(1), torch.full((3,), float(N)).double())
    assert torch.allclose(reached, torch.linalg.eigvalsh(A)[0].expand(3), atol=2e-4)


@pytest.mark.parametrize("closure", [False, True])
def test_one_constrained_step_is_the_equation(closure):
    N, lr = 5, 0.3
    x, g = nn.Parameter(uniform(2, N, torch.float64)), torch.randn(2, N, dtype=torch.float64)
    start = x.detach().clone()
    moved = start - lr * (g - start * (start * g).sum(1, keepdim=True) / N)
    expected = moved * N**0.5 / moved.norm(dim=1, keepdim=True)
    optimizer = constrain(torch.optim.SGD([x], lr=lr), Sphere(N))

    def give_gradient():
        x.grad = g.clone()
        return 1.5

    if closure:
        assert optimizer.step(give_gradient) == 1.5
    else:
        give_gradient()
        optimizer.step()
    assert torch.allclose(x, expected, rtol=1e-12)


def test_no_constraint_changes_nothing():
    x = nn.Parameter(torch.ones(1, 3))
    sgd = torch.optim.SGD([x], lr=0.1)
    assert constrain(sgd, None) is sgd
    x.grad = torch.ones_like(x)
    sgd.step()
    assert torch.allclose(x, torch.full((1, 3), 0.9))


def test_langevin_is_told_the_constraint_and_projects_its_noise():
    start = uniform(2, 4)
    results = []
    for how in ("argument", "constrain"):
        x = nn.Parameter(start.clone())
        sphere = Sphere(4)
        dynamics = Langevin([x], 0.1, 1.0, constraint=sphere if how == "argument" else None)
        constrain(dynamics, sphere)
        x.grad = torch.zeros_like(x)
        dynamics.step()
        results.append(x.detach())
    assert results[0].equal(results[1])
    assert torch.allclose(results[0].square().sum(1), torch.tensor(4.0))


def test_what_the_sphere_does_not_allow_is_refused():
    x = nn.Parameter(uniform(2, 4))
    with pytest.raises(UsageError, match=r"weight_decay = 0.01: .*set weight_decay to 0"):
        constrain(torch.optim.AdamW([x], lr=0.1), Sphere(4))
    for make in (torch.optim.SGD, Langevin):
        with pytest.raises(UsageError, match=r"shape = \(2, 4\): .*\(R, 5\)"):
            constrain(make([x], lr=0.1), Sphere(5))
