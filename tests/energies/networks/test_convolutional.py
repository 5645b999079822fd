"""SmallConvNet against the same network written with torch's functions."""

import pytest
import torch
import torch.nn.functional as F

from lightning_landscape.activations import ACTIVATIONS
from lightning_landscape.data import Batches, Digits, LabelledData
from lightning_landscape.energies import NetworkEnergy, SmallConvNet
from lightning_landscape.errors import UsageError
from lightning_landscape.testing.energy import EnergyContract, gradient


def digits(samples=20):
    full = Digits(seed=1)
    some = [full.inputs[:samples], full.targets[:samples], full.test_inputs[:9]]
    return LabelledData(*some, full.test_targets[:9], classes=10)


def make(activation="tanh", replicas=3, dtype="float64", samples=20):
    net = SmallConvNet([1, 8, 8], [3, 4], 10, activation, replicas, seed=2, dtype=dtype)
    return NetworkEnergy(net, digits(samples))


class TestTanh(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        return make("tanh", replicas, dtype)


def one_network(p, x, sigma):
    """The outputs of one replica, from its parameters in their order."""
    *layers, W, b = p
    for kernel, bias in zip(layers[::2], layers[1::2], strict=True):
        z = sigma(F.conv2d(x, kernel, bias, padding=1))
        # the mean over squares of 2 x 2, what is left over at the edge dropped
        z = z[..., : z.shape[-2] // 2 * 2, : z.shape[-1] // 2 * 2]
        x = sum(z[..., i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
    return x.flatten(1) @ W.T + b


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_energies_and_gradients_are_those_of_separate_networks(activation):
    energy, data = make(activation), digits()
    own = torch.stack([torch.arange(8).roll(r) + r for r in range(3)])
    for batch in (None, torch.arange(7), own):
        energies = energy(batch)
        slopes = torch.autograd.grad(energies.sum(), tuple(energy.parameters()))
        for r in range(3):
            p = [q[r].detach().requires_grad_() for q in energy.parameters()]
            rows = slice(None) if batch is None else batch if batch.ndim == 1 else batch[r]
            f = one_network(p, data.inputs[rows].double(), ACTIVATIONS[activation].value)
            loss = F.cross_entropy(f, data.targets[rows])
            torch.testing.assert_close(energies[r], loss, rtol=1e-12, atol=1e-12)
            for a, b in zip(slopes, torch.autograd.grad(loss, p), strict=True):
                torch.testing.assert_close(a[r], b, rtol=1e-10, atol=1e-12)


def test_replicas_are_as_many_single_runs():
    together = make(replicas=4)
    g, x = gradient(together), together.configuration()
    for r in range(4):
        alone = make(replicas=1)
        alone.load_configuration(x[r : r + 1])
        torch.testing.assert_close(gradient(alone)[0], g[r], rtol=1e-12, atol=1e-14)
    few = make(replicas=2)
    assert torch.equal(few.configuration(), x[:2])  # a replica starts the same among any number


@pytest.mark.parametrize(
    "sample_shape, channels, N",
    [([1, 28, 28], [16, 32], 20_490), ([3, 32, 32], [32, 64], 60_362), ([1, 8, 8], [4], 40 + 650)],
)
def test_number_of_parameters(sample_shape, channels, N):
    net = SmallConvNet(sample_shape, channels, replicas=2)
    assert sum(p[0].numel() for p in net.parameters()) == N
    assert net.output_size(sample_shape) == 10


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_initial_variances_are_critical(activation):
    net = SmallConvNet([3, 16, 16], [32, 64], 10, activation, replicas=4)
    sigma = ACTIVATIONS[activation]
    for p in net.parameters():
        variance = sigma.weight_variance / p[0, 0].numel() if p.ndim > 2 else sigma.bias_variance
        relative = p.detach().square().mean().item() / variance if variance else 1.0
        assert abs(relative - 1) < 4 * (2 / p.numel()) ** 0.5  # 4 s.e.
        assert variance or not p.any()


def test_activations_are_counted_for_the_size_of_blocks():
    net = SmallConvNet([1, 8, 8], [3, 4])
    # convolution and activation of 3 x 8 x 8 and 4 x 4 x 4, averages of half the size, outputs
    assert net.values_per_sample([1, 8, 8]) == 2 * 192 + 48 + 2 * 64 + 16 + 16 + 10


@pytest.mark.parametrize(
    "change, words",
    [
        ({"sample_shape": [64]}, r"sample_shape = \[64\].*channels, height and width"),
        ({"channels": []}, "channels"),
        ({"channels": [4, 0]}, "channels"),
        ({"channels": [4, 4, 4, 4]}, r"halves an image of \[8, 8\] too often"),
        ({"outputs": 0}, "outputs"),
        ({"activation": "tahn"}, "did you mean tanh"),
        ({"dtype": "float16"}, "dtype"),
        ({"replicas": 0}, "replicas"),
    ],
)
def test_bad_arguments_give_one_sentence(change, words):
    with pytest.raises(UsageError, match=words):
        SmallConvNet(**{"sample_shape": [1, 8, 8], "channels": [4, 4], **change})


def test_other_images_are_refused():
    with pytest.raises(UsageError, match=r"does not take samples of shape \(1, 8, 8\)"):
        NetworkEnergy(SmallConvNet([1, 28, 28], [4]), digits())


def test_sgd_learns_the_digits():
    energy = NetworkEnergy(SmallConvNet([1, 8, 8], [8, 16], replicas=2), Digits())
    sgd = torch.optim.SGD(energy.parameters(), lr=0.2)
    batches = Batches(batch_size=32, seed=1)
    for step in range(500):
        sgd.zero_grad()
        energy(batches(step, energy.samples, energy.replicas)).sum().backward()
        sgd.step()
    assert energy.evaluate("test")["accuracy"].min() >= 0.9
