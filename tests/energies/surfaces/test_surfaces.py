"""Surfaces: derivatives, tabulated energies, symmetries."""

import math

import pytest
import torch

from lightning_landscape.data import RandomData
from lightning_landscape.energies import (
    Closure,
    FullyConnected,
    LennardJones,
    MuellerBrown,
    NetworkEnergy,
    Quadratic,
    SixHumpCamel,
    SphericalPSpin,
    WithL2,
)
from lightning_landscape.energies.surfaces import lennard_jones
from lightning_landscape.errors import UsageError
from lightning_landscape.testing.energy import EnergyContract, gradient


class TestLennardJones(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        return LennardJones(5, replicas=replicas, start=2.0, seed=1, dtype=dtype)


class TestMuellerBrown(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        return MuellerBrown(replicas=replicas, start=0.4, dtype=dtype)


class TestSixHumpCamel(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        return SixHumpCamel(replicas=replicas, dtype=dtype)


def network(replicas=3, dtype="float64"):
    data = RandomData(20, dimension=4)
    return NetworkEnergy(FullyConnected([4, 3, 1], "tanh", replicas, dtype=dtype), data)


class TestWithL2(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        return WithL2(network(replicas, dtype), torch.linspace(0.1, 0.3, replicas).tolist())


class TestClosure(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        x = SixHumpCamel(replicas, dtype=dtype).configuration()
        return Closure(lambda x: (x**4 / 4 - x**2 / 2 + x).sum(1), x)


SURFACES = [
    LennardJones(6, replicas=3, start=2.0, dtype="float64"),
    MuellerBrown(3, start=0.4, dtype="float64"),
    SixHumpCamel(3, dtype="float64"),
]


@pytest.mark.parametrize("energy", SURFACES, ids=lambda e: type(e).__name__)
def test_written_out_derivatives_are_those_of_autograd(energy):
    x = energy.configuration()
    E, g = energy.value_and_gradient(x)
    leaf = x.clone().requires_grad_()
    torch.testing.assert_close(E, energy.value(x), rtol=1e-12, atol=0)
    expected = torch.autograd.grad(energy.value(leaf).sum(), leaf)[0]
    torch.testing.assert_close(g, expected, rtol=1e-11, atol=1e-11 * expected.abs().max().item())
    for r, H in enumerate(energy.hessian()):
        exact = torch.autograd.functional.hessian(lambda v: energy.value(v[None])[0], x[r])
        torch.testing.assert_close(H, exact, rtol=1e-10, atol=1e-10 * exact.abs().max().item())


@pytest.mark.parametrize(
    "energy", [*SURFACES, network(), WithL2(network(), 0.2), SphericalPSpin(8, replicas=3)]
)
def test_values_and_gradients_elsewhere_leave_the_replicas_in_place(energy):
    before, x = energy.configuration(), 1.01 * energy.configuration()
    E, g = energy.value_and_gradient(x)
    assert torch.equal(energy.configuration(), before)
    assert all(p.grad is None for p in energy.parameters()) and not E.requires_grad
    energy.place(x)  # off the sphere, where there is one
    torch.testing.assert_close(E, energy().detach())
    torch.testing.assert_close(g, gradient(energy))
    energy.place(before)


def test_tabulated_stationary_points_of_the_surfaces():
    """Energies to 1e-5 and eigenvalues at the saddles of the Müller-Brown surface."""
    points = {
        (-0.558224, 1.441726): -146.69952,
        (0.623499, 0.028038): -108.16672,
        (-0.050011, 0.466694): -80.76782,
        (-0.822002, 0.624313): -40.66484,
        (0.212487, 0.292988): -72.24894,
    }
    energy = MuellerBrown(5, dtype="float64")
    E, g = energy.value_and_gradient(torch.tensor(list(points), dtype=torch.float64))
    assert E.tolist() == pytest.approx(list(points.values()), abs=1e-5)
    assert g.abs().max() < 2e-3
    energy.load_configuration(torch.tensor(list(points), dtype=torch.float64))
    eigenvalues = torch.linalg.eigvalsh(energy.hessian())[3:].flatten().tolist()
    assert eigenvalues == pytest.approx([-750.863, 490.241, -735.247, 510.887], abs=2e-2)


def test_rigid_motions_cost_nothing():
    energy = LennardJones(6, replicas=2, start=2.0, seed=3, dtype="float64")
    x = energy.configuration()
    modes, g = energy.zero_modes(x), energy.value_and_gradient(x)[1]
    assert modes.shape == (2, 6, 18)
    torch.testing.assert_close(modes @ modes.mT, torch.eye(6).double().expand(2, 6, 6))
    assert (modes @ g.unsqueeze(2)).abs().max() < 1e-10 * g.abs().max()


def test_the_zero_mode_of_a_sphere_is_radial_and_other_energies_have_none():
    glass = SphericalPSpin(8, replicas=3, dtype="float64")
    x = glass.configuration()
    torch.testing.assert_close(glass.zero_modes(x)[:, 0] * 8**0.5, x)
    assert Quadratic([1.0, 2.0]).zero_modes(torch.zeros(4, 2)).shape == (4, 0, 2)


def test_orders_of_point_groups():
    """Octahedron 48, trigonal bipyramid 12, a scalene tetrahedron 1."""
    octahedron = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    triangle = torch.tensor(
        [[math.cos(a), math.sin(a), 0] for a in (0.0, 2 * math.pi / 3, 4 * math.pi / 3)]
    )
    bipyramid = torch.cat([triangle, torch.tensor([[0, 0, 1.2], [0, 0, -1.2]])]).double()
    scalene = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1.3, 0], [0.1, 0.2, 1.7]]).double()
    generator = torch.Generator().manual_seed(0)
    for atoms, order in ((octahedron, 48), (bipyramid, 12), (scalene, 1)):
        turn = torch.linalg.qr(torch.randn(3, 3, generator=generator).double()).Q
        x = (atoms @ turn + 0.3).reshape(1, -1)
        assert LennardJones(len(atoms), dtype="float64").symmetry_order(x).tolist() == [order]


def test_the_penalty_is_over_all_parameters_with_one_strength_a_replica():
    plain, strengths = network(), [0.1, 0.2, 0.3]
    before = plain().detach()
    squares = plain.configuration().square().sum(1)
    energy = WithL2(plain, strengths)
    torch.testing.assert_close(energy().detach(), before + torch.tensor(strengths) * squares)
    last = energy.only(torch.tensor([2, 2]))
    torch.testing.assert_close(last().detach(), energy().detach()[[2, 2]])
    assert set(energy.evaluate("train")) == {"energy", "accuracy"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: LennardJones(2),
        lambda: LennardJones(5, replicas=0),
        lambda: MuellerBrown(dtype="float16"),
        lambda: SixHumpCamel(start=-1.0),
        lambda: WithL2(network(), -1.0),
        lambda: WithL2(network(), [0.1, 0.2]),
        lambda: WithL2(SphericalPSpin(8), 0.1),
        lambda: Closure(lambda x: x.sum(), torch.zeros(2, 2)),
        lambda: Closure(lambda x: x.sum(1), torch.zeros(2)),
    ],
)
def test_bad_arguments_give_one_sentence(make):
    with pytest.raises(UsageError):
        make()


def test_the_compiled_pair_potential_is_that_of_tensors(monkeypatch):
    energy = LennardJones(5, replicas=3, start=1.5, dtype="float64")
    x = energy.configuration()
    compiled = *energy.slope(x), energy.curvature(x)
    monkeypatch.setattr(lennard_jones, "_compiled", lambda x: False)
    for one, other in zip(compiled, (*energy.slope(x), energy.curvature(x)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11 * other.abs().max().item())
