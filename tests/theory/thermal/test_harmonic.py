import numpy as np
import pytest
import torch

from lightning_landscape.dynamics import Langevin
from lightning_landscape.errors import UsageError
from lightning_landscape.theory.thermal import harmonic

CURVATURES, T, LR = torch.tensor([0.5, 1.0, 3.0]), 0.2, 0.3


@pytest.fixture(scope="module")
def run():
    """Positions of 2000 replicas after the transient, shape (steps, R, 3)."""
    x = torch.nn.Parameter(torch.zeros(2000, 3, dtype=torch.float64))
    dynamics = Langevin([x], lr=LR, temperature=T, seed=5)
    seen = []
    for _ in range(160):
        x.grad = CURVATURES * x.detach()
        dynamics.step()
        seen.append(x.detach().clone())
    return torch.stack(seen[100:])


def test_stationary_variance(run):
    """Within 4 standard errors, sqrt(2/R), of the last positions; continuum is far off."""
    measured = run[-1].var(0) / torch.as_tensor(harmonic.variance(CURVATURES, T, LR))
    assert (measured - 1).abs().max() < 4 * (2 / 2000) ** 0.5
    assert float(harmonic.variance(2.0, 0.1, 0.3)) == pytest.approx(0.07143, abs=1e-5)


def test_displacement(run):
    """Within 4 standard errors at every lag, along each direction."""
    for lag in (1, 4, 50):
        square = (run[9 + lag] - run[9]) ** 2
        exact = [harmonic.mean_square_displacement(lag * LR, c, T, LR) for c in CURVATURES.tolist()]
        error = square.std(0) / 2000**0.5
        assert (abs(square.mean(0).numpy() - exact) < 4 * error.numpy()).all()


def test_energy_cumulants_and_spectrum(run):
    """Mean and variance of U, its covariance after n steps, and the gradient: 4 standard errors."""
    U = (CURVATURES * run**2 / 2).sum(-1)
    mean, variance = (harmonic.energy_cumulant(k, CURVATURES, T, LR) for k in (1, 2))
    per_replica = (U - mean).square().mean(0)
    assert abs(U.mean() - mean) < 4 * U.mean(0).std() / 2000**0.5
    assert abs(per_replica.mean() - variance) < 4 * per_replica.std() / 2000**0.5
    frequency = (np.arange(4096) + 0.5) / 4096 / (2 * LR)
    density = harmonic.energy_spectrum(frequency, CURVATURES, T, LR)
    assert density.mean() / (2 * LR) == pytest.approx(variance)
    for n in (1, 3):
        product = ((U[n:] - mean) * (U[:-n] - mean)).mean(0)
        covariance = (density * np.cos(2 * np.pi * frequency * LR * n)).mean() / (2 * LR)
        assert abs(product.mean() - covariance) < 4 * product.std() / 2000**0.5
    ratio = (CURVATURES * run).square().sum(-1).mean(0) / (T * CURVATURES.sum())
    expected = harmonic.configurational_temperature_ratio(CURVATURES, T, LR)
    assert abs(ratio.mean() - expected) < 4 * ratio.std() / 2000**0.5
    assert expected > 1.5


def test_the_spectrum_tends_to_lorentzians():
    """S(f) = sum_i 2 T^2 (2 lam) / [(2 lam)^2 + (2 pi f)^2] for lr -> 0."""
    f, lam = np.logspace(-2, 0.5, 5), np.array([0.1, 2.0])
    lorentzians = (2 * T**2 * 2 * lam / ((2 * lam) ** 2 + (2 * np.pi * f[:, None]) ** 2)).sum(-1)
    assert harmonic.energy_spectrum(f, lam, T, 1e-4) == pytest.approx(lorentzians, rel=1e-3)


def test_flat_directions_diffuse_and_unstable_steps_are_refused():
    assert harmonic.mean_square_displacement([3.0], 0.0, T, LR) == pytest.approx(2 * T * 3)
    with pytest.raises(UsageError, match=r"lr curvature = 2.1.*between 0 and 2"):
        harmonic.variance(7.0, T, 0.3)
