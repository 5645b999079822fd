"""BAOAB: exact in a harmonic well at every stable step, on the sphere too, nothing random saved."""

import math

import pytest
import torch
from torch import nn

from lightning_landscape.dynamics import LeimkuhlerMatthews, Underdamped
from lightning_landscape.errors import UsageError
from lightning_landscape.sphere import Sphere
from lightning_landscape.testing import DynamicsContract


class TestUnderdamped(DynamicsContract):
    def make(self, params, lr, temperature=0.0, seed=0):
        return Underdamped(params, lr, temperature, friction=1.4, seed=seed)


def walk(dynamics, x, gradient, steps):
    """Yield the configuration after each of ``steps`` steps."""
    for _ in range(steps):
        x.grad = gradient(x.detach())
        dynamics.step()
        yield x.detach()


def test_the_variances_in_a_well_are_exact_up_to_the_limit_of_stability():
    """lr sqrt(lam) = 0.5 … 1.9: Var x = T / lam, Var v = T (1 - lr^2 lam / 4), <x v> = 0.

    4 standard errors of 50 000 walkers at 10 times that are nearly independent.
    """
    lr, T, lam = torch.tensor([0.25, 0.5, 0.8, 0.95]), 0.3, 4.0
    x = nn.Parameter(torch.zeros(4, 50_000))
    dynamics = Underdamped([x], lr=lr, temperature=T, friction=2.0)
    moments = []
    for step, y in enumerate(walk(dynamics, x, lambda y: lam * y, 160)):
        if step >= 60 and step % 10 == 0:
            v = dynamics.state[x]["velocity"] - lr[:, None] / 2 * lam * y  # the kick it lacks
            moments.append(torch.stack([y.square(), v.square(), y * v]).double().mean(-1))
    xx, vv, xv = torch.stack(moments).mean(0)
    error = 4 * (2 / 500_000) ** 0.5
    assert (xx * lam / T - 1).abs().max() < error
    assert (vv / (T * (1 - lr**2 * lam / 4)) - 1).abs().max() < error
    assert (xv / (T / lam**0.5)).abs().max() < error


def test_a_free_velocity_forgets_with_the_friction():
    """<v(t) v(0)> = T exp(-friction t) and <v^2> = T, 4 standard errors of 200 000 walkers."""
    T, friction, lr = 0.7, 0.8, 0.25
    x = nn.Parameter(torch.zeros(200_000, 1))
    dynamics = Underdamped([x], lr, T, friction)
    *_, _ = walk(dynamics, x, torch.zeros_like, 60)
    v = dynamics.state[x]["velocity"].clone()
    *_, _ = walk(dynamics, x, torch.zeros_like, 4)
    later = dynamics.state[x]["velocity"]
    assert v.square().mean().item() == pytest.approx(T, rel=4 * (2 / 200_000) ** 0.5)
    correlation = (v * later).mean().item() / T
    assert correlation == pytest.approx(math.exp(-friction * 4 * lr), abs=4 * 1.2 / 200_000**0.5)


def test_infinite_friction_is_leimkuhler_matthews_with_half_the_squared_step():
    """Step n + 1 of the one has the noise of step n of the other; both start at the same place."""
    x, y = (nn.Parameter(torch.linspace(-1, 1, 12, dtype=torch.float64)[:, None]) for _ in "xy")
    heavy = Underdamped([x], lr=0.4, temperature=0.3, friction=math.inf)
    light = LeimkuhlerMatthews([y], lr=0.08, temperature=0.3)
    *_, _ = walk(heavy, x, lambda z: z**3, 1)
    with torch.no_grad():
        y.copy_(x)
    *_, end = walk(heavy, x, lambda z: z**3, 7)
    *_, other = walk(light, y, lambda z: z**3, 7)
    assert torch.allclose(end, other, rtol=1e-6)


def test_at_zero_temperature_it_conserves_energy_without_friction_and_loses_it_with():
    """A pendulum of frequency 1, energy 0.5: second order, bounded error; half life ln 2 / f."""
    energies = {}
    for friction in (1e-9, 0.1):
        x = nn.Parameter(torch.ones(1, 1, dtype=torch.float64))
        dynamics = Underdamped([x], lr=0.1, temperature=0.0, friction=friction)
        for y in walk(dynamics, x, torch.clone, 628):
            v = dynamics.state[x]["velocity"] - 0.05 * y
            energies[friction] = (v.square() + y.square()).item() / 2
    assert energies[1e-9] == pytest.approx(0.5, rel=0.003)
    assert energies[0.1] == pytest.approx(0.5 * math.exp(-0.1 * 62.8), rel=0.15)


def test_on_the_sphere_a_dipole_in_a_field_has_its_langevin_function():
    """E = -h x_1 on |x|^2 = 3: <x_1> / sqrt 3 = coth k - 1/k, k = h sqrt 3 / T; 4 s.e."""
    h, T, N = 0.7, 0.5, 3
    k = h * 3**0.5 / T
    x = nn.Parameter(Sphere(N).retract_(torch.randn(20_000, N)))
    dynamics = Underdamped([x], lr=0.3, temperature=T, friction=1.5, constraint=Sphere(N))
    field = torch.tensor([-h, 0.0, 0.0]).expand(20_000, N)
    means = []
    for step, y in enumerate(walk(dynamics, x, lambda _: field.clone(), 260)):
        if step >= 60 and step % 5 == 0:
            means.append(y[:, 0].double().mean() / 3**0.5)
    v = dynamics.state[x]["velocity"]
    assert torch.allclose(y.square().sum(1), torch.tensor(3.0), rtol=1e-5)
    assert torch.linalg.vecdot(v, y).abs().max() < 1e-5
    means = torch.stack(means)
    error = 2 * means.std().item() / len(means) ** 0.5  # successive samples are correlated
    assert error < 0.002
    assert means.mean().item() == pytest.approx(1 / math.tanh(k) - 1 / k, abs=4 * error)


def test_replicas_may_differ_in_their_step():
    """Replica r moves as in a run where all have its step."""
    lrs = [0.1, 0.2, 0.4]
    ends = {}
    for lr in (lrs, *lrs):
        x = nn.Parameter(torch.ones(3, 2))
        *_, ends[str(lr)] = walk(Underdamped([x], lr, 0.5, friction=1.0), x, torch.clone, 6)
    for r, lr in enumerate(lrs):
        assert torch.allclose(ends[str(lrs)][r], ends[str(lr)][r], rtol=1e-5)


@pytest.mark.parametrize("friction", [0.0, -1.0, math.nan])
def test_a_friction_that_is_none_is_refused(friction):
    with pytest.raises(UsageError, match="friction"):
        Underdamped([nn.Parameter(torch.zeros(2, 1))], 0.1, 0.1, friction)
