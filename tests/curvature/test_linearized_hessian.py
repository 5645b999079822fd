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
from lightning_landscape.curvature.operators.linear_program import LinearProgram
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


@functools.cache
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


def test_what_cannot_be_traced_falls_back_and_leaves_the_module_as_it_was(caplog):
    net = network(torch.float32, nn.BatchNorm1d(6))
    parameters = list(net.parameters())
    with measuring(net), caplog.at_level(logging.INFO):
        H = linearized_hessian(energy_of(net), parameters, net)
        assert isinstance(H, HessianOperator)
        assert H.symmetry_defect().item() < 1e-5
    assert "no linearized form" in caplog.text
    assert all(p is q for p, q in zip(net.parameters(), parameters, strict=True))


def test_a_mask_stays_the_same_for_all_products():
    net = network(torch.float64, nn.Dropout(0.3))
    with measuring(net):
        H = linearized_hessian(energy_of(net), net.parameters(), net)
        V = torch.randn(2, H.N, dtype=torch.float64)
        assert not isinstance(H, HessianOperator)
        torch.testing.assert_close(H @ V, H @ V, rtol=0, atol=0)
        assert H.symmetry_defect().item() < 1e-12


def test_a_form_that_is_wrong_is_not_used(monkeypatch, caplog):
    net = network()
    call = LinearProgram.__call__
    wrong = lambda self, v: [1.001 * d for d in call(self, v)]  # noqa: E731
    monkeypatch.setattr(LinearProgram, "__call__", wrong)
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


def test_a_program_frees_what_it_has_used_and_writes_into_no_constant():
    constant = torch.ones(3)

    def function(x):
        total = constant.clone().mul_(x)  # a constant that is written into
        total[1:].add_(x[1:] ** 2)
        return [total, torch.zeros(2)]

    point, v = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([5.0, 6.0, 7.0])
    program = LinearProgram(function, [point], [torch.ones(3)])
    for _ in range(2):
        first, second = program([v])
        torch.testing.assert_close(first, torch.tensor([5.0, 30.0, 49.0]))
        assert not second.any()


@pytest.mark.parametrize("kind", ["transformer", "recurrent", "group norm"])
def test_modules_of_many_kinds(kind):
    torch.manual_seed(0)
    x = torch.randn(4, 6, 8, dtype=torch.float64)
    net = {
        "transformer": lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True),
        "recurrent": lambda: nn.LSTM(8, 5, batch_first=True),
        "group norm": lambda: nn.Sequential(nn.Conv1d(6, 4, 3), nn.GroupNorm(2, 4), nn.GELU()),
    }[kind]().double()

    def energy():
        out = net(x)
        return (out[0] if isinstance(out, tuple) else out).pow(3).mean()

    H, reference = (
        linearized_hessian(energy, net.parameters(), net),
        HessianOperator(energy, net.parameters()),
    )
    V = torch.randn(3, H.N, dtype=torch.float64)
    torch.testing.assert_close(H @ V, reference @ V)
    assert not isinstance(H, HessianOperator)
