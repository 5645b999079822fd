"""The curvature of our own energies, by whichever way each offers."""

import pytest
import torch

from lightning_landscape.energies.diluted import DilutedPSpin
from lightning_landscape.energies.pspin import SphericalPSpin
from lightning_landscape.energies.quadratic import Quadratic
from lightning_landscape.observables.curvature import (
    DenseOperator,
    HessianOperator,
    TangentOperator,
    hessian_of,
    of_energy,
)


def test_a_quadratic_energy_knows_its_matrix():
    energy = Quadratic(spectrum=[-1.0, 0.5, 3.0], replicas=2, rotate=True, dtype="float64")
    H = hessian_of(energy)
    assert isinstance(H, DenseOperator)
    exact = torch.tensor([-1.0, 0.5, 3.0], dtype=torch.float64).expand(2, -1)
    torch.testing.assert_close(torch.linalg.eigvalsh(H.dense()), exact)
    by_products = HessianOperator(energy, energy.parameters())
    torch.testing.assert_close(by_products.dense(), H.dense())


@pytest.mark.parametrize("replicas", [1, 5])
def test_the_matrices_of_a_glass_and_its_products_agree(replicas, monkeypatch):
    energy = SphericalPSpin(N=10, p=3, replicas=replicas, seed=1, dtype="float64")
    known = hessian_of(energy)
    assert isinstance(known, TangentOperator) and isinstance(known.A, DenseOperator)
    monkeypatch.setattr(of_energy, "_DENSE_BYTES", 0)
    products = hessian_of(energy)
    assert isinstance(products.A, HessianOperator)
    torch.testing.assert_close(products.dense(), known.dense())
    torch.testing.assert_close(products.multiplier, known.multiplier)


def test_the_multiplier_of_a_pure_glass():
    """mu = -x.g / N = -p E / N, because H is homogeneous of order p."""
    energy = SphericalPSpin(N=20, p=3, replicas=3, seed=2, dtype="float64")
    torch.testing.assert_close(hessian_of(energy).multiplier, -3 * energy().detach() / 20)


def test_the_spectrum_of_a_glass_at_a_random_point():
    """<tr (H - mu)^2> / (N - 1) = f''(1) = 3 for p = 3 at every N; within 4 standard errors."""
    N, samples = 48, 40
    energy = SphericalPSpin(N=N, p=3, replicas=samples, disorder="independent", dtype="float64")
    tangent = hessian_of(energy)
    eigenvalues = torch.linalg.eigvalsh(tangent.dense()) - tangent.multiplier[:, None]
    second = eigenvalues.square().mean(1)
    error = second.std() / samples**0.5
    assert abs(second.mean() - 3.0) < 4 * error
    assert error < 0.03


def test_a_diluted_glass_is_multiplied_in_blocks():
    energy = DilutedPSpin(N=12, replicas=2, dtype="float64")
    H = hessian_of(energy)
    one_by_one = HessianOperator(energy, energy.parameters())
    g = one_by_one.gradient
    expected = TangentOperator(one_by_one, energy.configuration(), g)
    V = torch.randn(2, 5, 11, dtype=torch.float64)
    torch.testing.assert_close(H @ V, expected @ V)
