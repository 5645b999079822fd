"""ClassBalance: the guesses of wide random networks, and the descent of each class."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import records
from lightning_landscape import testing as contract
from lightning_landscape.callbacks import ClassBalance
from lightning_landscape.data import LabelledData
from lightning_landscape.energies import FullyConnected, NetworkEnergy
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.results.registry import look_up
from lightning_landscape.testing.foreign import Tiny
from lightning_landscape.testing.probe import bare_trainer, train


def outputs(module, x):
    return module.net(x)


class TestContract(contract.ProbeContract):
    def make(self):
        return ClassBalance(first=1, last=15, output_fn=outputs)

    def landscape(self):
        net = FullyConnected([32, 9, 3], "tanh", replicas=4)
        return LandscapeModule(NetworkEnergy(net, imbalanced()), partial(torch.optim.SGD, lr=0.1))


def imbalanced(P=40, d=32, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(P, d, generator=generator)
    y = torch.arange(P).square() % classes  # of three classes the last is rare
    y[:3] = torch.arange(3) % classes
    return LabelledData(x, y, x[:1], y[:1], classes)


def record(energy, folder, lr=1e-6):
    """Return what is measured before and after one step of gradient descent."""
    probe = ClassBalance(first=lr, last=lr)
    module = LandscapeModule(energy, partial(torch.optim.SGD, lr=lr))
    bare_trainer([probe], 1, folder).fit(module)
    return look_up("ClassBalance").exact(probe.dataset().assign_attrs(probe.attributes))


@pytest.mark.parametrize("classes", [3, 1], ids=["three scores", "one score"])
@pytest.mark.parametrize("depth", [1, 3])
def test_wide_relu_networks_guess_as_unevenly_as_theory_says(classes, depth, tmp_path):
    """E sum_c G_c^2 over 400 networks of width 200, whose finite width adds less than an error."""
    data = imbalanced(classes=max(classes, 2))
    net = FullyConnected([32, *[200] * depth, classes], replicas=400, seed=2)
    with torch.no_grad():
        scores = net(data.inputs.unsqueeze(0))
    guess = scores.argmax(-1) if classes > 1 else (scores[..., 0] > 0).long()
    share = nn.functional.one_hot(guess, max(classes, 2)).double().mean(1)
    repeated = share.square().sum(1).numpy()
    small = FullyConnected([32, *[8] * depth, classes])
    exact = float(record(NetworkEnergy(small, data), tmp_path)["repeated_exact"])
    error = repeated.std() / len(repeated) ** 0.5
    assert abs(repeated.mean() - exact) < 3 * error
    assert error < 0.03 * exact  # one layer more or less would be seen


def test_the_descents_of_the_classes_are_those_of_small_steps(tmp_path):
    """E_c falls by lr descent_c |g|^2, and the mean of the descents over the samples is 1."""
    net = FullyConnected([32, 8, 3], "tanh", replicas=2, seed=1, dtype="float64")
    energy, lr = NetworkEnergy(net, imbalanced()), 1e-6
    g = torch.autograd.grad(energy().sum(), list(energy.parameters()))
    mean = energy().detach().numpy()
    dataset = record(energy, tmp_path, lr)
    before, after = dataset.isel(t=0), dataset.isel(t=1)
    assert (before["descent"] * before["frequency"]).sum("class").to_numpy() == pytest.approx(1)
    square = sum(s.flatten(1).square().sum(1) for s in g).numpy()[:, None]
    fell = (before["class_loss"] - after["class_loss"]).to_numpy()
    assert fell == pytest.approx(lr * square * before["descent"].to_numpy(), rel=1e-4)
    total = (before["class_loss"] * before["frequency"]).sum("class")
    assert total.to_numpy() == pytest.approx(mean, rel=1e-9)


def test_a_foreign_batch_is_measured_by_its_scores(tmp_path):
    module = Tiny()
    probe = ClassBalance(first=1, last=1, output_fn=outputs)
    train(module, tmp_path, [probe], max_epochs=1)
    dataset = probe.dataset()
    assert dataset["share"].sum("class").to_numpy() == pytest.approx(1)
    hits = (dataset["recall"] * dataset["frequency"]).sum("class")
    assert ((hits >= 0) & (hits <= 1)).all()
    assert (dataset["descent"] * dataset["frequency"]).sum("class").to_numpy() == pytest.approx(1)


def test_all_guesses_of_one_class_repeat_with_certainty(tmp_path):
    net = FullyConnected([32, 8, 3], replicas=1)
    with torch.no_grad():
        net.weights[-1].zero_()
        net.biases[-1].copy_(torch.tensor([[0.0, 5.0, 0.0]]))
    dataset = record(NetworkEnergy(net, imbalanced()), tmp_path).isel(t=0, replica=0)
    assert dataset["share"].to_numpy().tolist() == [0, 1, 0]
    assert float(dataset["repeated"]) == 1
    np.testing.assert_allclose(dataset["recall"].to_numpy(), [0, 1, 0])


def test_the_classes_of_two_ranks_are_those_of_both_batches(tmp_path):
    """Before the first step, against one process with both batches in one."""
    x = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    y = (torch.arange(16) % 3 == 0).long()

    def measured(folder, size, **settings):
        loader = DataLoader(TensorDataset(x, y), batch_size=size, shuffle=False)
        probe = ClassBalance(first=1, last=1, output_fn=outputs)
        bare_trainer([probe], 1, folder, **settings).fit(Tiny(), loader)
        (path,) = folder.rglob("class_balance.nc")
        return records.read(path).isel(t=0)

    both = measured(tmp_path / "two", 8, strategy="ddp_fork", devices=2)
    one = measured(tmp_path / "one", 16)
    for name in ("share", "recall", "class_loss", "descent", "frequency"):
        np.testing.assert_allclose(both[name].to_numpy(), one[name].to_numpy(), rtol=1e-5)
