"""The linearized Hessian: accepted where it agrees, replaced where it does not."""

import functools
import logging

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lightning_landscape.callbacks.measuring import measuring
from lightning_landscape.curvature import HessianOperator, linearized_hessian
from lightning_landscape.curvature.operators import linearized
from lightning_landscape.errors import UsageError
from lightning_landscape.testing import OperatorCase, OperatorContract


def network(dtype=torch.float32, *between):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), *between, nn.Tanh(), nn.Linear(6, 3)).to(dtype)


def energy_of(net):
    x = torch.randn(10, 4, generator=torch.Generator().manual_seed(1))
    x = x.to(next(net.parameters()).dtype)
    return lambda: F.cross_entropy(net(x), torch.arange(10) % 3)


@functools.cache
def dense_reference():
    net = network(torch.float64)
    return HessianOperator(energy_of(net), net.parameters()).dense()


@functools.cache  # it takes a second
def traced(dtype):
    net = network(dtype)
    operator = linearized_hessian(energy_of(net), net.parameters(), net)
    assert not isinstance(operator, HessianOperator)
    return net, operator


class TestLinearized(OperatorContract):
    def case(self, dtype):
        net, operator = traced(dtype)

        def build():
            operator.products = 0
            return operator

        return OperatorCase(build, dense_reference(), net)

    def test_has_no_side_effects(self, dtype):
        """Tracing included."""
        net = network(dtype)
        build = functools.partial(linearized_hessian, energy_of(net), net.parameters(), net)
        self.case = lambda dtype: OperatorCase(build, dense_reference(), net)
        super().test_has_no_side_effects(dtype)


def test_convolutions_go_vector_by_vector():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 1)).double()
    x = torch.randn(3, 1, 4, 4, dtype=torch.float64)

    def energy():
        return net(x).square().mean()

    H = linearized_hessian(energy, net.parameters(), net)
    assert not isinstance(H, HessianOperator)
    torch.testing.assert_close(H.dense(), HessianOperator(energy, net.parameters()).dense())


@pytest.mark.parametrize("between", [nn.BatchNorm1d(6), nn.Dropout(0.3)], ids=["norm", "dropout"])
def test_what_cannot_be_traced_falls_back_and_leaves_the_module_as_it_was(between, caplog):
    net = network(torch.float32, between)
    parameters = list(net.parameters())
    with measuring(net), caplog.at_level(logging.INFO):
        H = linearized_hessian(energy_of(net), parameters, net)
        assert isinstance(H, HessianOperator)
        assert H.symmetry_defect().item() < 1e-5
    assert "no linearized form" in caplog.text
    assert all(p is q for p, q in zip(net.parameters(), parameters, strict=True))


def test_a_form_that_is_wrong_is_not_used(monkeypatch, caplog):
    net = network()
    linearize = torch.func.linearize

    def wrong(function, *point):
        value, linear = linearize(function, *point)
        return value, lambda v: tuple(1.001 * d for d in linear(v))

    monkeypatch.setattr(torch.func, "linearize", wrong)
    assert isinstance(linearized_hessian(energy_of(net), net.parameters(), net), HessianOperator)
    assert "is off by 0.001" in caplog.text
    assert linearized._TOLERANCE == 1e-4


def test_a_parameter_of_another_module_is_refused():
    net = network()
    with pytest.raises(UsageError, match="must belong to Linear"):
        linearized_hessian(energy_of(net), net.parameters(), net[0])


def test_replicas():
    class Wells(nn.Module):
        def __init__(self):
            super().__init__()
            self.x = nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64))

        def forward(self):
            return (self.x**4).sum(-1) / 12

    energy = Wells()
    H = linearized_hessian(energy, energy.parameters(), energy)
    assert not isinstance(H, HessianOperator)
    torch.testing.assert_close(H.dense(), torch.diag_embed(energy.x.detach() ** 2))
