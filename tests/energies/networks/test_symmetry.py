"""Copies of networks: the same outputs, one canonical form, and the orders of symmetric points."""

import math

import pytest
import torch

from lightning_landscape.data import XOR, RandomData
from lightning_landscape.energies import FullyConnected, NetworkEnergy, WithL2
from lightning_landscape.energies.energy import HasSymmetry
from lightning_landscape.energies.networks.symmetry import (
    canonical_form,
    log_copies,
    symmetry_order,
)


def copied(widths, row, orders, factors):
    """Reorder the hidden units of each layer, and scale what enters by f and what leaves by 1/f."""
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    parts = list(row.split([n * m for n, m in shapes] + [n for n, _ in shapes]))
    L = len(shapes)
    W = [part.view(shape).clone() for part, shape in zip(parts[:L], shapes, strict=True)]
    b = [part.clone() for part in parts[L:]]
    for l, (order, f) in enumerate(zip(orders, factors, strict=True)):
        W[l], b[l] = (W[l] * f[:, None])[order], (b[l] * f)[order]
        W[l + 1] = (W[l + 1] / f)[:, order]
    return torch.cat([w.flatten() for w in W] + b)


@pytest.mark.parametrize("activation", ["tanh", "erf", "relu", "gelu"])
def test_copies_have_the_same_loss_and_one_canonical_form(activation):
    widths, generator = [3, 4, 5, 2], torch.Generator().manual_seed(1)
    net = FullyConnected(widths, activation, dtype="float64", bias_variance=0.5)
    energy = NetworkEnergy(net, RandomData(20, dimension=3))
    x = energy.configuration()
    for _ in range(4):
        orders = [torch.randperm(h, generator=generator) for h in widths[1:-1]]
        draws = [torch.rand(h, generator=generator, dtype=torch.float64) for h in widths[1:-1]]
        factors = {
            "relu": [0.5 + d for d in draws],
            "gelu": [torch.ones_like(d) for d in draws],
        }.get(activation, [torch.where(d > 0.5, 1.0, -1.0).double() for d in draws])
        copy = copied(widths, x[0], orders, factors)[None]
        E = energy.value_and_gradient(copy)[0]
        torch.testing.assert_close(E, energy().detach(), rtol=1e-12, atol=0)
        torch.testing.assert_close(canonical_form(net, copy), canonical_form(net, x))
    same = canonical_form(net, x)
    torch.testing.assert_close(energy.value_and_gradient(same)[0], energy().detach())


def test_numbers_of_copies_and_orders_of_symmetric_points():
    net = FullyConnected([2, 3, 2], "tanh", dtype="float64")
    assert log_copies(net) == pytest.approx(math.log(2**3 * 6), abs=1e-12)
    assert log_copies(FullyConnected([2, 3, 4, 1], "relu")) == pytest.approx(math.log(6 * 24))
    x = net.weights[0].detach().new_tensor([])
    W, V, b, c = torch.arange(1.0, 7), torch.arange(1.0, 7), torch.ones(3), torch.ones(2)
    generic = torch.cat([W, V, b, c]).double()
    pair = generic.clone()
    pair[2:4], pair[7], pair[10] = -pair[0:2], -pair[6], -pair[9]
    pair[13] = -pair[12]  # unit 1 = -(unit 0), in all that enters and leaves it
    one_dead = generic.clone()
    one_dead[[0, 1, 6, 9, 12]] = 0
    x = torch.stack([generic, pair, one_dead, torch.zeros_like(generic)])
    assert symmetry_order(net, x).tolist() == [1, 2, 2, 48]


def test_which_energies_have_the_symmetry():
    net = FullyConnected([2, 2, 2], "tanh", dtype="float64")
    energy = WithL2(NetworkEnergy(net, XOR()), 1e-3)
    assert isinstance(energy, HasSymmetry) and math.exp(energy.log_copies) == pytest.approx(8)
    assert energy.symmetry_order(torch.zeros(1, energy.N).double()).tolist() == [8]
