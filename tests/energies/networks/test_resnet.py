"""ResNet18 against the same network written from the equations."""

import pytest
import torch
import torch.nn.functional as F

from lightning_landscape.data import Digits, LabelledData
from lightning_landscape.energies import NetworkEnergy, ResNet18
from lightning_landscape.energies.networks import network
from lightning_landscape.errors import UsageError
from lightning_landscape.testing.energy import EnergyContract, gradient

KINDS = ["batch", "group"]
P, P_TEST, TOGETHER = 20, 9, 8  # groups of 7, 7 and 6 samples, and of 5 and 4


def digits():
    full = Digits(seed=1)
    some = [full.inputs[:P], full.targets[:P], full.test_inputs[:P_TEST]]
    return LabelledData(*some, full.test_targets[:P_TEST], classes=10)


def make(kind="batch", replicas=3, dtype="float64", together=TOGETHER, width=4):
    net = ResNet18(10, 1, width, kind, together, replicas, seed=2, dtype=dtype)
    return NetworkEnergy(net, digits())


class TestBatchNormalised(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        return make("batch", replicas, dtype)


class TestGroupNormalised(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        return make("group", replicas, dtype)


# against one network a replica and group of samples


def normalised(z, factor, shift, kind):
    channels = z.shape[1]
    if kind == "batch":
        mean, var = z.mean((0, 2, 3)), z.var((0, 2, 3), correction=0)
        mean, var = mean[:, None, None], var[:, None, None]
    else:
        groups = channels // 16 if channels % 16 == 0 else 1
        rows = z.reshape(len(z), groups, -1)
        mean, var = (
            moment.repeat_interleave(channels // groups, 1)[..., None, None]
            for moment in (rows.mean(2), rows.var(2, correction=0))
        )
    z = (z - mean) / (var + 1e-5).sqrt()
    return z * factor[:, None, None] + shift[:, None, None]


def one_network(parameters, x, kind):
    """The outputs of one replica for samples that see each other."""
    p = iter(parameters)

    def layer(x, stride=1):
        kernel = next(p)
        z = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        return normalised(z, next(p), next(p), kind)

    x = layer(x).relu()
    for stage in range(4):
        for block in range(2):
            stride = 2 if stage > 0 and block == 0 else 1
            branch = layer(layer(x, stride).relu())
            x = (branch + (layer(x, stride) if stride == 2 else x)).relu()
    x = x.mean((2, 3)) @ next(p).T + next(p)
    assert next(p, None) is None
    return x


def reference(energy, r, x, labels, kind, cuts):
    """Mean loss of replica r over groups of samples cut at these places."""
    p = [q[r].detach().requires_grad_() for q in energy.parameters()]
    groups = [slice(a, b) for a, b in zip([0, *cuts], [*cuts, len(x)], strict=True)]
    f = torch.cat([one_network(p, x[s].double(), kind) for s in groups])
    return p, f, F.cross_entropy(f, labels)


CASES = [("batch", [7, 14]), ("group", []), ("group", [3])]


@pytest.mark.parametrize("kind, cuts", CASES)
def test_energy_gradient_and_hessian_are_those_of_separate_networks(kind, cuts):
    energy, data = make(kind), digits()
    energies, g = energy(), gradient(energy, create_graph=True)
    first = gradient(energy)
    v = torch.randn_like(g)
    product = torch.autograd.grad(g, tuple(energy.parameters()), v)
    product = torch.cat([part.flatten(1) for part in product], dim=1)
    for r in range(3):
        p, _, loss = reference(energy, r, data.inputs, data.targets, kind, cuts)
        slopes = torch.autograd.grad(loss, p, create_graph=True)
        flat = torch.cat([s.flatten() for s in slopes])
        Hv = torch.cat([s.flatten() for s in torch.autograd.grad(flat @ v[r], p)])
        torch.testing.assert_close(energies[r], loss, rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(g[r], flat, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(first[r], flat, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(product[r], Hv, rtol=1e-7, atol=1e-8)


def test_a_mini_batch_is_normalised_by_itself():
    energy, data = make(), digits()
    own = torch.tensor([[0, 3, 5, 7], [2, 4, 6, 8], [19, 1, 2, 10]])
    for batch in (own, own[0]):
        energies = energy(batch)
        for r in range(3):
            rows = batch if batch.ndim == 1 else batch[r]
            _, _, loss = reference(energy, r, data.inputs[rows], data.targets[rows], "batch", [])
            torch.testing.assert_close(energies[r], loss, rtol=1e-11, atol=1e-12)


def test_held_out_data_are_normalised_by_themselves():
    energy, data = make(), digits()
    result = energy.evaluate("test")
    for r in range(3):
        _, f, loss = reference(energy, r, data.test_inputs, data.test_targets, "batch", [5])
        torch.testing.assert_close(result["energy"][r], loss.detach(), rtol=1e-11, atol=1e-12)
        right = (f.argmax(1) == data.test_targets).double().mean()
        torch.testing.assert_close(result["accuracy"][r], right)


# what normalisation means for an energy


def test_blocks_never_cut_through_samples_that_see_each_other(monkeypatch):
    energy = make()
    whole, g = energy(), gradient(energy)
    monkeypatch.setattr(network, "_BLOCK_BYTES", {"cpu": 1})
    monkeypatch.setattr(ResNet18, "block_samples", 2)
    assert [len(u[0]) for u, _ in next(iter(energy._blocks(*energy._select(None))))[1]] == [7, 7, 6]
    torch.testing.assert_close(energy(), whole, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gradient(energy), g, rtol=1e-9, atol=1e-11)


def test_group_normalised_samples_are_on_their_own():
    energy = make("group")
    each = torch.stack([energy(torch.tensor([mu])) for mu in range(P)], dim=1)
    torch.testing.assert_close(each.mean(1), energy())
    assert energy.architecture.samples_together is None
    together = make("batch")
    pairs = [together(torch.tensor([mu, mu + 1])) for mu in range(0, P, 2)]
    assert ((torch.stack(pairs).mean(0) - together()).abs() > 1e-3).all()
    with pytest.raises(UsageError, match="samples = 1: must be at least 2"):
        together(torch.tensor([3]))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_remembered(kind):
    """The energy is a function of the weights: what was evaluated before does not matter."""
    energy = make(kind)
    assert not list(energy.architecture.buffers())
    before = energy()
    energy(torch.arange(5)).sum().backward()
    energy.evaluate()
    assert torch.equal(energy(), before)
    assert torch.equal(energy.eval()(), before)
    assert set(energy.state_dict()) == {f"architecture.{n}" for n, _ in _named(energy)}


def _named(energy):
    return energy.architecture.named_parameters()


@pytest.mark.parametrize("kind", KINDS)
def test_replicas_are_as_many_single_runs(kind):
    together = make(kind, replicas=3)
    g, x = gradient(together), together.configuration()
    for r in range(3):
        alone = make(kind, replicas=1)
        alone.load_configuration(x[r : r + 1])
        torch.testing.assert_close(gradient(alone)[0], g[r], rtol=1e-9, atol=1e-11)
    assert torch.equal(make(kind, replicas=2).configuration(), x[:2])


# size and start


@pytest.mark.parametrize("kind", KINDS)
def test_it_has_11_173_962_parameters(kind):
    net = ResNet18(normalization=kind)
    assert sum(p[0].numel() for p in net.parameters()) == 11_173_962
    assert net.output_size((3, 32, 32)) == 10
    convolutions = sum(p.ndim == 5 for p in net.parameters())
    assert convolutions == 17 + 3  # with the linear map 18 layers, and three on shortcuts
    hundred = ResNet18(outputs=100, normalization=kind)
    assert sum(p[0].numel() for p in hundred.parameters()) == 11_173_962 + 90 * 513


def test_initial_values():
    for p in ResNet18(width=32, replicas=2).parameters():
        values = p.detach()
        if p.ndim == 5:  # N(0, 2 / fan-in)
            relative = values.square().mean().item() * p[0, 0].numel() / 2
            assert abs(relative - 1) < 4 * (2 / p.numel()) ** 0.5  # 4 s.e.
        elif p.ndim == 3:
            relative = values.square().mean().item() * 256
            assert abs(relative - 1) < 4 * (2 / p.numel()) ** 0.5  # 4 s.e.
        else:
            assert (values == 1).all() or (values == 0).all()


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"normalization": "bacth"}, "did you mean batch"),
        ({"samples_together": 1}, "samples_together = 1"),
        ({"width": 0}, "width = 0"),
        ({"outputs": 0}, "outputs = 0"),
        ({"dtype": "half"}, "dtype = half"),
        ({"replicas": 10**6}, r"replicas = 1000000: needs .* GB of memory"),
    ],
)
def test_bad_arguments_give_one_sentence(arguments, words):
    with pytest.raises(UsageError, match=words):
        ResNet18(**arguments)


def test_images_of_other_colours_are_refused():
    with pytest.raises(UsageError, match=r"does not take samples of shape \(1, 8, 8\)"):
        NetworkEnergy(ResNet18(width=4), digits())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_device_changes_nothing_but_rounding(kind):
    energy = make(kind)
    directions = [torch.randn_like(p) for p in energy.parameters()]
    results = []
    for device in ("cpu", "cuda"):
        energy.to(device)
        g = torch.autograd.grad(energy().sum(), tuple(energy.parameters()), create_graph=True)
        along = [v.to(device) for v in directions]
        Hv = torch.autograd.grad(g, tuple(energy.parameters()), along)
        results.append([t.detach().cpu() for t in (energy(), *g, *Hv)])
    torch.testing.assert_close(*results, rtol=1e-7, atol=1e-8)
