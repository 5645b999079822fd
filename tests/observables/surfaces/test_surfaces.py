"""Loss surfaces: exact on a quadratic, equal to a loop, and directions in the scale of weights."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lightning_landscape.data import XOR, RandomData
from lightning_landscape.energies import (
    FullyConnected,
    NetworkEnergy,
    Quadratic,
    SphericalPSpin,
    WithL2,
)
from lightning_landscape.errors import UsageError
from lightning_landscape.observables.surfaces import (
    Cut,
    barrier,
    energy_on,
    evaluate,
    grid,
    loss_on,
    normalized,
    principal_directions,
    random_directions,
    with_parameters,
)
from lightning_landscape.observables.surfaces._affine_layers import _equal

AXES = [torch.linspace(-1, 1, 5).double(), torch.linspace(-2, 1, 4).double()]


def test_a_quadratic_is_exact_on_any_plane():
    energy = Quadratic([1.0, 3.0, -2.0, 0.5], rotate=True, dtype="float64")
    generator = torch.Generator().manual_seed(0)
    origin, *d = torch.randn(3, 4, generator=generator).double()
    values = evaluate(energy_on(energy, Cut(origin, torch.stack(d))), AXES, at_once=3)
    A = energy.matrix
    for i, a in enumerate(AXES[0]):
        for j, b in enumerate(AXES[1]):
            x = origin + a * d[0] + b * d[1]
            assert values[i, j].item() == pytest.approx((x @ A @ x / 2).item(), abs=1e-13)


def by_loop(energy, cut, axes, split="train"):
    one = energy.only(torch.tensor([0]))
    values = []
    for c in grid(axes):
        one.place((cut.origin + c @ cut.directions)[None])
        values.append(one().item() if split == "train" else one.evaluate(split)["energy"].item())
    return torch.tensor(values, dtype=torch.float64).view(*map(len, axes))


@pytest.mark.parametrize(
    ("widths", "skip"), [([5, 7, 7, 1], 0.0), ([5, 6, 6, 1], 0.5), ([5, 1], 0.0)]
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_network_is_equal_to_a_loop_over_the_grid(widths, skip, split, monkeypatch):
    monkeypatch.setattr(FullyConnected, "block_samples", 16)  # several blocks of samples
    data = RandomData(samples=40, dimension=5, test_samples=30)
    net = FullyConnected(widths, "tanh", replicas=3, bias_variance=0.1, dtype="float64", skip=skip)
    energy = WithL2(NetworkEnergy(net, data), [0.01, 0.02, 0.03])
    directions = random_directions([p[0] for p in energy.parameters()], normalization="none")
    cut = Cut(energy.configuration()[0], directions)
    before = energy.configuration()
    values = evaluate(energy_on(energy, cut, split=split), AXES, at_once=6)
    expected = by_loop(energy, cut, AXES, split)
    torch.testing.assert_close(values, expected, rtol=1e-12, atol=1e-14)
    assert torch.equal(energy.configuration(), before)


def test_the_replica_says_whose_landscape_it_is():
    energy = WithL2(NetworkEnergy(FullyConnected([2, 3, 2], dtype="float64"), XOR()), [0.5])
    energy = WithL2(energy.energy.only(torch.tensor([0, 0])), [0.5, 2.0])
    cut = Cut(torch.ones(energy.N).double(), torch.eye(energy.N).double()[:1])
    at = torch.zeros(1, 1)
    first, second = (energy_on(energy, cut, replica)(at).item() for replica in (0, 1))
    assert second - first == pytest.approx(1.5 * energy.N, rel=1e-12)


def test_on_a_sphere_the_cut_is_drawn_onto_it():
    glass = SphericalPSpin(10, seed=3, dtype="float64")
    x = glass.configuration()[0]
    cut = Cut(x, x[None])  # radially: every point of it is x itself, or -x
    values = energy_on(glass, cut)(torch.tensor([[0.0], [0.7], [-3.0]]))
    E = glass().item()
    assert values.tolist() == pytest.approx([E, E, -E], rel=1e-12)


class Net(nn.Module):
    """Convolution, batch norm, a shared weight, dropout: what first layers meet."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 3, 3, padding=1)
        self.norm = nn.BatchNorm1d(3)
        self.hidden = nn.Linear(12, 12)
        self.out = nn.Linear(12, 2)

    def forward(self, x):
        h = torch.tanh(self.norm(self.conv(x.unsqueeze(1)))).flatten(1)
        return self.out(torch.tanh(self.hidden(torch.tanh(self.hidden(h)))))


