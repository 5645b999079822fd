import math

import numpy as np
import pytest
import torch
from torch import nn

from lightning_landscape.activations import ACTIVATIONS
from lightning_landscape.curvature.operators.of_energy import hessian_of
from lightning_landscape.data import RandomData
from lightning_landscape.energies.networks.architectures import FullyConnected
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.errors import UsageError

# activations


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_pull_is_the_derivative(name):
    sigma = ACTIVATIONS[name]
    z = torch.linspace(-4, 4, 60, dtype=torch.float64).requires_grad_()
    g = torch.randn(60, dtype=torch.float64)
    (expected,) = torch.autograd.grad(sigma.value(z), z, g)
    left = z.detach().clone()
    h = sigma.value_(left)
    torch.testing.assert_close(h, sigma.value(z).detach())
    pulled = g.clone()
    assert sigma.pull_(pulled, left) is pulled
    torch.testing.assert_close(pulled, expected)


def average(function, K):
    """<function(z)> over z ~ N(0, K), by Gauss-Legendre on both sides of the kink at 0."""
    u, w = np.polynomial.legendre.leggauss(200)
    u, w = np.concatenate([6 * u - 6, 6 * u + 6]), np.concatenate([6 * w, 6 * w])
    density = torch.as_tensor(w * np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi))
    return (density * function(torch.as_tensor(math.sqrt(K) * u))).sum().item()


# K* = 0 is approached: both susceptibilities deviate by O(K)
@pytest.mark.parametrize(
    "name, K, tolerance",
    [
        ("relu", 1.7, 1e-9),
        ("linear", 1.7, 1e-9),
        ("tanh", 1e-7, 1e-6),
        ("erf", 1e-7, 1e-6),
        ("gelu", (3 + 17**0.5) / 2, 1e-9),
    ],
)
def test_default_initialisation_is_critical(name, K, tolerance):
    sigma = ACTIVATIONS[name]

    def derivative(z):
        left = z.clone()
        sigma.value_(left)
        return sigma.pull_(torch.ones_like(z), left)

    C_W, C_b = sigma.weight_variance, sigma.bias_variance
    chi_perp = C_W * average(lambda z: derivative(z) ** 2, K)
    chi_parallel = C_W * average(lambda z: z * sigma.value(z) * derivative(z), K) / K
    following = C_b + C_W * average(lambda z: sigma.value(z) ** 2, K)
    assert chi_perp == pytest.approx(1, abs=tolerance)
    assert chi_parallel == pytest.approx(1, abs=tolerance)
    assert following / K == pytest.approx(1, abs=tolerance)


# initialisation


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_initial_variances(name):
    R, widths = 20, [40, 60, 50, 10]
    net, sigma = FullyConnected(widths, name, replicas=R, seed=3), ACTIVATIONS[name]
    for l, (W, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        assert W.shape == (R, widths[l + 1], widths[l]) and b.shape == (R, widths[l + 1])
        for values, variance in ((W, sigma.weight_variance / widths[l]), (b, sigma.bias_variance)):
            n = values.numel()
            relative = values.detach().square().mean().item() / variance if variance else 1.0
            assert abs(relative - 1) < 4 * (2 / n) ** 0.5  # 4 s.e. of a variance
            assert abs(values.detach().mean().item()) <= 4 * (variance / n) ** 0.5


def test_given_variances_replace_the_critical_ones():
    net = FullyConnected([100, 100, 1], replicas=10, weight_variance=0.5, bias_variance=4.0)
    W, b = net.weights[0].detach(), net.biases[0].detach()
    assert abs(100 * W.var().item() / 0.5 - 1) < 4 * (2 / W.numel()) ** 0.5
    assert abs(b.var().item() / 4 - 1) < 4 * (2 / b.numel()) ** 0.5
    assert not FullyConnected([100, 1], weight_variance=0.0).weights[0].any()


def test_replicas_and_layers_are_independent():
    net = FullyConnected([30, 30, 30], replicas=6, weight_variance=30.0)
    draws = torch.cat([W.detach().flatten(1) for W in net.weights]).double()  # 12 times 900
    correlation = draws @ draws.T / 900
    off_diagonal = correlation - correlation.diagonal().diag()
    assert off_diagonal.abs().max() < 4.5 / 30  # the largest of 66 normals of s.e. 1/30


def test_a_replica_starts_the_same_among_any_number():
    few, many = FullyConnected([7, 20, 3], replicas=4), FullyConnected([7, 20, 3], replicas=64)
    for p, q in zip(few.parameters(), many.parameters(), strict=True):
        assert torch.equal(p, q[:4])
    other = FullyConnected([7, 20, 3], replicas=4, seed=1)
    assert not torch.equal(few.weights[0], other.weights[0])


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-6), ("float64", 1e-14)])
def test_orthogonal_weights_are_orthogonal(dtype, tolerance):
    widths, R = [20, 20, 35, 7], 3
    net = FullyConnected(widths, "gelu", R, dtype=dtype, initialization="orthogonal")
    for W, n, m in zip(net.weights, widths[1:], widths[:-1], strict=True):
        W = W.detach()
        gram = W @ W.mT if n < m else W.mT @ W  # of the shorter side: gain 1
        torch.testing.assert_close(
            gram, torch.eye(min(n, m), dtype=W.dtype).expand(R, -1, -1), rtol=0, atol=tolerance
        )
        assert not torch.allclose(W[0], W[1], atol=0.1)
    assert not any(b.any() for b in net.biases)
    hot = FullyConnected(widths, replicas=R, initialization="orthogonal", weight_variance=4.0)
    torch.testing.assert_close(hot.weights[1].double(), 2 * net.weights[1].double())


