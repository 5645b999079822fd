"""MatchedLangevin: the contract with half of the noise given as D, and exact variances."""

import pytest
import torch
from torch import nn

from lightning_landscape.dynamics import Langevin, MatchedLangevin
from lightning_landscape.errors import UsageError
from lightning_landscape.sphere import Sphere
from lightning_landscape.testing import DynamicsContract


def variances(params, value):
    """The number, or one per replica, for every parameter of the tensors: (R, N)."""
    R, N = len(params[0]), sum(p[0].numel() for p in params)
    return torch.as_tensor(value).reshape(-1, 1).expand(R, N)


class TestContract(DynamicsContract):
    def make(self, params, lr, temperature=0.0, seed=0):
        """Half of the temperature as such, and half as the variance T / lr of a gradient."""
        params = list(params)
        MatchedLangevin(params, lr, temperature)  # refuses what is impossible
        half = torch.as_tensor(temperature) / 2
        dynamics = MatchedLangevin(params, lr, half, seed)
        dynamics.adopt(variances(params, 2 * half / lr))
        return dynamics

    def variance(self, lr, temperature, curvature):
        return temperature / (curvature * (1 - lr * curvature / 2))


def test_without_a_variance_it_is_langevin():
    a, b = (nn.Parameter(torch.ones(3, 4)) for _ in range(2))
    for x, scheme in ((a, MatchedLangevin), (b, Langevin)):
        dynamics = scheme([x], lr=0.1, temperature=0.5, seed=7)
        for _ in range(5):
            x.grad = x.detach().clone()
            dynamics.step()
    torch.testing.assert_close(a, b)


def test_every_parameter_has_its_own_exact_variance():
    """lr D_i / 2 / [lam_i (1 - lr lam_i / 2)] and T, in two tensors; 4 s.e. of 26 x 4000."""
    R, lr, T = 4000, 0.3, 0.05
    params = [nn.Parameter(torch.zeros(R, 2)), nn.Parameter(torch.zeros(R, 1, 2))]
    D = torch.tensor([0.1, 0.4, 0.0, 2.0])
    lam = torch.tensor([2.0, 1.0, 1.0, 3.0])
    dynamics = MatchedLangevin(params, lr, T, seed=1)
    dynamics.adopt(D.expand(R, 4))
    squares = []
    for step in range(150):
        for p, l in zip(params, lam.split(2), strict=True):
            p.grad = l * p.detach()
        dynamics.step()
        if step >= 20 and step % 5 == 0:
            squares.append(torch.cat([p.detach().flatten(1) for p in params], 1).square().mean(0))
    exact = (T + lr * D / 2) / (lam * (1 - lr * lam / 2))
    ratio = torch.stack(squares).mean(0) / exact
    assert (ratio - 1).abs().max() < 4 * (2 / (26 * R)) ** 0.5 * 1.1
    assert dynamics.current_temperature.tolist() == pytest.approx([T + lr * 0.625 / 2] * R)
    assert not dynamics.temperature_is_constant


def test_the_variances_are_state():
    """They travel through a state_dict; replicas and parameters keep theirs."""
    params = [nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(2, 1))]
    dynamics = MatchedLangevin(params, lr=0.1)
    dynamics.adopt(torch.arange(8.0).view(2, 4))
    other = MatchedLangevin(params, lr=0.1)
    other.load_state_dict(dynamics.state_dict())
    expected = torch.tensor([[0.0, 1.0, 2.0], [4.0, 5.0, 6.0]])
    assert other.state[params[0]]["variance"].equal(expected)
    assert other.state[params[1]]["variance"].flatten().tolist() == [3.0, 7.0]
    assert other.current_temperature.tolist() == pytest.approx([0.1 * 6 / 8, 0.1 * 22 / 8])


def test_impossible_variances_are_refused():
    dynamics = MatchedLangevin([nn.Parameter(torch.zeros(2, 3))], lr=0.1)
    with pytest.raises(UsageError, match=r"variance.shape = \(3,\)"):
        dynamics.adopt(torch.ones(3))
    with pytest.raises(UsageError, match="variance = -1"):
        dynamics.adopt(-torch.ones(2, 3))
    x = nn.Parameter(torch.ones(2, 3))
    on_sphere = MatchedLangevin([x], lr=0.1, constraint=Sphere(3))
    x.grad = torch.ones(2, 3)
    with pytest.raises(UsageError, match="use Langevin"):
        on_sphere.step()


def test_the_response_from_the_noise_is_refused():
    """It would divide by one temperature, and here is one for each parameter."""
    x = nn.Parameter(torch.zeros(2, 3))
    dynamics = MatchedLangevin([x], lr=0.1)
    dynamics.scores[x], x.grad = torch.zeros(2, 3), torch.zeros(2, 3)
    with pytest.raises(UsageError, match="use FieldResponse"):
        dynamics.step()
