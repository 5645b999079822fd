"""EnergyContract: what dynamics and probes require of every energy."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import UsageError
from lightning_landscape.replicas import flatten

__all__ = ["EnergyContract", "gradient"]


def gradient(energy: Energy, create_graph: bool = False) -> Tensor:
    """Return the gradient of each replica's energy, shape (R, N)."""
    parameters = tuple(energy.parameters())
    return flatten(torch.autograd.grad(energy().sum(), parameters, create_graph=create_graph))


def _hessian_vector(energy: Energy, g: Tensor, v: Tensor) -> Tensor:
    return flatten(torch.autograd.grad(g, tuple(energy.parameters()), v, retain_graph=True))


def _uneven(x: Tensor) -> Tensor:
    """Return steps that are no symmetry, such as a translation, of any energy."""
    return torch.linspace(0.1, 0.2, x.shape[1], dtype=x.dtype).expand_as(x)


class EnergyContract:
    """Subclass this in a test file and define `make`; pytest does the rest.

    ``make(replicas, dtype)`` returns the same small energy, at the same random configuration, each
    time it is called; the derivatives are compared in float64 along random directions.
    """

    def make(self, replicas: int = 3, dtype: str = "float64") -> Energy:
        """Return the energy, the same at each call."""
        raise NotImplementedError

    def directions(self, energy: Energy) -> Tensor:
        """Return one random unit vector for each replica, shape (R, N)."""
        v = torch.randn(energy.replicas, energy.N, dtype=torch.float64)
        return v / v.norm(dim=1, keepdim=True)

    def moved(self, energy: Energy, x: Tensor, step: Tensor) -> Energy:
        """Return the energy after its configuration was set to x + step."""
        # x + step leaves the sphere
        move = energy.load_configuration if energy.constraint is None else energy.place
        move(x + step)
        return energy

    # derivatives

    def test_gradient_against_finite_differences(self) -> None:
        """dE/dh at x + h v is v . grad E, for each replica."""
        energy, h = self.make(), 1e-4
        x, v, g = energy.configuration(), self.directions(energy), gradient(energy)
        with torch.no_grad():
            ahead = self.moved(energy, x, h * v)()
            behind = self.moved(energy, x, -h * v)()
        slope = (ahead - behind) / (2 * h)
        assert ((g * v).sum(1) - slope).abs().lt(1e-6 * g.norm(dim=1)).all()

    def test_hessian_vector_product_against_finite_differences(self) -> None:
        """Dg/dh at x + h v is H v, for each replica."""
        energy, h = self.make(), 1e-4
        x, v = energy.configuration(), self.directions(energy)
        product = _hessian_vector(energy, gradient(energy, create_graph=True), v)
        ahead = gradient(self.moved(energy, x, h * v))
        behind = gradient(self.moved(energy, x, -h * v))
        error = product - (ahead - behind) / (2 * h)
        assert error.norm(dim=1).lt(1e-6 * product.norm(dim=1)).all()

    def test_hessian_is_symmetric(self) -> None:
        """The products satisfy u . H v = v . H u."""
        energy = self.make()
        u, v, g = self.directions(energy), self.directions(energy), gradient(energy, True)
        Hu, Hv = _hessian_vector(energy, g, u), _hessian_vector(energy, g, v)
        torch.testing.assert_close((u * Hv).sum(1), (v * Hu).sum(1), rtol=1e-9, atol=1e-12)

    def test_many_vectors_at_once_are_many_products(self) -> None:
        """`torch.vmap` over the backward pass of the gradient gives what a loop gives."""
        energy = self.make()
        V, g = torch.stack([self.directions(energy) for _ in range(2)]), gradient(energy, True)
        together = torch.vmap(lambda v: _hessian_vector(energy, g, v))(V)
        for v, product in zip(V, together, strict=True):
            torch.testing.assert_close(product, _hessian_vector(energy, g, v))

    # replicas

    @pytest.mark.parametrize("replicas", [1, 3, 17])
    def test_replica_axis_comes_first(self, replicas: int) -> None:
        """R energies, parameters (R, ...), configuration (R, N)."""
        energy = self.make(replicas)
        assert energy.replicas == replicas
        assert energy().shape == (replicas,)
        assert energy.configuration().shape == (replicas, energy.N)
        assert all(len(p) == replicas for p in energy.parameters())

    def test_replicas_are_independent(self) -> None:
        """Moving one replica changes its own energy and gradient, and no others."""
        energy = self.make()
        x, before, g = energy.configuration(), energy(), gradient(energy)
        step = torch.zeros_like(x)
        step[1] = _uneven(x)[1]
        after, g_after = self.moved(energy, x, step)(), gradient(energy)
        others = [0, 2]
        torch.testing.assert_close(after[others], before[others], rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(g_after[others], g[others], rtol=1e-13, atol=1e-13)
        assert (after[1] != before[1]) and (g_after[1] != g[1]).any()

    # configuration

    def test_configuration_is_a_copy_that_loads_back(self) -> None:
        """A configuration is unaffected by later moves, and loading it restores the energies."""
        energy = self.make()
        x, before = energy.configuration(), energy()
        assert not x.requires_grad
        assert (self.moved(energy, x, _uneven(x))() != before).all()
        assert torch.equal(self.moved(energy, x, torch.zeros_like(x))(), before)

    def test_wrong_shape_is_refused(self) -> None:
        """A configuration of the wrong shape raises one sentence."""
        energy = self.make()
        with pytest.raises(UsageError, match=r"x\.shape"):
            energy.load_configuration(torch.zeros(energy.replicas, energy.N + 1))

    def test_start_obeys_the_constraint(self) -> None:
        """Projecting the start onto the constraint does not change it."""
        energy = self.make()
        if energy.constraint is not None:
            x = energy.configuration()
            energy.constraint.check(x)
            torch.testing.assert_close(energy.constraint.retract_(x.clone()), x)

    # reproducibility

    def test_same_arguments_give_the_same_energy(self) -> None:
        """Independent of the global random state, which is not changed."""
        one = self.make()
        torch.manual_seed(1234)
        state = torch.get_rng_state()
        other = self.make()
        assert torch.equal(one.configuration(), other.configuration())
        assert torch.equal(one(), other())
        assert torch.equal(torch.get_rng_state(), state)

    def test_state_dict_holds_all_that_moves(self) -> None:
        """Loaded into a new energy with the same arguments, it gives the same energies."""
        energy, other = self.make(), self.make()
        self.moved(energy, energy.configuration(), self.directions(energy))
        other.load_state_dict(energy.state_dict())
        assert torch.equal(other(), energy())

    def test_a_copy_is_independent(self) -> None:
        """A deep copy gives the same energies and moves independently."""
        energy = self.make()
        before, other = energy(), copy.deepcopy(energy)
        assert torch.equal(other(), before)
        self.moved(other, other.configuration(), self.directions(other))
        assert torch.equal(energy(), before)

    # units

    def test_single_and_double_precision_agree(self) -> None:
        """The same arguments in float32 give the same landscape to single precision."""
        single, double = self.make(dtype="float32"), self.make(dtype="float64")
        single.load_configuration(double.configuration())
        assert single().dtype == gradient(single).dtype == torch.float32
        assert double().dtype == gradient(double).dtype == torch.float64
        g, error = gradient(double), gradient(single) - gradient(double)
        assert error.norm(dim=1).lt(1e-5 * g.norm(dim=1)).all()
        torch.testing.assert_close(single().double(), double(), rtol=1e-5, atol=1e-4)

    def test_declares_what_theory_needs(self) -> None:
        """`extensive` is declared, and `reference` has values that fit into file attributes."""
        energy = self.make()
        assert isinstance(energy.extensive, bool)
        assert all(isinstance(v, str | float | int) for v in energy.reference().values())
