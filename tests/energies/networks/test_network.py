import pytest
import torch
from torch import nn

from lightning_landscape.data import Batches, Digits, LabelledData, RandomData
from lightning_landscape.energies.networks import network
from lightning_landscape.energies.networks.architectures import FullyConnected
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.energies.networks.replicated import Replicated
from lightning_landscape.errors import UsageError
from lightning_landscape.testing.energy import EnergyContract, gradient

MODULES = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "linear": nn.Identity,
    "erf": lambda: _Erf(),
}
CASES = [
    ("relu", "cross_entropy", [5, 8, 8, 3]),
    ("tanh", "quadratic_hinge", [5, 8, 7, 1]),
    ("erf", "squared", [5, 6, 6, 3]),
    ("gelu", "cross_entropy", [5, 6, 9, 2]),
    ("gelu", "cross_entropy", [5, 6, 1]),
    ("linear", "squared", [5, 4, 1]),
    ("relu", "squared", [5, 2]),
]


class _Erf(nn.Module):
    def forward(self, z):
        return z.erf()


def data(classes=3, samples=20):
    return RandomData(samples, 5, classes=classes, test_samples=30, seed=4)


def make(activation, loss, widths, replicas=3, dtype="float64", samples=20):
    architecture = FullyConnected(
        widths, activation, replicas, seed=2, bias_variance=0.1, dtype=dtype
    )
    return NetworkEnergy(architecture, data(max(2, widths[-1]), samples), loss)


