"""Gauss-Newton, Fisher and the two parts of the Hessian, against sums over samples."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lightning_landscape.curvature import (
    GaussNewtonOperator,
    HessianOperator,
    empirical_fisher,
    split_hessian,
)
from lightning_landscape.errors import UsageError
from lightning_landscape.testing import OperatorCase, OperatorContract

P = 12


def network(activation=nn.Tanh, outputs=3, dtype=torch.float64):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 5), activation(), nn.Linear(5, outputs)).to(dtype)


def samples(dtype=torch.float64):
    g = torch.Generator().manual_seed(2)
    return torch.randn(P, 4, generator=g).to(dtype), torch.arange(P) % 3


def gradient(net, value):
    parts = torch.autograd.grad(value, list(net.parameters()), retain_graph=True)
    return torch.cat([part.flatten() for part in parts])


def jacobian(net):
    """Derivatives of all outputs, shape (P, outputs, N)."""
    f = net(samples()[0])
    rows = [gradient(net, value) for value in f.flatten()]
    return torch.stack(rows).unflatten(0, f.shape)


class TestGaussNewtonOfCrossEntropy(OperatorContract):
    """The Fisher information: the mean of g_c g_c^T over samples and the labels c of the model."""

    @staticmethod
    @functools.cache  # once for all tests of the class
    def fisher():
        reference = network()
        x, _ = samples()
        logp = F.log_softmax(reference(x), dim=-1)
        N = sum(p.numel() for p in reference.parameters())
        fisher = torch.zeros(N, N, dtype=torch.float64)
        for m in range(P):
            for c in range(3):
                g = gradient(reference, logp[m, c])
                fisher += logp[m, c].detach().exp() * torch.outer(g, g) / P
        return fisher[None]

    def case(self, dtype):
        x, y = samples(dtype)
        net = network(dtype=dtype)

        def build():
            return GaussNewtonOperator(
                lambda: net(x), lambda f: F.cross_entropy(f, y), net.parameters()
            )

        return OperatorCase(build, self.fisher(), net)


class TestEmpiricalFisher(OperatorContract):
    def case(self, dtype):
        reference = network()
        x, y = samples()
        losses = F.cross_entropy(reference(x), y, reduction="none")
        g = torch.stack([gradient(reference, loss) for loss in losses])
        net = network(dtype=dtype)
        x = x.to(dtype)

        def build():
            return empirical_fisher(
                lambda: F.cross_entropy(net(x), y, reduction="none"), net.parameters()
            )

        return OperatorCase(build, (g.T @ g / P)[None], net)


class TestReplicasWithWeightsOfSamples(OperatorContract):
    """f_m = sin(x . a_m) for R = 3 points x, each with its own weights of the samples."""

    def case(self, dtype):
        g = torch.Generator().manual_seed(3)
        x = torch.randn(3, 4, generator=g).double()
        a, w = torch.randn(P, 4, generator=g).double(), torch.rand(3, P, generator=g).double()
        J = (x @ a.T).cos()[..., None] * a  # (3, P, 4)
        dense = torch.einsum("rm,rmi,rmj->rij", w, J, J)
        point, a, w = x.to(dtype).requires_grad_(), a.to(dtype), w.to(dtype)

        def build():
            return GaussNewtonOperator(
                lambda: (point @ a.T).sin(), lambda f: (w * f.square()).sum(-1) / 2, [point]
            )

        return OperatorCase(build, dense)


def hinge(gaps):
    return gaps.relu().square().mean(-1) / 2


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_the_two_parts_of_the_quadratic_hinge(activation):
    """H0 is the sum over violated gaps, H0 + Hp the Hessian, and tr Hp = 0 for ReLU."""
    net = network(activation, outputs=1)
    y = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(P // 2)

    def gaps():
        return 0.1 - y * net(samples()[0])[:, 0]

    H0, Hp = split_hessian(gaps, hinge, net.parameters())
    violated = (gaps() > 0).detach()
    assert 2 <= violated.sum() <= P - 2
    J = jacobian(net)[violated, 0]
    H0, Hp = H0.dense()[0], Hp.dense()[0]
    torch.testing.assert_close(H0, J.T @ J / P)
    whole = HessianOperator(lambda: hinge(gaps()), net.parameters()).dense()[0]
    torch.testing.assert_close(H0 + Hp, whole)
    trace = Hp.trace().abs() / torch.linalg.matrix_norm(Hp)
    assert (trace < 1e-12) == (activation is nn.ReLU)
    assert torch.linalg.matrix_rank(H0) <= violated.sum()


def test_the_two_parts_share_one_evaluation():
    net, calls = network(), []

    def outputs():
        calls.append(1)
        return net(samples()[0])

    y = samples()[1]
    H0, Hp = split_hessian(outputs, lambda f: F.cross_entropy(f, y), net.parameters())
    assert len(calls) == 1
    whole = HessianOperator(lambda: F.cross_entropy(net(samples()[0]), y), net.parameters())
    torch.testing.assert_close((H0 + Hp).dense(), whole.dense())
    torch.testing.assert_close(Hp.gradient, whole.gradient)


def test_a_loss_that_is_linear_in_the_outputs_has_no_gauss_newton_part():
    net = network()
    G = GaussNewtonOperator(lambda: net(samples()[0]), lambda f: f.sum(), net.parameters())
    assert not G.dense().any()


def test_outputs_without_graph_are_refused():
    net = network()
    with pytest.raises(UsageError, match="depends on no parameter"):
        GaussNewtonOperator(lambda: net(samples()[0]).detach(), lambda f: f.sum(), net.parameters())
