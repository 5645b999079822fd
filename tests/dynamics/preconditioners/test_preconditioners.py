"""Hessians from fluctuations against the wells that made them; what they do for a descent."""

import numpy as np
import pytest
import torch
from scipy.linalg import solve_discrete_lyapunov

from lightning_landscape.dynamics import Langevin, Preconditioned
from lightning_landscape.dynamics.preconditioners.fluctuations import (
    covariance,
    hessian_from_sgd_noise,
    hessian_from_thermal_fluctuations,
)
from lightning_landscape.energies import Closure, Quadratic
from lightning_landscape.errors import UsageError


def definite(N, seed, smallest=0.3, largest=3.0):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.normal(size=(N, N)))[0]
    return torch.from_numpy((Q * np.linspace(smallest, largest, N)) @ Q.T)


def test_the_noise_of_sgd_gives_the_hessian_at_any_step():
    """S from the exact discrete Lyapunov equation, H and Sigma that do not commute."""
    H, Sigma = definite(5, 0), definite(5, 1)
    for lr in (1e-3, 0.1, 0.3):  # lr lambda up to 0.9
        M = np.eye(5) - lr * H.numpy()
        S = torch.from_numpy(solve_discrete_lyapunov(M, lr**2 * Sigma.numpy()))
        torch.testing.assert_close(hessian_from_sgd_noise(S, Sigma, lr), H, rtol=1e-8, atol=1e-8)


def test_thermal_fluctuations_give_the_hessian_to_their_scatter():
    """512 chains: each matrix element of C has a standard error of about C sqrt(2/512)."""
    l, lr, T = [0.5, 1.0, 4.0], 0.1, 1e-3
    well = Quadratic(l, replicas=512, rotate=True, dtype="float64")
    langevin = Langevin(well.parameters(), lr, T, seed=1)
    for _ in range(150):
        langevin.zero_grad()
        well().sum().backward()
        langevin.step()
    C = covariance(well.configuration())
    found = torch.linalg.eigvalsh(hessian_from_thermal_fluctuations(C, T, lr))
    exact = torch.tensor(l, dtype=torch.float64)
    error = exact * (2 / 512) ** 0.5 * (1 - lr * exact / 2) / (1 - lr * exact)
    assert ((found - exact).abs() < 4 * error).all()
    naive = torch.linalg.eigvalsh(hessian_from_thermal_fluctuations(C, T))
    biased = exact[-1] * (1 - lr * exact[-1] / 2)  # 3.2: without the step it is another matrix
    assert abs(naive[-1] - biased) < 4 * biased * (2 / 512) ** 0.5 < exact[-1] - naive[-1]


def test_shrinkage_keeps_the_diagonal_and_makes_the_covariance_regular():
    x = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    C, shrunk = covariance(x), covariance(x, 0.3)
    torch.testing.assert_close(C.diagonal(), shrunk.diagonal())
    torch.testing.assert_close(shrunk[0, 1], 0.7 * C[0, 1])
    assert torch.linalg.eigvalsh(C)[0] < 1e-12 < torch.linalg.eigvalsh(shrunk)[0]
    with pytest.raises(UsageError, match="shrinkage"):
        hessian_from_thermal_fluctuations(C, 1.0)


def descend(energy, optimizer, tolerance, most=500):
    for step in range(most):
        x = energy.configuration()
        if energy.value_and_gradient(x)[1].norm(dim=1).max() < tolerance:
            return step
        optimizer.zero_grad()

        def closure():
            optimizer.zero_grad()
            E = energy()
            E.sum().backward()
            return E.detach()

        optimizer.step(closure)
    return most


def test_a_descent_preconditioned_by_fluctuations_does_not_feel_the_condition_number():
    """Condition number 1000, an anharmonic well: tens of steps for thousands of plain descent."""
    l = torch.logspace(-3, 0, 8, dtype=torch.float64)
    x = 0.3 * torch.ones(4, 8, dtype=torch.float64)

    def energy():
        return Closure(lambda x: (l * x * x / 2 + l * x**4 / 4).sum(1), x)

    C = 1e-6 * torch.diag(1 / l)  # of the harmonic well at T = 1e-6
    P = torch.linalg.inv(hessian_from_thermal_fluctuations(C, 1e-6))
    well = energy()
    assert descend(well, Preconditioned(well.parameters(), P, lr=0.7), 1e-9) < 30
    plain = energy()
    assert descend(plain, torch.optim.SGD(plain.parameters(), lr=1.0), 1e-9) == 500


def test_a_step_that_would_raise_the_energy_is_taken_back():
    """Newton's step from the flat side of a double well leads up; the halved ones lead down."""
    energy = Closure(lambda x: (x**4 / 4 - x**2 / 2).sum(1), torch.tensor([[0.59]]).double())
    optimizer = Preconditioned(energy.parameters(), torch.tensor([[20.0]]).double(), lr=1.0)
    energies = []

    def closure():
        optimizer.zero_grad()
        E = energy()
        E.sum().backward()
        return E.detach()

    for _ in range(100):
        energies.append(float(optimizer.step(closure)))
    assert max(energies) > energies[0]  # the trial that was taken back
    assert energy.configuration().abs().item() == pytest.approx(1.0, abs=1e-6)


def test_every_replica_may_have_its_own_preconditioner():
    l = torch.tensor([[1.0, 10.0], [100.0, 2.0]], dtype=torch.float64)
    energy = Closure(lambda x: (l * x * x).sum(1) / 2, torch.ones(2, 2, dtype=torch.float64))
    assert (
        descend(energy, Preconditioned(energy.parameters(), torch.diag_embed(1 / l), 1.0), 1e-12)
        == 1
    )


def test_impossible_arguments_are_refused():
    one = torch.eye(2, dtype=torch.float64)
    x = torch.nn.Parameter(torch.zeros(3, 2, dtype=torch.float64))
    with pytest.raises(UsageError, match="preconditioner"):
        Preconditioned([x], torch.eye(3))
    with pytest.raises(UsageError, match="positive definite"):
        Preconditioned([x], -one)
    with pytest.raises(UsageError, match="lr"):
        Preconditioned([x], one, lr=0.0)
    with pytest.raises(UsageError, match="temperature"):
        hessian_from_thermal_fluctuations(one, 0.0)
    with pytest.raises(UsageError, match="2 lr T / covariance"):
        hessian_from_thermal_fluctuations(one, 1.0, lr=1.0)
    with pytest.raises(UsageError, match="noise"):
        hessian_from_sgd_noise(one, torch.eye(3), 0.1)
    with pytest.raises(UsageError, match="noise"):
        hessian_from_sgd_noise(one, 200 * one, 0.1)
    with pytest.raises(UsageError, match="must be \\(n >= 2, N\\)"):
        covariance(one[:1])
