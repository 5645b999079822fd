"""Products of fully connected networks, written out, against those by autograd."""

import functools

import pytest
import torch

from lightning_landscape.curvature import HessianOperator, hessian_of
from lightning_landscape.curvature.operators.written_out import WrittenOutHessian
from lightning_landscape.data import LabelledData, RandomData
from lightning_landscape.energies import FullyConnected, NetworkEnergy, SmallConvNet
from lightning_landscape.energies.networks import network
from lightning_landscape.errors import UsageError
from lightning_landscape.testing import OperatorCase, OperatorContract


def energy_of(dtype="float64", activation="tanh", loss="cross_entropy", replicas=3, k=2):
    nets = FullyConnected([4, 5, 6, k], activation, replicas=replicas, dtype=dtype, bias_variance=1)
    return NetworkEnergy(nets, RandomData(samples=25, dimension=4), loss)


def by_autograd(energy, batch=None):
    return HessianOperator(lambda: energy(batch), energy.parameters()).dense()


def written_out(energy, batch=None, chunk=1):
    product = energy.hessian_product(batch)
    return WrittenOutHessian(product, energy.parameters(), energy.replicas, chunk)


@functools.cache
def dense_reference():
    return by_autograd(energy_of())


class TestWrittenOut(OperatorContract):
    def case(self, dtype):
        energy = energy_of(str(dtype).removeprefix("torch."))
        return OperatorCase(lambda: hessian_of(energy), dense_reference(), energy)


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize(("loss", "k"), [("cross_entropy", 2), ("quadratic_hinge", 1)])
@pytest.mark.parametrize("activation", ["relu", "tanh", "erf", "gelu", "linear"])
def test_it_is_the_hessian_vector_by_vector_and_in_blocks(activation, loss, k, replicas):
    energy = energy_of(activation=activation, loss=loss, replicas=replicas, k=k)
    expected = by_autograd(energy)
    assert expected.abs().amax() > 0.1
    for chunk in (1, 7):  # and what remains of N vectors in blocks of seven
        torch.testing.assert_close(written_out(energy, chunk=chunk).dense(), expected)


def test_of_the_squared_loss_of_a_linear_map():
    """H = x x^T / P on the weights, the same at every configuration."""
    energy = NetworkEnergy(
        FullyConnected([4, 1], replicas=2, dtype="float64"), RandomData(25, 4), "squared"
    )
    x = torch.cat([energy.inputs, torch.ones(25, 1, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(hessian_of(energy).dense(), (x.T @ x / 25).expand(2, -1, -1))


@pytest.mark.parametrize("rows", [[3, 1, 7], [[3, 1], [0, 5], [1, 2]]], ids=["shared", "own"])
def test_of_a_batch_that_the_replicas_share_or_do_not(rows):
    energy, batch = energy_of(), torch.tensor(rows)
    expected = by_autograd(energy, batch)
    torch.testing.assert_close(written_out(energy, batch).dense(), expected)
    torch.testing.assert_close(written_out(energy, batch, chunk=4).dense(), expected)


def test_blocks_are_as_large_as_their_activations_allow():
    """2^24 bytes hold 8 times the 514 neurons on 1000 samples in float32."""
    data = RandomData(samples=1000, dimension=784)
    net = FullyConnected([784, 256, 256, 2])
    assert NetworkEnergy(net, data).hessian_product().together == 8


def test_weights_that_have_changed_are_refused():
    energy = energy_of()
    H = hessian_of(energy)
    energy.load_configuration(2 * energy.configuration())
    with pytest.raises(UsageError, match="have changed since the operator was built"):
        H @ torch.ones(3, 1, H.N, dtype=H.dtype)


def test_nothing_is_written_out_for_other_networks():
    energy = NetworkEnergy(SmallConvNet([1, 2, 2], [2], 2), random_images())
    assert energy.hessian_product() is None
    assert isinstance(hessian_of(energy), HessianOperator)


def random_images():
    inputs, targets = torch.arange(12.0).view(3, 1, 2, 2), torch.tensor([0, 1, 1])
    return LabelledData(inputs, targets, inputs, targets, classes=2)


def test_no_gradient_is_computed_in_vain(monkeypatch):
    """The fast gradient comes with the energy; who differentiates twice makes another."""
    energy, seen, sums = energy_of(), [], network.NetworkEnergy._sums
    monkeypatch.setattr(
        network.NetworkEnergy, "_sums", lambda *arguments: seen.append(1) or sums(*arguments)
    )
    expected = energy()
    assert seen == [1]
    operator = HessianOperator(energy, energy.parameters())
    assert seen == [1]
    torch.testing.assert_close(operator.energies, expected.detach())
    energy().sum().backward()
    assert seen == [1, 1]
