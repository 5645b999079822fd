"""A surface of a network of 269 322 weights beside a loop that sets them point by point.

The loop is what packages for loss surfaces do: weights are moved along a direction, and the loss is
evaluated. Its cost is dominated by the first layer, which here is multiplied three times in all.
"""

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn

from lightning_landscape.callbacks.probes.surface import surface
from lightning_landscape.callbacks.view import View
from lightning_landscape.data.labelled_data import LabelledData
from lightning_landscape.energies import FullyConnected, NetworkEnergy
from lightning_landscape.observables.surfaces import Cut, energy_on, evaluate, random_directions

WIDTHS = [784, 256, 256, 10]


def inputs(samples):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(samples, WIDTHS[0], generator=generator), torch.arange(samples) % 10


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
        )

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self.net(batch[0]), batch[1])


@torch.no_grad()
def by_loop(net, directions, axes, x, y):
    """Set the weights, evaluate; one addition a point along a column, as loss-landscapes has it."""
    parameters = list(net.parameters())
    sizes = [p.numel() for p in parameters]
    start = [p.clone() for p in parameters]
    u, v = (
        [part.view(p.shape) for part, p in zip(d.split(sizes), parameters, strict=True)]
        for d in directions
    )
    step = (axes[1][1] - axes[1][0]).item()
    rows = []
    for a in axes[0].tolist():
        torch._foreach_copy_(parameters, start)
        torch._foreach_add_(parameters, u, alpha=a)
        torch._foreach_add_(parameters, v, alpha=axes[1][0].item() - step)
        row = []
        for _ in range(len(axes[1])):
            torch._foreach_add_(parameters, v, alpha=step)
            row.append(F.cross_entropy(net(x), y).item())
        rows.append(row)
    torch._foreach_copy_(parameters, start)
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize(("samples", "points"), [(128, 51), (1000, 21)])
def test_an_energy_against_a_loop(compare, samples, points):
    x, y = inputs(samples)
    energy = NetworkEnergy(FullyConnected(WIDTHS), LabelledData(x, y, x[:10], y[:10], classes=10))
    net = Net().net
    assert energy.N == 269_322
    origin = nn.utils.parameters_to_vector(net.parameters()).detach()
    theirs = random_directions(list(net.parameters()))
    weights = [p[0] for p in energy.parameters()]
    ours = Cut(energy.configuration()[0], random_directions(weights))
    axes = [torch.linspace(-1, 1, points, dtype=torch.float64)] * 2
    compare(
        f"surface of {points} x {points} points, {samples} samples",
        lambda: evaluate(energy_on(energy, ours), axes),
        lambda: by_loop(net, theirs, axes, x, y),
        against="setting the weights point by point",
        at_least=3,
        rounds=2,
    )
    assert len(origin) == energy.N


@pytest.mark.parametrize(("samples", "points", "at_least"), [(128, 21, 1.7), (1000, 15, 1.2)])
def test_anyones_module_against_a_loop(compare, samples, points, at_least):
    """A quarter of the multiplications is left, which no reordering of code that is not ours saves.

    Beside them the step is isolated, and the other layers are one call for several points.
    """
    x, y = inputs(samples)
    module = Net()
    parameters = list(module.parameters())
    directions = random_directions(parameters)
    cut = Cut(nn.utils.parameters_to_vector(parameters).detach(), directions)
    axes = [torch.linspace(-1, 1, points, dtype=torch.float64)] * 2
    view = View(module, (x, y), 0)

    def ours():
        with view.measuring():
            return surface(view, cut, axes)

    expected = by_loop(module.net, directions, axes, x, y)
    torch.testing.assert_close(ours(), expected, rtol=2e-4, atol=1e-4)
    compare(
        f"the same of a LightningModule, {points} x {points} points, {samples} samples",
        ours,
        lambda: by_loop(module.net, directions, axes, x, y),
        against="setting the weights point by point",
        at_least=at_least,
        rounds=3,
    )


def test_several_points_of_a_small_module_at_once(compare, monkeypatch):
    from lightning_landscape.observables.surfaces import of_module

    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    x, y = torch.randn(200, 4), torch.arange(200) % 3
    parameters = list(net.parameters())
    cut = Cut(nn.utils.parameters_to_vector(parameters).detach(), random_directions(parameters))
    loss = of_module.with_parameters(net, lambda: F.cross_entropy(net(x), y))
    axes = [torch.linspace(-1, 1, 21, dtype=torch.float64)] * 2

    def together(points=64):
        monkeypatch.setattr(of_module, "_MOST_POINTS", points)
        return evaluate(of_module.loss_on(loss, dict(net.named_parameters()), cut), axes)

    compare(
        "the same of a module of 131 weights, 21 x 21 points",
        together,
        lambda: together(1),
        against="point by point",
        at_least=4,
        rounds=3,
    )
