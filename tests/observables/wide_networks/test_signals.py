"""Signals: K and the susceptibilities against theory, finite differences and brute force."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import nn

from lightning_landscape.energies import FullyConnected
from lightning_landscape.energies.networks.resnet import ResNet18
from lightning_landscape.errors import UsageError
from lightning_landscape.observables.wide_networks import (
    initial_signals,
    layers_of,
    module_signals,
    signals,
)
from lightning_landscape.results.quantities.wide_networks.criticality import predicted
from lightning_landscape.theory.wide_networks import Layer, first_order, metric_law


def on_sphere(P, n, seed=0):
    x = torch.randn(P, n, generator=torch.Generator().manual_seed(seed))
    return x * n**0.5 / x.norm(dim=1, keepdim=True)


# fully connected networks


@pytest.mark.parametrize(
    "name, variances, skip",
    [
        ("tanh", (1.0, 0.0), 0.0),
        ("tanh", (3.0, 0.0), 0.0),  # chi_parallel -> .407178, chi_perp -> 1.238797
        ("relu", (2.0, 0.1), 0.0),
        ("gelu", (1.98, 0.17), 0.0),
        ("tanh", (0.5, 0.0), 0.7),
    ],
)
def test_networks_agree_with_the_flow(name, variances, skip):
    net = FullyConnected([20, *[300] * 6], name, 30, 2, *variances, skip=skip)
    found = signals(net, on_sphere(20, 20))
    layer = Layer(name, *variances, skip=skip)
    flow = layer.flow(variances[0] + variances[1], 6)
    for measured, exact in zip(found[:3], flow, strict=True):
        for l in range(4):  # the last layer has no skip connection
            error = measured[:, l].std().item() / 30**0.5
            slack = 0.02 * abs(exact[l])  # of order l / n
            assert measured[:, l].mean().item() == pytest.approx(exact[l], abs=4 * error + slack)
            assert error < 0.05 * exact[l]
    assert found.parallel[:, -1].isnan().all()


def test_far_from_criticality_the_flow_has_its_fixed_point():
    flow = Layer("tanh", 3.0).flow(1.0, 60)
    assert (flow.K[-1], flow.parallel[-1], flow.perpendicular[-1]) == pytest.approx(
        (1.345393, 0.407178, 1.238797), abs=2e-6
    )


def test_errors_over_samples_cover_what_other_samples_give():
    net = FullyConnected([20, 100, 100, 100], "tanh")
    parts = [signals(net, on_sphere(50, 20, seed), seed) for seed in range(40)]
    for name in ("K", "parallel", "perpendicular"):
        values = torch.stack([getattr(part, name)[0, :2] for part in parts])
        stated = torch.stack([getattr(part, f"{name}_error")[0, :2] for part in parts]).mean(0)
        ratio = values.std(0) / stated
        assert ((ratio > 0.6) & (ratio < 1.6)).all(), name
    assert signals(net, on_sphere(1, 20)).K_error.isnan().all()


@pytest.mark.parametrize("name, n, L", [("tanh", 32, 5), ("relu", 64, 4)])
def test_metrics_have_the_exact_law(name, n, L):
    """Mean, and variance of ln G, over networks; and V / n at leading order would fail."""
    R, layer = 4000, Layer.critical(name)
    net = FullyConnected([n] * (L + 1), name, R, seed=5)
    x = torch.ones(1, n) / layer.weight_variance**0.5
    G = initial_signals(net, x).metric[:, :, 0]
    law = metric_law(layer, 1.0, n, L)
    for l in (2, L - 1):
        assert G[:, l].mean().item() == pytest.approx(
            law.mean[l], abs=4 * G[:, l].std().item() / R**0.5
        )
        spread = G[:, l].log()
        variance, fourth = spread.var().item(), (spread - spread.mean()).pow(4).mean().item()
        error = ((fourth - variance**2) / R) ** 0.5
        assert variance == pytest.approx(law.log_variance[l], abs=4 * error)
        assert error < 0.06 * variance


def test_metrics_of_residual_networks_remember():
    """ReLU, gamma^2 = 1/2, l = 6: nu = 3.68, where the formula for even laws has 2.25."""
    skip, R, found = 0.5**0.5, 1500, {}
    layer = Layer.critical("relu", skip=skip)
    for n in (64, 128):
        net = FullyConnected([n] * 7 + [1], "relu", R, seed=1, skip=skip)
        measured = initial_signals(net, torch.ones(1, n))
        G = measured.metric[:, 5, 0]
        error = ((G - G.mean()).pow(4).mean() - G.var() ** 2).sqrt().item() / R**0.5
        scale = n / 5 / G.mean().item() ** 2
        found[n] = scale * measured.vertex()[5, 0].item(), scale * error
    nu = 2 * found[128][0] - found[64][0]  # without the term of order 1/n
    error = np.hypot(2 * found[128][1], found[64][1])
    exact = first_order(layer, 1.0, 6)
    assert exact.V[-1] / exact.K[-1] ** 2 / 5 == pytest.approx(3.678, abs=1e-3)
    assert nu == pytest.approx(3.678, abs=4 * error) and nu - 2.25 > 2 * error


def test_pairs_of_neurons_with_skip_connections():
    """tanh, gamma^2 = 1/2: V / n is the covariance of z^2 of two neurons, not the variance of G."""
    skip, n, R = 0.5**0.5, 32, 3000
    layer = Layer.critical("tanh", skip=skip)
    net = FullyConnected([n] * 6 + [1], "tanh", R, seed=2, skip=skip)
    x = torch.ones(1, n) / layer.weight_variance**0.5
    measured = initial_signals(net, x)
    z2 = net.preactivations(tuple(net.parameters()), x.unsqueeze(0))[4][:, :, 0].double().square()
    sums = z2.sum(1)
    products = (sums.square() - z2.square().sum(1)) / n / (n - 1)
    direct = (products.mean() - z2.mean() ** 2).item()
    error = (products - 2 * z2.mean() * z2.mean(1)).std().item() / R**0.5
    V = measured.vertex()[4, 0].item()
    assert direct == pytest.approx(V, abs=4 * error)
    exact = first_order(layer, 1.0, 5)
    assert V == pytest.approx(exact.V[-1] / n, rel=0.25)  # of order l / n
    assert measured.metric[:, 4, 0].var().item() > 1.4 * exact.V[-1] / n


def test_averages_over_the_layer_itself_have_less_variance():
    """V of tanh from the metric, from pairs of neurons, from the kurtosis of one: 1 : 31 : 550."""
    n, R = 64, 500
    exact = first_order(Layer.critical("tanh"), 1.0, 5).V[-1] / n

    def estimates(seed):
        net = FullyConnected([n] * 5 + [8], "tanh", R, seed)
        x = torch.ones(1, n)
        G = initial_signals(net, x).metric[:, -1, 0]
        z = net(x.unsqueeze(0))[:, 0].double()
        kurtosis = (z[:, 0].pow(4).mean() - 3 * z[:, 0].square().mean() ** 2) / 3
        return G.var().item(), kurtosis.item()

    found = np.array([estimates(seed) for seed in range(10)])
    assert found[:, 0].mean() == pytest.approx(exact, rel=0.15)
    assert np.var(found[:, 1]) > 60 * np.var(found[:, 0])


# any module


def mlp(activation, C_W, n=400, depth=5, bias=0.0):
    layers, m = [], 20
    for _ in range(depth):
        linear = nn.Linear(m, n)
        nn.init.normal_(linear.weight, std=(C_W / m) ** 0.5)
        nn.init.normal_(linear.bias, std=bias**0.5)
        layers += [linear, activation()]
        m = n
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize(
    "activation, name, C_W",
    [(nn.Tanh, "tanh", 1.0), (lambda: nn.ReLU(inplace=True), "relu", 2.0), (nn.SiLU, "swish", 1.9)],
)
def test_modules_agree_with_the_theory(activation, name, C_W):
    torch.manual_seed(0)
    nets = [mlp(activation, C_W) for _ in range(8)]
    x = on_sphere(30, 20)
    found = [module_signals(net, lambda net=net: net(x)) for net in nets]
    assert [info.activation for info in found[0][1]][:4] == [name] * 4
    flow = Layer(name, C_W).flow(C_W, 5)
    for field, exact in zip(("K", "parallel", "perpendicular"), flow, strict=True):
        values = torch.cat([getattr(each, field) for each, _ in found])[:, :4]
        error = values.std(0) / 8**0.5
        assert ((values.mean(0) - torch.from_numpy(exact[:4])).abs() < 5 * error + 0.02).all()


def conv():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.GELU(), nn.AvgPool2d(2), nn.Conv2d(6, 5, 3),
        nn.GroupNorm(1, 5), nn.Tanh(), nn.Flatten(), nn.Linear(20, 7),
    ).double()  # fmt: skip


def test_a_convolutional_network_agrees_with_brute_force():
    """Finite differences of z^{l+1} along z^l, and the mean over directions by its Jacobian."""
    net = conv()
    x = torch.randn(6, 2, 8, 8, dtype=torch.float64)
    found, infos = module_signals(net, lambda: net(x))
    repeated = [module_signals(net, lambda: net(x), seed=seed)[0] for seed in range(60)]
    z = [net[:1](x).detach(), net[:4](x).detach(), net(x).detach()]
    between = [net[1:4], net[4:]]
    for l in range(3):
        assert found.K[0, l].item() == pytest.approx(z[l].square().mean().item(), rel=1e-6)
    for l, f in enumerate(between):
        eps = 1e-6
        change = (f(z[l] * (1 + eps)) - f(z[l] * (1 - eps))).detach() / (2 * eps)
        parallel = (z[l + 1] * change).mean() / z[l].square().mean()
        assert found.parallel[0, l].item() == pytest.approx(parallel.item(), rel=1e-5, abs=1e-8)
        jacobian = [
            torch.autograd.functional.jacobian(f, z[l][p : p + 1]).flatten(1).square().sum()
            for p in range(6)
        ]
        exact = torch.stack(jacobian).mean().item() / z[l + 1][0].numel()  # <v^2> = 1
        values = torch.stack([each.perpendicular[0, l] for each in repeated])
        assert values.mean().item() == pytest.approx(exact, abs=4 * values.std().item() / 60**0.5)
        assert values.std().item() < 0.3 * exact
    assert infos[0].activation == "" and infos[0].passes == ("GELU", "AvgPool2d")
    assert (infos[1].activation, infos[1].norm) == ("tanh", "GroupNorm")
    assert infos[1].normalized == pytest.approx(1.0) and infos[1].fan_in == 54


def test_a_normalisation_makes_the_next_layer_blind_to_the_size():
    net = conv()
    x = torch.randn(6, 2, 8, 8, dtype=torch.float64)
    found, _ = module_signals(net, lambda: net(x))
    assert abs(found.parallel[0, 1]) < 0.01  # eps of the normalisation


@pytest.mark.parametrize("activation, growth", [(nn.ReLU, np.pi / (np.pi - 1)), (nn.Tanh, 1.1778)])
def test_batch_normalisation_makes_gradients_grow(activation, growth):
    """By <sigma'^2> / (<sigma^2> - <sigma>^2) at K = 1, whatever C_W is."""
    torch.manual_seed(1)
    layers, m = [], 300
    for _ in range(5):
        layers += [nn.Linear(m, 300), nn.BatchNorm1d(300), activation()]
    net = nn.Sequential(*layers, nn.Linear(m, 300))
    found, infos = module_signals(net, lambda: net(torch.randn(300, 300)))
    assert found.perpendicular[0, 1:5].mean().item() == pytest.approx(growth, rel=0.04)
    columns = np.array([[info.weight_variance, info.bias_variance] for info in infos]).T
    exact = predicted([asdict(info) for info in infos], *columns, K1=1 / 3)
    assert np.isnan(exact.perpendicular[0])
    np.testing.assert_allclose(exact.perpendicular[1:5], growth, rtol=0.02)
    np.testing.assert_allclose(found.K[0, 1:], exact.K[1:], rtol=0.05)