def module_by_loop(net, loss, cut, axes):
    values = []
    for c in grid(axes):
        moved = copy.deepcopy(net)
        flat = cut.origin + c @ cut.directions
        nn.utils.vector_to_parameters(flat, moved.parameters())
        values.append(loss(moved).item())
    return torch.tensor(values, dtype=torch.float64).view(*map(len, axes))


@pytest.mark.parametrize(
    "net", [nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), nn.Linear(4, 2), Net()]
)
def test_any_module_is_equal_to_a_loop_over_the_grid(net):
    net = net.double()
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(9, 4, generator=generator).double(), torch.arange(9) % 2
    cut = Cut(
        nn.utils.parameters_to_vector(net.parameters()).detach(),
        random_directions(list(net.parameters()), normalization="none", seed=4),
    )
    loss = with_parameters(net, lambda: F.cross_entropy(net(x), y))
    values = evaluate(loss_on(loss, dict(net.named_parameters()), cut), AXES)
    expected = module_by_loop(net, lambda m: F.cross_entropy(m(x), y), cut, AXES)
    torch.testing.assert_close(values, expected, rtol=1e-12, atol=1e-14)
    assert torch.equal(nn.utils.parameters_to_vector(net.parameters()), cut.origin)


def two_layers_on_a_line():
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1)).double()
    cut = Cut(
        nn.utils.parameters_to_vector(net.parameters()).detach(),
        random_directions(list(net.parameters()), 1),
    )
    return net, cut, dict(net.named_parameters())


def test_further_points_do_not_multiply_the_first_layer():
    net, cut, parameters = two_layers_on_a_line()
    x, spent = torch.ones(3, 4).double(), []
    for points in (20, 50):
        on = loss_on(with_parameters(net, lambda: net(x).square().mean()), parameters, cut)
        with FlopCounterMode(display=False) as counter:
            on(torch.linspace(-1, 1, points)[:, None])
        spent.append(counter.get_total_flops())
    last, sums = 2 * 3 * 6 * 1, 2 * 2 * (3 * 6 + 6)  # of its outputs, and of the last weights
    assert spent[1] - spent[0] == 30 * (last + sums)


def test_weights_of_the_first_layer_can_be_used_elsewhere():
    """In a penalty, in a list, as keywords, with the biases of another layer, written into."""
    net, cut, parameters = two_layers_on_a_line()
    x = torch.ones(3, 4).double()

    def loss(model):
        W, b = model[0].weight, model[0].bias
        hidden = F.linear(x, W, bias=b) + F.linear(input=x, weight=W)
        flat = torch.cat([W.flatten(), b]).mul_(2)
        return model[2](hidden.tanh()).mean() + flat.square().sum() + W.T.norm() * W.shape[0]

    points = torch.linspace(-1, 1, 9).double()
    on = loss_on(with_parameters(net, lambda: loss(net)), parameters, cut)
    expected = module_by_loop(net, loss, cut, [points])
    torch.testing.assert_close(on(points[:, None]), expected, rtol=1e-12, atol=0)


class Doubled(torch.autograd.Function):
    """Code of which torch sees the arguments only."""

    @staticmethod
    def forward(ctx, W):
        return torch.from_numpy(2 * W.numpy())


