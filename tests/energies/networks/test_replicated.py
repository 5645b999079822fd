import pytest
import torch
from torch import nn

from lightning_landscape.data import Digits, LabelledData
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.energies.networks.replicated import Replicated
from lightning_landscape.errors import UsageError


class SmallConvNet(nn.Module):
    def __init__(self, channels=4):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, channels, 3), nn.GroupNorm(2, channels), nn.ReLU(), nn.AvgPool2d(2)
        )
        self.head = nn.Linear(9 * channels, 10)
        self.register_buffer("scale", torch.tensor(0.5))

    def forward(self, x):
        return self.scale * self.head(self.layers(x).flatten(1))


def separate(stacked):
    """The replicas, each as a module of its own."""
    nets = [SmallConvNet() for _ in range(stacked.replicas)]
    for r, net in enumerate(nets):
        names = [name for name, _ in net.named_parameters()]
        values = [p[r].detach().clone() for p in stacked.parameters()]
        net.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
    return nets


@pytest.fixture
def digits():
    full = Digits()
    few = [full.inputs[:40], full.targets[:40], full.test_inputs[:10], full.test_targets[:10]]
    return LabelledData(*few, classes=10)


def test_energy_and_gradient_are_those_of_a_loop(digits):
    energy = NetworkEnergy(Replicated(SmallConvNet, replicas=3, seed=5), digits)
    own = torch.stack([torch.arange(8), torch.arange(8, 16), torch.arange(16, 24)])
    for batch in (None, torch.arange(30), own):
        energies = energy(batch)
        slopes = torch.autograd.grad(energies.sum(), tuple(energy.parameters()))
        for r, net in enumerate(separate(energy.architecture)):
            rows = slice(None) if batch is None else batch if batch.ndim == 1 else batch[r]
            loss = nn.functional.cross_entropy(net(digits.inputs[rows]), digits.targets[rows])
            torch.testing.assert_close(energies[r], loss)
            expected = torch.autograd.grad(loss, tuple(net.parameters()))
            for a, b in zip(slopes, expected, strict=True):
                torch.testing.assert_close(a[r], b, rtol=1e-4, atol=1e-6)


def test_evaluate_is_that_of_a_loop(digits):
    energy = NetworkEnergy(Replicated(SmallConvNet, replicas=3), digits)
    accuracy = energy.evaluate()["accuracy"]
    for r, net in enumerate(separate(energy.architecture)):
        right = net(digits.test_inputs).argmax(1) == digits.test_targets
        torch.testing.assert_close(accuracy[r], right.float().mean())


def test_initial_weights_depend_on_seed_and_replica_alone():
    state = torch.get_rng_state()
    one, same, other = (Replicated(SmallConvNet, n, seed=s) for n, s in ((3, 1), (5, 1), (3, 2)))
    assert torch.equal(torch.get_rng_state(), state)
    for p, q, o in zip(one.parameters(), same.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q[:3])
        if p.ndim == 5:  # the convolution; norms start at constants
            assert not torch.equal(p, o) and not torch.equal(p[0], p[1])


def test_activations_are_counted_for_the_size_of_blocks(digits):
    stacked = Replicated(SmallConvNet, replicas=3)
    assert stacked.output_size((1, 8, 8)) == 10
    # convolution, norm and activation of 4 x 6 x 6, pool of 4 x 3 x 3, head of 10
    assert stacked.values_per_sample((1, 8, 8)) == 3 * 144 + 36 + 10


def test_buffers_stay_out_of_the_configuration():
    stacked = Replicated(SmallConvNet, replicas=2)
    assert [b.item() for b in stacked.buffers()] == [0.5]
    assert all(len(p) == 2 for p in stacked.parameters())


@pytest.mark.parametrize(
    "module, words",
    [
        (lambda: nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), "layer 1 = BatchNorm1d.*Group"),
        (lambda: nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)), "layer 1 = Dropout.*p = 0"),
        (lambda: nn.ReLU(), "ReLU: has no parameters"),
        (nn.Linear(2, 2), "write lambda"),
    ],
)
def test_what_is_no_mean_over_samples_is_refused(module, words):
    with pytest.raises(UsageError, match=words):
        Replicated(module, replicas=2)


def test_a_buffer_that_differs_between_replicas_is_refused():
    class RandomFeatures(nn.Linear):
        def __init__(self):
            super().__init__(2, 2)
            self.register_buffer("features", torch.randn(3))

    with pytest.raises(UsageError, match="buffer features"):
        Replicated(RandomFeatures, replicas=2)


def test_samples_of_another_shape_are_refused(digits):
    with pytest.raises(UsageError, match=r"Linear: does not take samples of shape \(1, 8, 8\)"):
        NetworkEnergy(Replicated(lambda: nn.Linear(3, 10)), digits)
    with pytest.raises(UsageError, match=r"must return \(P, outputs\)"):
        NetworkEnergy(Replicated(lambda: nn.Conv2d(1, 2, 3)), digits)


# samples that are normalised together


def normalised_net():
    norm = nn.BatchNorm1d(6, track_running_stats=False)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), norm, nn.Tanh(), nn.Linear(6, 10))


def test_batch_normalisation_over_groups_of_the_data(digits):
    energy = NetworkEnergy(Replicated(normalised_net, replicas=2, samples_together=16), digits)
    energies = energy()
    for r in range(2):
        net = normalised_net()
        names = [name for name, _ in net.named_parameters()]
        values = [p[r].detach() for p in energy.parameters()]
        net.load_state_dict(dict(zip(names, values, strict=True)))
        groups = [slice(0, 14), slice(14, 27), slice(27, 40)]  # 40 samples in three, evenly
        f = torch.cat([net(digits.inputs[group]) for group in groups])
        torch.testing.assert_close(energies[r], nn.functional.cross_entropy(f, digits.targets))


@pytest.mark.parametrize(
    "module, samples_together, words",
    [
        (lambda: nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), 8, "layer 1.*track_running"),
        (lambda: nn.Linear(2, 2), 1, "samples_together = 1: must be at least 2"),
        (lambda: nn.Linear(2, 2), 0, "samples_together = 0"),
    ],
)
def test_normalisation_that_is_no_function_of_the_weights_is_refused(
    module, samples_together, words
):
    with pytest.raises(UsageError, match=words):
        Replicated(module, samples_together=samples_together)


def test_a_part_of_the_replicas_is_as_they_were(digits):
    energy = NetworkEnergy(Replicated(SmallConvNet, replicas=4), digits)
    some = energy.only(torch.tensor([2, 0]))
    torch.testing.assert_close(some(), energy()[[2, 0]])


def test_too_many_copies_are_refused_before_they_are_made():
    with pytest.raises(UsageError, match=r"replicas = 1000000000: needs .* GB of memory"):
        Replicated(lambda: nn.Linear(100, 100), replicas=10**9)


def test_replicas_that_fill_a_quarter_of_the_cache_are_computed_in_turn():
    net = Replicated(lambda: nn.Linear(3, 2), replicas=2)
    assert [net.replicas_at_once(each, cache=1000) for each in (100, 250, 251)] == [20, 8, 1]
