"""Hessians of small networks, against dense float64 Hessians found by other means."""

import copy
import functools
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lightning_landscape.callbacks.measuring import measuring
from lightning_landscape.curvature import HessianOperator, select
from lightning_landscape.errors import UsageError
from lightning_landscape.testing import OperatorCase, OperatorContract

MASKS = 5  # the seed of dropout


def dense_hessian(module, energy):
    """The Hessian of energy(module) in float64: reverse over reverse, on one flat vector."""
    module = copy.deepcopy(module).double()
    parameters = dict(module.named_parameters())
    start = torch.cat([p.detach().flatten() for p in parameters.values()])

    def of_vector(x):
        torch.manual_seed(MASKS)
        parts = x.split([p.numel() for p in parameters.values()])
        values = {n: v.view_as(p) for (n, p), v in zip(parameters.items(), parts, strict=True)}
        holder = _Holder(module, energy)
        return torch.func.functional_call(holder, {f"module.{n}": v for n, v in values.items()}, ())

    with measuring(module):
        return torch.autograd.functional.hessian(of_vector, start)[None]


class _Holder(nn.Module):
    def __init__(self, module, energy):
        super().__init__()
        self.module, self.energy = module, energy

    def forward(self):
        return self.energy(self.module)


def inputs(module, *shape):
    """The same random numbers in the dtype of the module."""
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    return x.to(next(module.parameters()).dtype)


class OfNetwork(OperatorContract):
    shape, classes, chunk = (20, 6), 4, 1

    def net(self):
        raise NotImplementedError

    def energy(self, module):
        labels = torch.arange(self.shape[0]) % self.classes
        return F.cross_entropy(module(inputs(module, *self.shape)), labels)

    @classmethod
    @functools.cache  # once for all tests of a class
    def reference(cls):
        torch.manual_seed(3)
        self = cls()
        return dense_hessian(self.net(), self.energy)

    def case(self, dtype):
        dense = self.reference()
        torch.manual_seed(3)
        module = self.net().to(dtype)

        def build():
            torch.manual_seed(MASKS)
            return HessianOperator(lambda: self.energy(module), module.parameters(), self.chunk)

        return OperatorCase(build, dense, module)


class TestMLP(OfNetwork):
    def net(self):
        return nn.Sequential(
            nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5), nn.GELU(), nn.Linear(5, 4)
        )


class TestInChunks(TestMLP):
    chunk = 3


class TestReLU(OfNetwork):
    def net(self):
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))


class TestConvolutions(OfNetwork):
    shape = (5, 2, 6, 6)

    def net(self):
        return nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(3, 4, 2), nn.SiLU(), nn.Flatten(), nn.Linear(16, 4),
        )  # fmt: skip


class TestBatchNormInTrainingMode(OfNetwork):
    def net(self):
        return nn.Sequential(nn.Linear(6, 7), nn.BatchNorm1d(7), nn.Tanh(), nn.Linear(7, 4))


class TestDropoutInTrainingMode(OfNetwork):
    def net(self):
        return nn.Sequential(nn.Linear(6, 9), nn.Dropout(0.4), nn.Tanh(), nn.Linear(9, 4))


class TestAttention(OfNetwork):
    shape = (6, 4, 6)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.head = nn.Linear(6, 18), nn.Linear(6, 4)

        def forward(self, x):
            q, k, v = self.qkv(x).unflatten(-1, (2, 9)).transpose(1, 2).chunk(3, dim=-1)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.head(y.transpose(1, 2).flatten(2).mean(1))

    def net(self):
        return self.Net()


class TestTransformerBlock(OfNetwork):
    shape = (4, 3, 4)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.TransformerEncoderLayer(4, 2, 5, dropout=0.2, batch_first=True)

        def forward(self, x):
            return self.block(x).mean(1)

    def net(self):
        return self.Net()


class TestUnusedAndLinearParameters(OfNetwork):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused, self.used = nn.Linear(2, 2), nn.Linear(6, 4)
            self.shift = nn.Parameter(torch.tensor(0.3))

    def net(self):
        return self.Net()

    def energy(self, module):
        x = inputs(module, *self.shape)
        return F.cross_entropy(module.used(x), torch.arange(20) % 4) + 2 * module.shift


class TestReplicas(OperatorContract):
    """Five networks at once; the reference takes them one by one."""

    R = 5

    def weights(self, dtype):
        g = torch.Generator().manual_seed(2)
        shapes = [(self.R, 6, 3), (self.R, 6), (self.R, 2, 6)]
        return [torch.randn(s, generator=g).to(dtype).requires_grad_() for s in shapes]

    def energies(self, W, b, A):
        x = torch.randn(9, 3, generator=torch.Generator().manual_seed(4)).to(W.dtype)
        hidden = torch.tanh(torch.einsum("rij,mj->rmi", W, x) + b[:, None])
        outputs = torch.einsum("rij,rmj->rmi", A, hidden)
        return outputs.logsumexp(-1).mean(-1)

    @classmethod
    @functools.cache
    def reference(cls):
        self = cls()
        weights = self.weights(torch.float64)
        sizes = [w[0].numel() for w in weights]

        def of_one(x):
            parts = x.split(sizes)
            return self.energies(
                *(v.view(1, *w.shape[1:]) for v, w in zip(parts, weights, strict=True))
            )[0]

        points = torch.cat([w.detach().flatten(1) for w in weights], dim=1)
        return torch.stack([torch.autograd.functional.hessian(of_one, x) for x in points])

    def case(self, dtype):
        weights = self.weights(dtype)
        return OperatorCase(
            lambda: HessianOperator(lambda: self.energies(*weights), weights), self.reference()
        )


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def energy_of(net, rows=8):
    x = inputs(net, rows, 3)
    return lambda: net(x).square().sum(-1).mean()