class TestTanh(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        return make("tanh", "cross_entropy", [5, 8, 8, 3], replicas, dtype)


class TestReLU(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        return make("relu", "quadratic_hinge", [5, 8, 8, 1], replicas, dtype)


class TestErf(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        return make("erf", "squared", [5, 8, 6, 3], replicas, dtype)


class TestGELU(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        return make("gelu", "cross_entropy", [5, 8, 1], replicas, dtype)


class TestStacked(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        def small_convnet():
            net = nn.Sequential(
                nn.Conv2d(1, 3, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(27, 10)
            )
            return net.to(getattr(torch, dtype))

        digits = Digits(seed=1)
        few = [t[:12] for t in (digits.inputs, digits.targets)]
        return NetworkEnergy(
            Replicated(small_convnet, replicas), LabelledData(*few, *few, classes=10)
        )


# against one nn.Sequential a replica


def sequential(energy, activation, r):
    """The r-th replica as anyone would write it."""
    layers, architecture = [], energy.architecture
    for W, b in zip(architecture.weights, architecture.biases, strict=True):
        linear = nn.Linear(W.shape[2], W.shape[1], dtype=W.dtype)
        linear.weight.data, linear.bias.data = W[r].detach().clone(), b[r].detach().clone()
        layers += [linear, MODULES[activation]()]
    return nn.Sequential(*layers[:-1])


def naive_loss(outputs, labels, loss):
    """Mean loss by torch's own functions, for outputs (P, k)."""
    signs = 2.0 * labels - 1
    single = outputs.shape[1] == 1
    if loss == "quadratic_hinge":
        return (1 - signs * outputs[:, 0]).clamp(min=0).square().mean() / 2
    if loss == "squared":
        y = signs[:, None] if single else nn.functional.one_hot(labels, outputs.shape[1])
        return nn.functional.mse_loss(outputs, y.double(), reduction="sum") / (2 * len(labels))
    if single:
        return nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], labels.double())
    return nn.functional.cross_entropy(outputs, labels)


def of_sequential(net, flat):
    """Bring a flat gradient of a Sequential into the order weights, then biases."""
    parameters = list(net.parameters())
    parts = flat.split([p.numel() for p in parameters])
    return torch.cat([*parts[::2], *parts[1::2]])


@pytest.mark.parametrize("activation, loss, widths", CASES)
def test_energy_gradient_and_hessian_are_those_of_separate_networks(activation, loss, widths):
    energy, samples = make(activation, loss, widths), data(max(2, widths[-1]))
    energies, g = energy(), gradient(energy, create_graph=True)
    v = torch.randn_like(g)
    product = torch.autograd.grad(g, tuple(energy.parameters()), v)
    product = torch.cat([part.flatten(1) for part in product], dim=1)
    for r in range(energy.replicas):
        net = sequential(energy, activation, r)
        value = naive_loss(net(samples.inputs.double()), samples.targets, loss)
        parameters = tuple(net.parameters())
        slopes = torch.autograd.grad(value, parameters, create_graph=True)
        flat = of_sequential(net, torch.cat([s.flatten() for s in slopes]))
        Hv = torch.autograd.grad(flat @ v[r], parameters, allow_unused=True, materialize_grads=True)
        Hv = of_sequential(net, torch.cat([s.flatten() for s in Hv]))
        torch.testing.assert_close(energies[r], value, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(g[r], flat, rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(product[r], Hv, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation, loss, widths", CASES)
def test_first_gradient_is_that_of_the_graph(activation, loss, widths):
    energy = make(activation, loss, widths)
    by_hand, by_graph = gradient(energy), gradient(energy, create_graph=True)
    torch.testing.assert_close(by_hand, by_graph, rtol=1e-11, atol=1e-13)


def test_each_replica_may_be_weighted():
    energy, weights = make(*CASES[0]), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    (weights * energy()).sum().backward()
    weighted = torch.cat([p.grad.flatten(1) for p in energy.parameters()], dim=1)
    torch.testing.assert_close(weighted, weights[:, None] * gradient(energy))


def test_a_graph_that_is_retained_gives_the_same_gradient_again():
    energy = make(*CASES[0])
    total, parameters = energy().sum(), tuple(energy.parameters())
    first = torch.autograd.grad(total, parameters, retain_graph=True)
    for a, b in zip(first, torch.autograd.grad(total, parameters), strict=True):
        assert torch.equal(a, b)


# gaps


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("loss, widths", [("quadratic_hinge", [5, 8, 1]), ("squared", [5, 8, 3])])
def test_gaps_do_not_depend_on_the_blocks(loss, widths, split, monkeypatch):
    energy = make("relu", loss, widths)
    whole = energy.gaps(split)
    monkeypatch.setattr(network, "_BLOCK_BYTES", {"cpu": 300})
    monkeypatch.setattr(FullyConnected, "block_samples", 3)
    torch.testing.assert_close(energy.gaps(split), whole, rtol=1e-12, atol=1e-14)
    assert whole.shape == (3, 20 if split == "train" else 30) and not whole.requires_grad


def test_the_hinge_energy_is_that_of_the_positive_gaps_at_its_margin():
    architecture = FullyConnected([5, 8, 1], replicas=3, dtype="float64")
    energy = NetworkEnergy(architecture, data(2), "quadratic_hinge", margin=0.25)
    expected = energy.gaps().clamp_min(0).square().mean(1) / 2
    torch.testing.assert_close(energy().detach(), expected)
    wrong = NetworkEnergy(architecture, data(2), margin=0.0).gaps() >= 0
    accuracy = energy.evaluate("train")["accuracy"]
    torch.testing.assert_close(1 - wrong.double().mean(1), accuracy)


# mini-batches


def test_a_batch_is_the_mean_over_its_samples():
    energy = make("tanh", "cross_entropy", [5, 8, 3])
    each = torch.stack([energy(torch.tensor([mu])) for mu in range(20)], dim=1).detach()  # (R, P)
    torch.testing.assert_close(energy(), each.mean(1))
    shared = torch.tensor([3, 3, 11])
    torch.testing.assert_close(energy(shared), each[:, shared].mean(1))
    own = torch.tensor([[0, 1], [2, 3], [19, 2]])
    torch.testing.assert_close(energy(own), each.gather(1, own).mean(1))


def test_a_batch_for_each_replica_is_as_many_batches():
    energy, own = make("relu", "squared", [5, 8, 3]), torch.tensor([[0, 1], [2, 3], [19, 2]])
    parameters = tuple(energy.parameters())
    together = torch.autograd.grad(energy(own).sum(), parameters)
    for r in range(3):
        alone = torch.autograd.grad(energy(own[r])[r], parameters)
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[r], b[r], rtol=1e-12, atol=1e-14)


# blocks


@pytest.mark.parametrize("batch", [None, "shared", "own"])
@pytest.mark.parametrize("replicas, samples, block_samples, block_bytes", [
    (5, 23, 10, 1), (5, 23, 1024, 2 * 23 * 17 * 8), (7, 40, 16, 3 * 16 * 17 * 8), (1, 23, 4, 1),
])  # fmt: skip
def test_blocks_change_nothing_but_rounding(
    monkeypatch, replicas, samples, block_samples, block_bytes, batch
):
    energy = make("tanh", "cross_entropy", [5, 7, 7, 3], replicas, samples=samples)
    B = torch.arange(samples - 1)
    indices = {None: None, "shared": B, "own": torch.stack([B.roll(r) for r in range(replicas)])}

    def all_of_it():
        total = energy(indices[batch])
        slopes = torch.autograd.grad(total.sum(), tuple(energy.parameters()))
        with torch.no_grad():
            without_graph = energy(indices[batch])
        return [total, *slopes, without_graph, *energy.evaluate().values()]

    whole = all_of_it()
    monkeypatch.setattr(FullyConnected, "block_samples", block_samples)
    monkeypatch.setitem(network._BLOCK_BYTES, "cpu", block_bytes)
    x, y = energy._select(indices[batch])
    blocks = list(energy._blocks(x, y))
    assert len(blocks) * len(blocks[0][1]) > 1
    assert sum(r.stop - r.start for r, _ in blocks) == replicas
    for a, b in zip(whole, all_of_it(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("what", ["batch", "inputs", "targets"])
def test_a_batch_is_selected_once_and_again_when_something_has_changed(what):
    energy = make(*CASES[0])
    batch = torch.arange(12).view(3, 4)
    first = energy(batch)
    kept = energy._last.samples
    assert energy(batch).equal(first) and energy._last.samples is kept
    changed = batch if what == "batch" else energy.get_buffer(what)
    changed.copy_(changed.flip(0))
    again = energy(batch)
    assert not again.equal(first)
    assert again.equal(energy(batch.clone()))
    with torch.inference_mode():
        other = batch.clone()
    assert energy(other).equal(again)


def test_blocks_are_cut_from_the_data_first():
    energy = make("tanh", "cross_entropy", [5, 30, 30, 30, 3], 64, "float32", samples=10_000)
    blocks = list(energy._blocks(*energy._select(None)))
    r, portions = blocks[0]
    assert len(portions[0][0][0]) == 1000  # ten equal portions of at most 1024
    values = (r.stop - r.start) * 1000 * 93
    assert 0.8 * 2**20 < values <= 2**20  # 4 MiB of float32
    one = make("tanh", "cross_entropy", [5, 30, 30, 30, 3], 64, "float32", samples=80)
    assert len(list(one._blocks(*one._select(None)))) == 1


# data


def test_evaluate_counts_what_is_right():
    energy, samples = make(*CASES[0]), data()
    for split, x, y in (
        ("train", samples.inputs, samples.targets),
        ("test", samples.test_inputs, samples.test_targets),
    ):
        result = energy.evaluate(split)
        for r in range(3):
            outputs = sequential(energy, "relu", r)(x.double())
            right = (outputs.argmax(1) == y).double().mean()
            torch.testing.assert_close(result["accuracy"][r], right)
            loss = nn.functional.cross_entropy(outputs, y)
            torch.testing.assert_close(result["energy"][r], loss.detach())
    torch.testing.assert_close(energy.evaluate("train")["energy"], energy().detach())


def test_data_move_with_the_energy_and_stay_out_of_checkpoints():
    energy = make(*CASES[0], dtype="float32")
    assert set(energy.state_dict()) == {
        f"architecture.{kind}.{l}" for kind in ("weights", "biases") for l in range(3)
    }
    assert energy.double()().dtype == torch.float64
    assert energy.samples == 20 and energy.N == 5 * 8 + 8 * 8 + 8 * 3 + 8 + 8 + 3


def test_validation_in_inference_mode_leaves_training_possible():
    energy = make(*CASES[0])
    with torch.inference_mode():
        energy.evaluate()
        energy()
        with torch.enable_grad():
            energy()
    energy().sum().backward()


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((FullyConnected([63, 10]), Digits()), r"\[63, 10\].*64"),
        ((FullyConnected([64, 9]), Digits()), "9.*10 classes"),
        ((FullyConnected([64, 1]), Digits()), "1.*10 classes"),
        ((FullyConnected([64, 1]), Digits(), "quadratic_hinge"), "10.*two classes"),
        ((FullyConnected([64, 2]), Digits(parity=True), "quadratic_hinge"), "2.*needs 1"),
        ((FullyConnected([64, 10]), Digits(), "crossentropy"), "did you mean cross_entropy"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, words):
    with pytest.raises(UsageError, match=words):
        NetworkEnergy(*arguments)


def test_misuse_is_refused():
    energy = make(*CASES[0])
    with pytest.raises(UsageError, match=r"batch\.shape = \(2, 4\).*\(3, B\)"):
        energy(torch.zeros(2, 4, dtype=torch.int64))
    with pytest.raises(UsageError, match="split = val"):
        energy.evaluate("val")


# what it is for


def test_sgd_learns_the_digits():
    energy = NetworkEnergy(FullyConnected([64, 64, 10], replicas=8, seed=1), Digits())
    batches, sgd = Batches(batch_size=32, seed=1), torch.optim.SGD(energy.parameters(), lr=0.1)
    assert (energy.evaluate()["accuracy"] < 0.3).all()
    for step in range(1500):
        sgd.zero_grad()
        energy(batches(step, energy.samples, energy.replicas)).sum().backward()
        sgd.step()
    assert energy.evaluate("test")["accuracy"].mean() >= 0.96
    assert energy.evaluate("train")["accuracy"].mean() >= 0.995


def test_the_noise_of_sgd_is_independent_between_replicas():
    """With one start for all, the replicas differ by their mini-batches only."""
    energy = NetworkEnergy(FullyConnected([64, 16, 10], replicas=4), Digits())
    energy.load_configuration(energy.configuration()[:1].expand(4, -1).clone())
    g = gradient(energy)
    torch.testing.assert_close(g, g[:1].expand(4, -1))
    noise = []
    for step in range(200):
        batch = Batches(batch_size=16, seed=3)(step, energy.samples, 4)
        slopes = torch.autograd.grad(energy(batch).sum(), tuple(energy.parameters()))
        noise.append(torch.cat([s.flatten(1) for s in slopes], dim=1) - g)
    inner = torch.einsum("tri,tsi->rst", torch.stack(noise), torch.stack(noise))  # (R, R, steps)
    variance = inner.mean(-1).diagonal().mean()
    for r in range(4):
        for s in range(r):
            overlap = inner[r, s]
            assert overlap.mean().abs() < 4 * overlap.std() / 200**0.5  # 4 s.e.
            assert overlap.mean().abs() < 0.1 * variance