def test_weights_of_the_first_layer_can_go_to_code_outside_torch():
    net, cut, parameters = two_layers_on_a_line()
    x, points = torch.ones(3, 4).double(), torch.linspace(-1, 1, 9).double()

    def loss(model):
        return (model(x) + Doubled.apply(model[0].weight).sum()).mean()

    on = loss_on(with_parameters(net, lambda: loss(net)), parameters, cut)
    expected = module_by_loop(net, loss, cut, [points])
    torch.testing.assert_close(on(points[:, None]), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("function", "calls"), [(torch.tanh, 6), (lambda h: h * h.max().item(), 13)]
)
def test_points_go_together_where_the_code_allows_it(function, calls):
    """Two by themselves, twice, the same two together, the others together; or all alone."""
    net, cut, parameters = two_layers_on_a_line()
    x, counted = torch.ones(3, 4).double(), []

    def loss():
        counted.append(1)
        return function(net(x)).square().mean()

    points = torch.linspace(-1, 1, 10).double()[:, None]
    values = loss_on(with_parameters(net, loss), parameters, cut)(points)
    assert len(counted) <= calls
    expected = module_by_loop(net, lambda m: function(m(x)).square().mean(), cut, [points[:, 0]])
    torch.testing.assert_close(values, expected, rtol=1e-6, atol=0)


def test_what_is_known_of_other_data_is_not_used():
    net, cut, parameters = two_layers_on_a_line()
    x, points = torch.ones(3, 4).double(), torch.tensor([[0.0], [1.0], [2.0]])
    loss = with_parameters(net, lambda: net(x).square().mean())
    on = loss_on(loss, parameters, cut)
    before = on(points)
    x.add_(1)
    after = on(points)
    torch.testing.assert_close(after, loss_on(loss, parameters, cut)(points), rtol=1e-12, atol=0)
    assert not torch.allclose(before, after)


def test_a_layer_that_sees_parts_of_one_tensor_sees_other_inputs():
    """Copies on write of one memory: other places of it, and conjugates."""
    net, cut, parameters = two_layers_on_a_line()
    pairs = torch.arange(24).view(6, 4).double() / 24

    def loss(model):
        left, right = (model(part) for part in pairs.chunk(2))
        return (left - right).square().mean() + model(pairs[:3]).mean()

    points = torch.linspace(-1, 1, 9).double()
    on = loss_on(with_parameters(net, lambda: loss(net)), parameters, cut)
    expected = module_by_loop(net, loss, cut, [points])
    torch.testing.assert_close(on(points[:, None]), expected, rtol=1e-12, atol=0)

    whole = torch._lazy_clone(torch.arange(8) * (1 + 1j))
    assert _equal(whole[:4], whole[:4]) and _equal(whole[:4], whole[:4].clone())
    for other in (whole[4:], whole[::2], whole[:4].conj(), whole[:4].real):
        assert not _equal(whole[:4], other)


def test_a_loss_with_derivatives_is_evaluated_with_gradients():
    net, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double(), torch.ones(5, 3)

    def penalty(model):
        u = x.double().requires_grad_()
        return torch.autograd.grad(model(u).sum(), u, create_graph=True)[0].square().mean()

    cut = Cut(
        nn.utils.parameters_to_vector(net.parameters()).detach(),
        random_directions(list(net.parameters()), normalization="layer"),
    )
    on = loss_on(with_parameters(net, lambda: penalty(net)), dict(net.named_parameters()), cut)
    expected = module_by_loop(net, penalty, cut, AXES)
    torch.testing.assert_close(evaluate(on, AXES), expected, rtol=1e-12, atol=1e-14)


def test_filters_have_the_norms_of_the_weights_and_biases_stay():
    generator = torch.Generator().manual_seed(2)
    theta = [torch.randn(5, 3, 2, generator=generator), torch.randn(5, generator=generator)]
    d, zero = normalized(
        [torch.randn(5, 3, 2, generator=generator), torch.ones(5)], theta, "filter"
    )
    torch.testing.assert_close(d.flatten(1).norm(dim=1), theta[0].flatten(1).norm(dim=1))
    assert not zero.any()
    layer, _ = normalized([d, zero], [2 * theta[0], theta[1]], "layer")
    torch.testing.assert_close(layer, 2 * d)