def test_orthogonal_weights_are_haar_distributed():
    """A Haar matrix of order 3 has <(tr W)^2> = 1, <(tr W)^4> = 3 and <tr W> = 0.

    LAPACK's own Q of normals has other traces: its reflections leave signs that are not random.
    """
    R = 20_000
    net = FullyConnected([3, 3], replicas=R, initialization="orthogonal", dtype="float64")
    trace = torch.einsum("rii->r", net.weights[0].detach())
    for power, expected in ((1, 0), (2, 1), (4, 3)):
        moment = trace**power
        assert abs(moment.mean().item() - expected) < 4 * moment.std().item() / R**0.5  # 4 s.e.


def test_an_orthogonal_replica_starts_the_same_among_any_number_and_precision():
    few = FullyConnected([7, 20, 3], replicas=2, initialization="orthogonal")
    many = FullyConnected([7, 20, 3], replicas=5, initialization="orthogonal", dtype="float64")
    for p, q in zip(few.parameters(), many.parameters(), strict=True):
        assert torch.equal(p, q[:2].float())


# the function


def test_pre_activations_of_a_wide_relu_net_keep_their_variance():
    """K^{l+1} = C_W <sigma^2>_K = K, from K^1 = C_W |x|^2 / d = 2, at any depth.

    The kernel of one net of width n varies by K^2 [(1 + 5/n)^(l-1) - 1], and the mean square of n
    neurons by another 2 K^2 / n.
    """
    n, R = 400, 20
    net = FullyConnected([n, n, n, n, n], replicas=R)
    x = torch.ones(1, 1, n)
    z = net(x).detach().squeeze(1)  # (R, n)
    G = z.square().mean(1)
    error = 2 * (((1 + 5 / n) ** 3 - 1 + 2 / n) / R) ** 0.5
    assert abs(G.mean().item() - 2) < 4 * error  # 4 s.e. = 0.38


def test_samples_of_any_shape_shared_or_not():
    net = FullyConnected([12, 8, 3], "tanh", replicas=4, bias_variance=1.0, dtype="float64")
    x = torch.randn(4, 9, 3, 2, 2, dtype=torch.float64)
    assert net(x).shape == (4, 9, 3)
    torch.testing.assert_close(net(x[:1]), net(x[:1].expand(4, -1, -1, -1, -1)))
    for r in range(4):
        h = x[r].flatten(1)
        h = (h @ net.weights[0][r].T + net.biases[0][r]).tanh()
        torch.testing.assert_close(net(x)[r], h @ net.weights[1][r].T + net.biases[1][r])


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_pullback_is_that_of_autograd(name, shared):
    # equal widths in sequence, and not: where a gradient takes the place of an activation
    for widths in ([6, 5, 5, 5, 3], [6, 5, 4, 5, 5], [3, 3, 3], [4, 1]):
        net = FullyConnected(widths, name, 4, bias_variance=1.0, dtype="float64")
        x = torch.randn(1 if shared else 4, 11, widths[0], dtype=torch.float64)
        g = torch.randn(4, 11, widths[-1], dtype=torch.float64)
        parameters = tuple(net.parameters())
        expected = torch.autograd.grad(net(x), parameters, g)
        with torch.no_grad():
            outputs, pull = net.pullback(parameters, x)
            torch.testing.assert_close(outputs, net(x))
            pulled = pull(g)
        for a, b in zip(pulled, expected, strict=True):
            torch.testing.assert_close(a, b)


