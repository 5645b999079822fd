"""Variance of per-sample gradients: against a loop, and against holding all of them."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lightning_landscape.data import LabelledData
from lightning_landscape.energies import FullyConnected, NetworkEnergy, Replicated
from lightning_landscape.observables import gradients_of

B, WIDTHS = 256, [784, 300, 200, 10]  # 297 710 parameters


def samples():
    return torch.randn(B, WIDTHS[0]), torch.arange(B) % WIDTHS[-1]


def sequential():
    layers = []
    for m, n in pairwise(WIDTHS):
        layers += [nn.Linear(m, n), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def energy_of(x, y, make=FullyConnected):
    data = LabelledData(x, y, x[:1], y[:1], WIDTHS[-1])
    return NetworkEnergy(make(WIDTHS) if make is FullyConnected else make(sequential), data)


def loop(net, x, y):
    """What anyone would write: a backward pass for each sample, and Welford's recursion."""
    mean, squares = None, None
    for k in range(len(x)):
        loss = cross_entropy(net(x[k : k + 1]), y[k : k + 1])
        g = torch.cat([p.flatten() for p in torch.autograd.grad(loss, list(net.parameters()))])
        if mean is None:
            mean, squares = torch.zeros_like(g), torch.zeros_like(g)
        step = g - mean
        mean += step / (k + 1)
        squares += step * (g - mean)
    return squares / (len(x) - 1)


def materialised(net, x, y):
    """torch.func.vmap(grad), then the variance of what it holds."""
    parameters = {name: p.detach() for name, p in net.named_parameters()}

    def loss(parameters, x, y):
        return cross_entropy(torch.func.functional_call(net, parameters, (x[None],)), y[None])

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, x, y)
    return torch.cat([g.var(0).flatten() for g in gradients.values()])


@pytest.mark.parametrize("make", [FullyConnected, Replicated])
def test_variance_against_a_loop_over_samples(compare, make):
    """The limit of the layers: two products of matrices in float64, 4 B N operations."""
    x, y = samples()
    ours, net = energy_of(x, y, make), sequential()
    compare(
        f"gradient variance, {make.__name__} of 297 710 parameters, B = {B}",
        lambda: gradients_of(ours).moments(),
        lambda: loop(net, x, y),
        against="a loop over samples",
        at_least={FullyConnected: 20, Replicated: 10}[make],
        rounds=3,
    )


def convolutional():
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 49, 10)),
    )


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.out = nn.Embedding(100, 64), nn.Linear(64, 10)
        self.block = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)

    def forward(self, x):
        return self.out(self.block(self.words(x.long())).mean(1))


@pytest.mark.parametrize(
    ("make", "x", "at_least"),
    [
        (convolutional, torch.randn(B, 1, 28, 28), 1.5),  # one gradient is a quarter of a loop
        (Transformer, torch.randint(0, 100, (B, 16)).float(), 5),
    ],
)
def test_variance_of_any_module_against_a_loop(compare, make, x, at_least):
    """One gradient of the batch bounds it: a quarter of a loop of images, a twentieth of words."""
    y = torch.arange(B) % 10
    energy = NetworkEnergy(Replicated(make), LabelledData(x, y, x[:1], y[:1], 10))
    net = make()
    compare(
        f"gradient variance, {make.__name__}, B = {B}",
        lambda: gradients_of(energy).moments(),
        lambda: loop(net, x, y),
        against="a loop over samples",
        at_least=at_least,
        rounds=3,
    )


@pytest.mark.parametrize("make", [FullyConnected, Replicated])
def test_variance_against_everything_materialised(compare, make):
    """Time at most 1.2 times that of vmap(grad); see below for the memory."""
    x, y = samples()
    ours, net = energy_of(x, y, make), sequential()
    compare(
        f"gradient variance, {make.__name__} of 297 710 parameters, B = {B}",
        lambda: gradients_of(ours).moments(),
        lambda: materialised(net, x, y),
        against="vmap(grad), all materialised",
        at_most=1.2,
        rounds=5,
    )


def test_variance_against_the_gradient_itself(compare):
    """Two more products of matrices, in float64."""
    x, y = samples()
    ours = energy_of(x, y)
    parameters = list(ours.parameters())
    compare(
        f"gradient variance, FullyConnected of 297 710 parameters, B = {B}",
        lambda: gradients_of(ours).moments(),
        lambda: torch.autograd.grad(ours().sum(), parameters),
        against="one gradient",
        at_most=10,
    )


def peak_mb(what):
    """The peak memory of a fresh process that computes the variance once, in MB."""
    code = f"import runpy; runpy.run_path({__file__!r}, run_name={what!r})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(out.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read the peak from")
def test_memory_against_everything_materialised():
    """Resident memory beyond that of a process that only builds the network."""
    none, ours, stacked, all_ = (peak_mb(what) for what in ("none", "ours", "stacked", "all"))
    print(f"\nMB: layers {ours - none:.0f}, stacked {stacked - none:.0f}, all {all_ - none:.0f}")
    assert ours - none < 0.25 * (all_ - none)
    assert stacked - none < 0.6 * (all_ - none)


if __name__ in ("none", "ours", "stacked", "all"):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, y = samples()
    if __name__ == "all":
        materialised(sequential(), x, y)
    elif __name__ != "none":
        kind = FullyConnected if __name__ == "ours" else Replicated
        gradients_of(energy_of(x, y, kind)).moments()
    else:
        energy_of(x, y)
        cross_entropy(sequential()(x), y).backward()
    # of this process alone; `ru_maxrss` begins with what the parent had
    (peak,) = (x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    print(int(peak.split()[1]) / 1024)
