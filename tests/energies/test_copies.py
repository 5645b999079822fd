"""Copies and twins of replicas: the same landscape, row by row."""

import copy

import pytest
import torch

from lightning_landscape.data import RandomData
from lightning_landscape.energies import (
    Copies,
    FullyConnected,
    NetworkEnergy,
    Quadratic,
    SphericalPSpin,
    WithField,
)
from lightning_landscape.energies.energy import HasData
from lightning_landscape.errors import UsageError
from lightning_landscape.testing.energy import EnergyContract, gradient

SPECTRUM = [-0.5, 0.1, 1.0, 3.0]


def glass(replicas=3, dtype="float64"):
    return SphericalPSpin(N=10, replicas=replicas, disorder="independent", seed=2, dtype=dtype)


def network(replicas=2):
    net = FullyConnected([5, 4, 1], replicas=replicas, activation="tanh", seed=1)
    return NetworkEnergy(net.double(), RandomData(samples=12, dimension=5), "quadratic_hinge")


class TestCopies(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        return Copies(glass(dtype=dtype), copies=2)

    @pytest.mark.parametrize("replicas", [2, 6])
    def test_replica_axis_comes_first(self, replicas):
        energy = Copies(glass(replicas // 2))
        assert energy.configuration().shape == (energy.replicas, energy.N) == (replicas, 10)
        assert energy().shape == (replicas,)
        assert all(len(p) == replicas for p in energy.parameters())


class TestWithField(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        energy = WithField(
            Quadratic(SPECTRUM, replicas=2, dtype=dtype), field=0.3, waiting_times=[0, 1]
        )
        energy.at(5, time_step=0.1)  # one of the two fields is on
        return energy

    @pytest.mark.parametrize("replicas", [4, 12])
    def test_replica_axis_comes_first(self, replicas):
        inner = Quadratic(SPECTRUM, replicas=replicas // 4)
        energy = WithField(inner, field=0.3, waiting_times=[0, 1])
        assert energy.configuration().shape == (energy.replicas, energy.N) == (replicas, 4)
        assert energy().shape == (replicas,)


@pytest.mark.parametrize("inner", [glass, network])
def test_a_copy_has_the_energy_and_the_gradient_of_its_replica(inner):
    alone = inner()
    R, x = alone.replicas, alone.configuration()
    energy = Copies(inner(), copies=3)
    assert energy.configuration().equal(x.repeat(3, 1))
    step = torch.randn(3 * R, energy.N, dtype=torch.float64, generator=torch.manual_seed(3))
    energy.place(energy.configuration() + 0.1 * step)
    E, g = energy(), gradient(energy)
    for k in range(3):
        rows = slice(k * R, (k + 1) * R)
        alone.place(x + 0.1 * step[rows])
        torch.testing.assert_close(E[rows], alone())
        torch.testing.assert_close(g[rows], gradient(alone))
        # what is differentiated once more has another graph
        torch.testing.assert_close(gradient(alone, create_graph=True), g[rows])
    torch.testing.assert_close(gradient(energy, create_graph=True), g)


def test_held_out_data_are_evaluated_copy_by_copy_where_there_are_any():
    alone, energy = network(), Copies(network(), copies=2)
    step = torch.randn(4, energy.N, dtype=torch.float64, generator=torch.manual_seed(3))
    energy.place(energy.configuration() + step)
    found, x = energy.evaluate("train"), energy.configuration()
    for k in range(2):
        alone.place(x[2 * k : 2 * k + 2])
        for name, value in alone.evaluate("train").items():
            assert found[name][2 * k : 2 * k + 2].equal(value)
    assert isinstance(energy, HasData) and not isinstance(Copies(glass()), HasData)


def test_batches_belong_to_all_to_a_replica_or_to_a_copy():
    energy, alone = Copies(network(), copies=2), network()
    own = torch.tensor([[0, 1], [2, 3], [4, 5], [6, 7]])
    assert energy(own).equal(torch.cat([alone(own[:2]), alone(own[2:])]))
    assert energy(own[:2]).equal(alone(own[:2]).repeat(2))
    assert energy(own[0]).equal(alone(own[0]).repeat(2))
    with pytest.raises(UsageError, match=r"batch\.shape"):
        energy(own[:3])


def test_couplings_are_held_once_and_move_with_the_module():
    energy = Copies(glass(), copies=4)
    assert sum(b.numel() for b in energy.buffers()) == sum(b.numel() for b in glass().buffers())
    assert [name for name, _ in energy.named_parameters()] == ["stacks.0"]
    assert energy.constraint == glass().constraint
    assert energy.reference() == {**glass().reference(), "copies": 4}


def test_a_field_is_switched_on_at_its_waiting_time_and_pushes_twins_apart():
    """The gradient changes by -+ h epsilon, in the rows of that waiting time only."""
    energy = WithField(network(), field=0.3, waiting_times=[1.0, 0.2], seed=4)
    without = gradient(energy)
    signs = energy.signs
    assert (signs.abs() == 1).all()
    assert signs.mean().abs() < 4 / signs.numel() ** 0.5  # four standard errors
    assert not signs[0].equal(signs[1])
    for step, on in ((1, 0), (2, 1), (9, 1), (10, 2)):
        energy.at(step, time_step=0.1)
        force = (without - gradient(energy)).view(2, 2, 2, energy.N)  # (tw, twin, R, N)
        for k in range(2):
            expected = 0.3 * signs if k < on else torch.zeros_like(signs)
            torch.testing.assert_close(force[k, 0], expected)
            torch.testing.assert_close(force[k, 1], -expected)
    again = copy.deepcopy(energy)
    assert gradient(again).equal(gradient(energy))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"field": 0.0, "waiting_times": [1]}, "field = 0"),
        ({"field": 0.1, "waiting_times": []}, "waiting_times"),
        ({"field": 0.1, "waiting_times": [-1]}, "waiting_times"),
        ({"field": 0.1, "waiting_times": [1, 1]}, "must be different"),
    ],
)
def test_impossible_fields_are_refused(arguments, named):
    with pytest.raises(UsageError, match=named):
        WithField(Quadratic(SPECTRUM), **arguments)


def test_one_copy_is_none():
    with pytest.raises(UsageError, match="copies = 1"):
        Copies(Quadratic(SPECTRUM), copies=1)


def test_copies_stay_together():
    with pytest.raises(UsageError, match="stay together"):
        Copies(glass()).only(torch.tensor([0]))