def test_repeated_blocks_are_the_layers_of_residual_networks():
    net = ResNet18(width=4, channels=1, normalization="group", replicas=1).copy_of(0)
    names = list(layers_of(net))
    assert names == ["stem.0", *(f"blocks.{k}" for k in range(8)), "head"]
    found, infos = module_signals(net, lambda: net(torch.randn(3, 1, 8, 8)))
    assert infos[1].kind == "_Block" and "GroupNorm" in infos[1].contains
    z = net.stem(torch.randn(2, 1, 8, 8))  # the skip connection is within the block: J = 1 + ...
    assert found.parallel[0, 1] > 0.5 and torch.isfinite(found.K).all() and len(z) == 2


def test_functions_between_modules_are_noticed():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 50), nn.Linear(50, 3)

        def forward(self, x):
            return self.second(torch.tanh(self.first(x)))

    net, x = Net(), torch.randn(5, 4)
    assert module_signals(net, lambda: net(x))[1][0].passes == ("tanh",)
    assumed = module_signals(net, lambda: net(x), activation="tanh")[1][0]
    assert assumed.activation == "tanh" and assumed.passes == ("function",)
    with pytest.raises(UsageError, match=r"^activation = tahn: .*did you mean tanh"):
        module_signals(net, lambda: net(x), activation="tahn")


def test_the_graph_of_the_loss_survives():
    """A training step may differentiate inside: the outputs keep their graph."""
    net, x = mlp(nn.Tanh, 1.0, n=8), torch.randn(4, 20)
    before = [p.clone() for p in net.parameters()]

    def run():
        loss = net(x).square().mean()
        assert all(g is not None for g in torch.autograd.grad(loss, list(net.parameters())))

    module_signals(net, run)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_fewer_than_two_layers_are_refused():
    with pytest.raises(UsageError, match=r"^module = Linear: must have at least two"):
        layers_of(nn.Linear(3, 3))
    net = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
    with pytest.raises(UsageError, match=r"fewer than two of them are evaluated"):
        module_signals(net, lambda: net[0](torch.ones(1, 3)))