def test_working_memory_is_bounded():
    net = FullyConnected([3, 4, 1], replicas=2)
    with torch.no_grad():
        for P in range(1, 20):
            net.pullback(tuple(net.parameters()), torch.zeros(1, P, 3))
    assert len(net._kept) <= 4


@pytest.mark.parametrize(
    "arguments",
    [
        {"widths": [3]},
        {"widths": [3, 0, 1]},
        {"replicas": 0},
        {"activation": "rleu"},
        {"weight_variance": -1.0},
        {"bias_variance": -1.0},
        {"dtype": "float16"},
        {"initialization": "orthgonal"},
    ],
)
def test_bad_arguments_give_one_sentence(arguments):
    (name,) = arguments
    with pytest.raises(UsageError, match=name):
        FullyConnected(**{"widths": [3, 1], **arguments})


def test_what_does_not_fit_into_memory_is_refused_before_it_is_made():
    with pytest.raises(UsageError, match=r"GB of memory.*lower the widths"):
        FullyConnected([10**6, 10**6, 10], replicas=64)


def test_a_layer_is_torchs():
    linear = nn.Linear(4, 3)
    net = FullyConnected([4, 3], replicas=1)
    net.weights[0].data[0], net.biases[0].data[0] = linear.weight.data, linear.bias.data
    x = torch.randn(5, 4)
    torch.testing.assert_close(net(x.unsqueeze(0))[0], linear(x))


# skip connections


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "erf", "linear"])
def test_skip_connections_join_hidden_layers(name):
    net = FullyConnected([5, 8, 8, 8, 3], name, 2, dtype="float64", skip=0.6)
    x, sigma = torch.randn(1, 7, 5, dtype=torch.float64), ACTIVATIONS[name].value
    for r in range(2):
        W, b = [w[r] for w in net.weights], [c[r] for c in net.biases]
        z = x[0] @ W[0].T + b[0]
        for l in (1, 2):
            z = sigma(z) @ W[l].T + b[l] + 0.6 * z
        torch.testing.assert_close(net(x)[r], sigma(z) @ W[3].T + b[3])
    parameters, g = tuple(net.parameters()), torch.randn(2, 7, 3, dtype=torch.float64)
    expected = torch.autograd.grad(net(x), parameters, g)
    with torch.no_grad():
        outputs, pull = net.pullback(parameters, x)
        torch.testing.assert_close(pull(g), list(expected))
        torch.testing.assert_close(outputs, net(x))


def test_skip_connections_share_the_variance():
    net = FullyConnected([5, 200, 200, 1], "gelu", replicas=4, skip=0.8, width_exponent=1.0)
    assert net.weight_variance == pytest.approx(0.36 * ACTIVATIONS["gelu"].weight_variance)
    assert net.bias_variance == pytest.approx(0.36 * ACTIVATIONS["gelu"].bias_variance)
    for W, fan_in in ((net.weights[1], 200), (net.weights[2], 200**2)):
        relative = W.detach().square().mean().item() * fan_in / net.weight_variance
        assert abs(relative - 1) < 4 * (2 / W.numel()) ** 0.5


def test_the_energy_has_the_hessian_of_a_network_with_skips():
    net = FullyConnected([4, 5, 5, 1], "tanh", dtype="float64", skip=0.5)
    energy = NetworkEnergy(net, RandomData(samples=6, dimension=4), "squared")
    v = [torch.randn_like(p) for p in energy.parameters()]
    gradient = torch.autograd.grad(energy().sum(), list(energy.parameters()), create_graph=True)
    product = torch.autograd.grad(gradient, list(energy.parameters()), v)
    expected = torch.cat([p.flatten() for p in product])
    found = hessian_of(energy) @ torch.cat([p.flatten() for p in v]).unsqueeze(0)
    torch.testing.assert_close(found.flatten(), expected)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"skip": 1.0}, "^skip = 1.0"),
        ({"skip": 0.5, "widths": [3, 4, 5, 1]}, "^widths = .*equal"),
        (
            {"initialization": "critical", "activation": "softplus"},
            "^activation = softplus: has",
        ),
        ({"initialization": "critical", "activation": "sigmoid"}, "^activation = sigmoid: has no"),
        ({"initialization": "critical", "weight_variance": 2.0}, "^weight_variance = 2.0"),
    ],
)
def test_what_is_no_critical_network_is_refused(change, message):
    with pytest.raises(UsageError, match=message):
        FullyConnected(**{"widths": [3, 4, 4, 1], **change})