def test_the_surface_does_not_depend_on_the_scale_of_relu_units():
    """theta -> (c W_1, W_2 / c) is the same function, and has the same filter-normalised cuts."""
    net = nn.Sequential(nn.Linear(3, 5, bias=False), nn.ReLU(), nn.Linear(5, 1, bias=False))
    net, x = net.double(), torch.arange(12).view(4, 3).double()
    scaled = copy.deepcopy(net)
    with torch.no_grad():
        scaled[0].weight.mul_(10)
        scaled[2].weight.div_(10)
    surfaces = []
    for m in (net, scaled):
        cut = Cut(
            nn.utils.parameters_to_vector(m.parameters()).detach(),
            random_directions(list(m.parameters())),
        )
        loss = with_parameters(m, lambda m=m: m(x).square().mean())
        surfaces.append(evaluate(loss_on(loss, dict(m.named_parameters()), cut), AXES))
    torch.testing.assert_close(surfaces[0], surfaces[1], rtol=1e-10, atol=1e-12)


def test_principal_directions_are_those_of_the_singular_vectors():
    generator = torch.Generator().manual_seed(3)
    path = torch.randn(6, 40, generator=generator).double().cumsum(0)
    d, explained = principal_directions(path, 2)
    _, s, Vh = torch.linalg.svd(path - path[-1], full_matrices=False)
    torch.testing.assert_close((d * Vh[:2]).sum(1).abs(), torch.ones(2).double())
    torch.testing.assert_close(explained, (s**2 / (s**2).sum())[:2])
    c, off = Cut(path[-1], d).project(path)
    torch.testing.assert_close((c**2).sum(1) + off**2, (path - path[-1]).square().sum(1))


def test_projection_onto_directions_that_are_not_orthogonal():
    cut = Cut(torch.zeros(3), torch.tensor([[1.0, 0.0, 0.0], [1.0, 2.0, 0.0]]))
    c, off = cut.project(torch.tensor([[3.0, 4.0, 5.0]]))
    torch.testing.assert_close(c, torch.tensor([[1.0, 2.0]]).double())
    assert off.item() == pytest.approx(5.0)


def test_the_barrier_of_a_path():
    s = torch.linspace(0, 1, 1001).double()
    found = barrier(torch.sin(math.pi * s) + s)
    assert found.above_line == pytest.approx(1.0, abs=1e-6)
    top = math.acos(-1 / math.pi) / math.pi  # where pi cos(pi s) = -1
    assert found.at == pytest.approx(top, abs=1e-3)
    assert found.height == pytest.approx(math.sin(math.pi * top) + top - 1, abs=1e-5)
    assert barrier(torch.tensor([2.0, 1.0, 0.0]))[:2] == (0.0, 0.0)
    assert barrier(torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.25, 1.0])).at == 0.25


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: Cut(torch.zeros(2), torch.zeros(1, 3)), "directions.shape"),
        (lambda: Cut(torch.zeros(2), torch.ones(2, 2)), "directions"),
        (lambda: Cut(torch.full((2,), math.nan), torch.ones(1, 2)), "origin"),
        (lambda: random_directions([torch.ones(3)]), "normalization"),
        (lambda: normalized([torch.ones(2, 2)], [torch.ones(2, 2)], "filters"), "normalization"),
        (lambda: principal_directions(torch.zeros(4, 3)), "number"),
        (lambda: energy_on(Quadratic([1.0]), Cut(torch.zeros(2), torch.ones(1, 2))), "cut"),
        (lambda: energy_on(Quadratic([1.0]), Cut(torch.zeros(1), torch.ones(1, 1)), 1), "replica"),
        (
            lambda: energy_on(
                Quadratic([1.0]), Cut(torch.zeros(1), torch.ones(1, 1)), split="test"
            ),
            "split",
        ),
        (lambda: evaluate(lambda c: c[:, 0], [torch.empty(0)]), "axes"),
        (lambda: barrier(torch.ones(1)), "loss.shape"),
        (lambda: barrier(torch.ones(2), torch.zeros(2)), "along"),
    ],
)
def test_what_is_wrong_is_refused_by_name(call, name):
    with pytest.raises(UsageError, match=f"^{name} ="):
        call()
