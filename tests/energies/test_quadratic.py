import pytest
import torch

from lightning_landscape.energies import Quadratic
from lightning_landscape.errors import UsageError
from lightning_landscape.testing.energy import EnergyContract, gradient

SPECTRUM = [-0.5, 0.1, 1.0, 1.0, 3.0]


class TestQuadratic(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        return Quadratic(SPECTRUM, replicas=replicas, dtype=dtype)


class TestRotatedQuadratic(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        return Quadratic(SPECTRUM, replicas=replicas, rotate=True, seed=3, dtype=dtype)


def test_on_the_axes_the_energy_is_a_sum_of_squares():
    energy = Quadratic(SPECTRUM, replicas=2, dtype="float64")
    x, eigenvalues = energy.configuration(), torch.tensor(SPECTRUM, dtype=torch.float64)
    torch.testing.assert_close(energy(), (eigenvalues * x**2).sum(1) / 2)
    torch.testing.assert_close(gradient(energy), eigenvalues * x)


@pytest.mark.parametrize("rotate", [False, True])
def test_hessian_has_the_given_spectrum(rotate):
    energy = Quadratic(SPECTRUM, replicas=2, rotate=rotate, dtype="float64")
    H = energy.hessian()
    assert H.shape == (2, 5, 5)
    torch.testing.assert_close(
        torch.linalg.eigvalsh(H[1]), torch.tensor(SPECTRUM, dtype=torch.float64)
    )
    off_diagonal = (H[0] - H[0].diagonal().diag()).abs().max()
    assert (off_diagonal > 0.1) == rotate


def test_start_has_the_given_width_and_depends_on_the_seed():
    x = Quadratic([1.0] * 1000, replicas=10, start=0.3, dtype="float64").configuration()
    assert abs(x.std().item() / 0.3 - 1) < 4 / (2 * 10_000) ** 0.5  # 4 s.e.
    assert Quadratic(SPECTRUM, start=0.0)().item() == 0
    other = Quadratic([1.0] * 1000, replicas=10, seed=1, dtype="float64").configuration()
    assert not torch.equal(x, 0.3 * other)


@pytest.mark.parametrize(
    "arguments",
    [
        {"spectrum": []},
        {"spectrum": [1.0, float("inf")]},
        {"spectrum": [1.0], "replicas": 0},
        {"spectrum": [1.0], "start": -1.0},
        {"spectrum": [1.0], "dtype": "float16"},
    ],
)
def test_bad_arguments_give_one_sentence(arguments):
    with pytest.raises(UsageError):
        Quadratic(**arguments)