def test_energies_and_gradients_come_with_it():
    weights = TestReplicas().weights(torch.float64)
    H = HessianOperator(lambda: TestReplicas().energies(*weights), weights)
    E = TestReplicas().energies(*weights)
    gradient = torch.autograd.grad(E.sum(), weights)
    torch.testing.assert_close(H.energies, E.detach())
    torch.testing.assert_close(H.gradient, torch.cat([g.flatten(1) for g in gradient], dim=1))


def test_gradients_that_wait_are_neither_doubled_nor_touched():
    net = small()
    energy = energy_of(net)
    V = torch.randn(1, 2, 26)
    alone = HessianOperator(energy, net.parameters()) @ V
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch too says that this makes a cycle
        energy().backward(create_graph=True)
    waiting = [p.grad for p in net.parameters()]
    values = [g.detach().clone() for g in waiting]
    assert torch.equal(HessianOperator(energy, net.parameters()) @ V, alone)
    for p, g, value in zip(net.parameters(), waiting, values, strict=True):
        assert p.grad is g
        assert torch.equal(g, value)
        p.grad = None


def test_an_energy_that_is_linear_everywhere_has_no_curvature():
    x = torch.ones(3, requires_grad=True)
    H = HessianOperator(lambda: (torch.arange(3.0) * x).sum(), [x])
    assert torch.equal(H.gradient, torch.tensor([[0.0, 1.0, 2.0]]))
    assert not (H @ torch.ones(4, 3)).any()
    assert not HessianOperator(lambda: (torch.arange(3.0) * x).sum(), [x], chunk=2).dense().any()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_stays_flat_over_many_measurements():
    """Each graph holds 4 MB of activations; without leak they never add up."""
    net = nn.Sequential(
        nn.Linear(3, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 2)
    )
    energy = energy_of(net, rows=2048)

    def measure():
        H = HessianOperator(energy, net.parameters())
        H @ torch.ones(1, H.N)

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    for _ in range(5):
        measure()
    before = resident()
    for _ in range(40):
        measure()
    assert resident() - before < 40e6


def test_a_parameter_that_moves_makes_the_operator_stale():
    net = small()
    H = HessianOperator(energy_of(net), net.parameters())
    H @ torch.ones(1, H.N)
    torch.optim.SGD(net.parameters(), lr=0.1).step()  # no gradients, so nothing moves
    H @ torch.ones(1, H.N)
    with torch.no_grad():
        net[0].bias.add_(0.1)
    with pytest.raises(UsageError, match=r"\(4,\).*changed since the operator was built"):
        H @ torch.ones(1, H.N)


def test_the_block_of_a_layer_is_the_hessian_of_its_parameters():
    net = small().double()
    whole = HessianOperator(energy_of(net), net.parameters()).dense()
    layer = HessianOperator(energy_of(net), select(net, "2")).dense()
    torch.testing.assert_close(layer, whole[:, 16:, 16:])


@pytest.mark.parametrize(
    "setting", [torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", torch.bfloat16)]
)
def test_the_setting_around_it_makes_no_difference(setting):
    net = small()
    energy = energy_of(net)
    reference = HessianOperator(energy, net.parameters()).dense()
    with setting:
        assert torch.equal(HessianOperator(energy, net.parameters()).dense(), reference)


@pytest.mark.parametrize(
    ("energy", "parameters", "sentence"),
    [
        (lambda x: x.detach().sum(), lambda x: [x], "depends on no parameter"),
        (lambda x: x.outer(x), lambda x: [x], "a scalar, or one per replica"),
        (lambda x: 3.0, lambda x: [x], "a scalar, or one per replica"),
        (lambda x: x[:2] ** 2, lambda x: [x], r"the energy has shape \(2,\)"),
        (lambda x: x.sum(), lambda x: [], "at least one tensor"),
        (lambda x: x.sum(), lambda x: [x, x], "must be distinct"),
        (lambda x: x.sum(), lambda x: [x, torch.ones(2)], "must all require gradients"),
        (lambda x: x.sum(), lambda x: [x, torch.ones(2).double().requires_grad_()], "one dtype"),
        (lambda x: x.sum(), lambda x: [x.to(torch.bfloat16)], "float32 or float64"),
    ],
)
def test_misuse_is_refused_with_a_sentence(energy, parameters, sentence):
    x = torch.ones(3, requires_grad=True)
    with pytest.raises(UsageError, match=sentence):
        HessianOperator(lambda: energy(x), parameters(x))
